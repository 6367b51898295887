"""The operators of a network as plain data."""

import dataclasses
from collections.abc import Sequence

from qfa_tf.network.choices import Constant, Total, Width, distinct

KINDS = ("convolution", "pointwise", "depthwise", "dense")
ACTIVATIONS = ("linear", "relu", "relu6", "hard_swish")
"""Activation functions that belong to a convolution."""
TABLES = (
    "hard_swish",
    "hard_sigmoid",
    "sigmoid",
    "swish",
    "tanh",
    "gelu",
    "elu",
    "selu",
    "leaky_relu",
)
"""Activation functions that are an operator of their own on a device, a table of 8 bits."""
FUNCTIONS = tuple(dict.fromkeys((*ACTIVATIONS, *TABLES)))
"""Activation functions that may stand alone."""
NONNEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid")
"""Activation functions without negative results."""
NONZERO_AT_ZERO = ("sigmoid", "hard_sigmoid")
"""Activation functions that are not 0 at 0."""
PADDINGS = ("same", "valid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """One operator.

    Attributes:
      name: Unique; a name and nothing else.
      inputs: Names of the nodes that it reads.
      slot: Slot to which it belongs, None outside of all.
      row: For people: the part of the network in which it is drawn, such as a stage.
      label: For people: a short name within its slot or row; the name itself when empty.
    """

    name: str
    inputs: tuple[str, ...]
    slot: str | None = None
    row: str = ""
    label: str = ""

    def output_width(self, inputs: Sequence[Width]) -> Width:
        """Channels of the output, from those of the inputs."""
        return inputs[0]

    def output_size(self, size: int) -> int:
        """Height and width of the output, from those of the first input."""
        return size

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """Whether no value of the output is negative, from the same of the inputs."""
        return all(inputs)

    def is_vector(self, inputs: Sequence[bool]) -> bool:
        """Whether the output has no height and width, from the same of the inputs."""
        return all(inputs)

    @property
    def keeps_zeros(self) -> bool:
        """Whether channels of zeros in all inputs are zeros in the output."""
        return True

    @property
    def shape_choices(self) -> tuple[str, ...]:
        """Choices of its own widths and kernel size."""
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image(Node):
    """The square input of the network, [N, resolution, resolution, channels]."""

    width: Width
    inputs: tuple[str, ...] = ()

    def output_width(self, inputs: Sequence[Width]) -> Width:
        """The channels of images."""
        return self.width

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """False: images may be normalised."""
        return False

    def is_vector(self, inputs: Sequence[bool]) -> bool:
        """False."""
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolution(Node):
    """A site: a convolution or dense layer with a quantizer for its weights and one for its input.

    Normalization or a bias, and an activation function, may follow and belong to it.

    Attributes:
      kind: "convolution" (any kernel), "pointwise" (1x1, stride 1), "depthwise", or "dense".
      width: Output channels; None for "depthwise", which keeps those of its input.
      kernel_size: Height and width of the kernel: a number, or the choice of one ("depthwise").
      kernel_width: Width of a kernel that is not square, of a "convolution" with the padding "same"
        and stride 1; None elsewhere.
      groups: Of a "convolution": each of so many parts of the output reads its part of the input;
        both widths are Constant then.
      dilation: Distance of neighbouring weights of the kernel, in both directions; above 1 with the
        stride 1 and one kernel size.
      stride: In both directions.
      padding: "same" or "valid".
      normalization: Whether batch normalization follows.
      bias: Whether a bias is trained; on the device there always is one.
      activation: One of ACTIVATIONS.
      weight_bits: Choice of the bits of the weights.
      activation_bits: Choice of the bits of the input.
      signed_codes: Whether BatchQuant with fractional zero points gives the input signed codes, as
        the official release does for inputs that no activation function made.
    """

    kind: str
    width: Width | None
    weight_bits: str
    activation_bits: str
    kernel_size: int | str = 1
    kernel_width: int | None = None
    groups: int = 1
    dilation: int = 1
    stride: int = 1
    padding: str = "same"
    normalization: bool = True
    bias: bool = False
    activation: str = "linear"
    signed_codes: bool = False

    def output_width(self, inputs: Sequence[Width]) -> Width:
        """Its own width, or that of the input."""
        return inputs[0] if self.width is None else self.width

    def output_size(self, size: int) -> int:
        """See `strided_size`."""
        kernel_size = self.kernel_size if isinstance(self.kernel_size, int) else 1
        extent = dilated_size(kernel_size, self.dilation)
        return strided_size(size, extent, self.stride, self.padding)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """Whether its activation function has no negative results."""
        return self.activation in NONNEGATIVE

    @property
    def shape_choices(self) -> tuple[str, ...]:
        """Those of its width and its kernel."""
        own = () if self.width is None else self.width.choices
        return distinct(*own, *((self.kernel_size,) if isinstance(self.kernel_size, str) else ()))

    def weights(self, inputs: int, outputs: int, kernel_size: int) -> int:
        """Number of weights with so many channels."""
        columns = self.kernel_width or kernel_size
        read = 1 if self.kind == "depthwise" else inputs // self.groups
        return kernel_size * columns * outputs * read


@dataclasses.dataclass(frozen=True, kw_only=True)
class SqueezeExcite(Node):
    """Channels weighted by a small network on their means; in float while training.

    Mean over space, 1x1 convolution, ReLU, 1x1 convolution, hard sigmoid, product with the input.

    Attributes:
      width: Channels between the two convolutions.
    """

    width: Width

    @property
    def shape_choices(self) -> tuple[str, ...]:
        """Those of the channels between the convolutions."""
        return self.width.choices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sum(Node):
    """The sum of tensors of one shape."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product(Node):
    """The product of tensors of one shape; vectors stand for all positions of a map."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Concatenation(Node):
    """Tensors of one height and width, side by side in their channels."""

    def output_width(self, inputs: Sequence[Width]) -> Width:
        """The sum of those of the inputs."""
        return Total(tuple(inputs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Function(Node):
    """An activation function that follows no convolution.

    Attributes:
      activation: One of FUNCTIONS.
      slope: Factor of negative values, of "leaky_relu" alone.
    """

    activation: str
    slope: float = 0.0

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """Whether the function has no negative results."""
        return self.activation in NONNEGATIVE or all(inputs)

    @property
    def keeps_zeros(self) -> bool:
        """Whether the function is 0 at 0."""
        return self.activation not in NONZERO_AT_ZERO


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooling(Node):
    """The mean or largest value of windows.

    Attributes:
      reduction: "average" or "max".
      window: Height and width of a window.
      stride: In both directions.
      padding: "same" or "valid".
    """

    reduction: str
    window: int
    stride: int
    padding: str = "same"

    def output_size(self, size: int) -> int:
        """See `strided_size`."""
        return strided_size(size, self.window, self.stride, self.padding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlobalPooling(Node):
    """The mean or largest value over height and width, a vector [N, C].

    Attributes:
      reduction: "average" or "max".
    """

    reduction: str = "average"

    def output_size(self, size: int) -> int:
        """1."""
        return 1

    def is_vector(self, inputs: Sequence[bool]) -> bool:
        """True."""
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Padding(Node):
    """Zeros around a map, as many rows as columns.

    Attributes:
      rows: Above and below.
      columns: To the left and to the right.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    def output_size(self, size: int) -> int:
        """With the zeros."""
        return size + sum(self.rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upsampling(Node):
    """A map enlarged by a whole number.

    Attributes:
      factor: In both directions.
      interpolation: "nearest" or "bilinear".
    """

    factor: int
    interpolation: str

    def output_size(self, size: int) -> int:
        """The multiple."""
        return size * self.factor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rescaling(Node):
    """Channels of images times a number plus another, as a network was trained to read them.

    Attributes:
      scale: By channel, or one for all.
      offset: The same.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @property
    def keeps_zeros(self) -> bool:
        """Whether nothing is added."""
        return not any(self.offset)

    def is_nonnegative(self, inputs: Sequence[bool]) -> bool:
        """False."""
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """A map as a vector [N, positions C], all channels of a position side by side.

    Attributes:
      positions: Height times width of the map; with several of them its width is Constant.
    """

    positions: int

    def output_width(self, inputs: Sequence[Width]) -> Width:
        """That of the map, once for each position."""
        (width,) = inputs
        if self.positions == 1:
            return width
        if width.choices:  # refused by the checks of a network
            return Total((width,) * self.positions)
        return Constant(self.positions * width.value({}))

    def output_size(self, size: int) -> int:
        """1."""
        return 1

    def is_vector(self, inputs: Sequence[bool]) -> bool:
        """True."""
        return True


NODES: tuple[type[Node], ...] = (
    Image,
    Convolution,
    SqueezeExcite,
    Sum,
    Product,
    Concatenation,
    Function,
    Pooling,
    GlobalPooling,
    Padding,
    Upsampling,
    Rescaling,
    Flatten,
)


@dataclasses.dataclass(frozen=True)
class Slot:
    """A block of nodes, of which a genome keeps the first few of a stage.

    The slots with one depth choice are a stage. A part that is left out freely is a stage of its
    own with the depths 0 and 1. Where it is left out, its input takes the place of its output.

    Attributes:
      name: Unique; a name and nothing else.
      depth: Choice of how many blocks its stage keeps.
      position: From 0; the block is there when the depth is larger.
      source: The node outside that its nodes read.
      output: The node inside that others read.
    """

    name: str
    depth: str
    position: int
    source: str
    output: str


def dilated_size(window: int, dilation: int) -> int:
    """Height and width that a kernel covers whose weights are `dilation` apart."""
    return (window - 1) * dilation + 1


def strided_size(size: int, window: int, stride: int, padding: str) -> int:
    """Height and width behind a window that moves by `stride`; "same" rounds up."""
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1
