"""Operations of the integer graph: one small attributes class for each LiteRT operator."""

import dataclasses
import enum
from typing import ClassVar


class OperationKind(enum.StrEnum):
    """Operator, named as in LiteRT."""

    CONV_2D = "CONV_2D"
    DEPTHWISE_CONV_2D = "DEPTHWISE_CONV_2D"
    FULLY_CONNECTED = "FULLY_CONNECTED"
    ADD = "ADD"
    MUL = "MUL"
    MEAN = "MEAN"
    MAX_POOL_2D = "MAX_POOL_2D"
    AVERAGE_POOL_2D = "AVERAGE_POOL_2D"
    QUANTIZE = "QUANTIZE"
    DEQUANTIZE = "DEQUANTIZE"
    RESHAPE = "RESHAPE"
    PAD = "PAD"
    HARD_SWISH = "HARD_SWISH"
    LOGISTIC = "LOGISTIC"
    SOFTMAX = "SOFTMAX"
    CONCATENATION = "CONCATENATION"


class Activation(enum.StrEnum):
    """Activation fused into an operator."""

    NONE = "NONE"
    RELU = "RELU"
    RELU6 = "RELU6"
    RELU_N1_TO_1 = "RELU_N1_TO_1"


class Padding(enum.StrEnum):
    """Spatial padding; SAME pads with real zero, at the end where the total is odd."""

    SAME = "SAME"
    VALID = "VALID"


def _positive_pair(owner: object, field: str) -> None:
    value = tuple(int(size) for size in getattr(owner, field))
    if len(value) != 2 or min(value) < 1:
        raise ValueError(
            f"{type(owner).__name__}: {field} is a pair (height, width) of positive integers. "
            f"Received: {getattr(owner, field)!r}."
        )
    object.__setattr__(owner, field, value)


@dataclasses.dataclass(frozen=True)
class Conv2D:
    """CONV_2D. Inputs: x [1,H,W,I], weights [O,kh,kw,I], bias [O]."""

    strides: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME
    activation: Activation = Activation.NONE
    kind: ClassVar[OperationKind] = OperationKind.CONV_2D

    def __post_init__(self):
        _positive_pair(self, "strides")


@dataclasses.dataclass(frozen=True)
class DepthwiseConv2D:
    """DEPTHWISE_CONV_2D. Inputs: x [1,H,W,C], weights [1,kh,kw,C*multiplier], bias.

    Output channel `c * multiplier + m` reads input channel `c`.
    """

    strides: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME
    activation: Activation = Activation.NONE
    depth_multiplier: int = 1
    kind: ClassVar[OperationKind] = OperationKind.DEPTHWISE_CONV_2D

    def __post_init__(self):
        _positive_pair(self, "strides")
        if self.depth_multiplier < 1:
            raise ValueError(
                f"DepthwiseConv2D: depth_multiplier is at least 1. Received: "
                f"{self.depth_multiplier!r}."
            )


@dataclasses.dataclass(frozen=True)
class FullyConnected:
    """FULLY_CONNECTED. Inputs: x [1,...,I], weights [O,I], bias [O].

    With `keep_num_dims` it acts on the last axis of x, which makes it a 1x1 convolution of an
    NHWC tensor; without, x has two dimensions.
    """

    activation: Activation = Activation.NONE
    keep_num_dims: bool = False
    kind: ClassVar[OperationKind] = OperationKind.FULLY_CONNECTED


@dataclasses.dataclass(frozen=True)
class Add:
    """ADD of two INT8 tensors of one shape, or of a FLOAT32 tensor and a constant [1]."""

    activation: Activation = Activation.NONE
    kind: ClassVar[OperationKind] = OperationKind.ADD


@dataclasses.dataclass(frozen=True)
class Mul:
    """MUL of two tensors, axes of size 1 broadcast against the other's.

    The second one may be a FLOAT32 constant [1].
    """

    activation: Activation = Activation.NONE
    kind: ClassVar[OperationKind] = OperationKind.MUL


@dataclasses.dataclass(frozen=True)
class HardSwish:
    """HARD_SWISH on FLOAT32: x * relu6(x + 3) / 6."""

    kind: ClassVar[OperationKind] = OperationKind.HARD_SWISH


@dataclasses.dataclass(frozen=True)
class Logistic:
    """LOGISTIC on FLOAT32: 1 / (1 + exp(-x))."""

    kind: ClassVar[OperationKind] = OperationKind.LOGISTIC


@dataclasses.dataclass(frozen=True)
class Softmax:
    """SOFTMAX on FLOAT32 over the last axis."""

    kind: ClassVar[OperationKind] = OperationKind.SOFTMAX


@dataclasses.dataclass(frozen=True)
class Concatenation:
    """CONCATENATION of two or more tensors of one scale and zero point.

    Attributes:
      axis: From 1 on; the batch is not joined.
    """

    axis: int = 3
    kind: ClassVar[OperationKind] = OperationKind.CONCATENATION

    def __post_init__(self):
        if self.axis < 1:
            raise ValueError(f"Concatenation: axis is at least 1. Received: {self.axis!r}.")


@dataclasses.dataclass(frozen=True)
class Mean:
    """MEAN over height and width of [1,H,W,C]: [1,1,1,C] with `keep_dims`, else [1,C]."""

    keep_dims: bool = False
    kind: ClassVar[OperationKind] = OperationKind.MEAN


@dataclasses.dataclass(frozen=True)
class MaxPool2D:
    """MAX_POOL_2D of [1,H,W,C]; padding never wins."""

    window: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    padding: Padding = Padding.VALID
    activation: Activation = Activation.NONE
    kind: ClassVar[OperationKind] = OperationKind.MAX_POOL_2D

    def __post_init__(self):
        _positive_pair(self, "window")
        _positive_pair(self, "strides")


@dataclasses.dataclass(frozen=True)
class AveragePool2D:
    """AVERAGE_POOL_2D of [1,H,W,C]; padding is not counted."""

    window: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    padding: Padding = Padding.VALID
    activation: Activation = Activation.NONE
    kind: ClassVar[OperationKind] = OperationKind.AVERAGE_POOL_2D

    def __post_init__(self):
        _positive_pair(self, "window")
        _positive_pair(self, "strides")


@dataclasses.dataclass(frozen=True)
class Quantize:
    """QUANTIZE: FLOAT32 to INT8 or INT16, or INT8 to INT8 with another scale or zero point."""

    kind: ClassVar[OperationKind] = OperationKind.QUANTIZE


@dataclasses.dataclass(frozen=True)
class Dequantize:
    """DEQUANTIZE: INT8, INT16 or UINT8 to FLOAT32."""

    kind: ClassVar[OperationKind] = OperationKind.DEQUANTIZE


@dataclasses.dataclass(frozen=True)
class Reshape:
    """RESHAPE to the shape of the output tensor; the batch is never mixed with other axes."""

    kind: ClassVar[OperationKind] = OperationKind.RESHAPE


@dataclasses.dataclass(frozen=True)
class Pad:
    """PAD with the zero point; `height` and `width` are (before, after) in pixels."""

    height: tuple[int, int] = (0, 0)
    width: tuple[int, int] = (0, 0)
    kind: ClassVar[OperationKind] = OperationKind.PAD

    def __post_init__(self):
        for field in ("height", "width"):
            value = tuple(int(size) for size in getattr(self, field))
            if len(value) != 2 or min(value) < 0:
                raise ValueError(
                    f"Pad: {field} is a pair (before, after) of integers of at least 0. "
                    f"Received: {getattr(self, field)!r}."
                )
            object.__setattr__(self, field, value)


Attributes = (
    Conv2D
    | DepthwiseConv2D
    | FullyConnected
    | Add
    | Mul
    | HardSwish
    | Logistic
    | Softmax
    | Concatenation
    | Mean
    | MaxPool2D
    | AveragePool2D
    | Quantize
    | Dequantize
    | Reshape
    | Pad
)

#: Operators with weights and a bias: inputs are (x, weights, bias).
LINEAR_KINDS = frozenset(
    {OperationKind.CONV_2D, OperationKind.DEPTHWISE_CONV_2D, OperationKind.FULLY_CONNECTED}
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One node of the graph.

    Attributes:
      name: Layer name used in error messages and reports; unique in the graph.
      attributes: Operator and its settings, for example `Conv2D(strides=(2, 2))`.
      inputs: Names of the tensors read, in the order of the operator.
      outputs: Names of the tensors written.
    """

    name: str
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def kind(self) -> OperationKind:
        """The operator."""
        return self.attributes.kind
