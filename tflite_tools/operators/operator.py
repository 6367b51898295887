"""What every operator declares: form, rules, arithmetic, and how it stands in a flatbuffer."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.operators.settings import Shape

if TYPE_CHECKING:
    from tflite_tools.arithmetic.node import Node

Kernel = Callable[["Node"], np.ndarray]


class Arithmetic(enum.StrEnum):
    """Types that a kernel computes with.

    INT8 includes the changes between FLOAT32 and INT8, INT16 those between FLOAT32 and INT16.
    """

    INT8 = "int8"
    INT16 = "int16"
    FLOAT32 = "float32"

    @classmethod
    def of(cls, source: Tensor, output: Tensor) -> "Arithmetic":
        """The arithmetic of an operation, by its first input and its output."""
        types = (source.dtype, output.dtype)
        if DataType.INT16 in types:
            return cls.INT16
        return cls.FLOAT32 if types == (DataType.FLOAT32, DataType.FLOAT32) else cls.INT8


KernelTable = Mapping[Arithmetic, dict[KernelSet, Kernel]]


def run_in_litert(node: "Node") -> np.ndarray:
    """Stands for a kernel that adds up, or takes polynomials, in an order of its own.

    The interpreter runs the operator alone, in LiteRT, where a table of kernels has this entry.
    """
    raise NotImplementedError(f"{node.attributes.kind} is computed by running it in LiteRT.")


def alike(kernel: Kernel) -> dict[KernelSet, Kernel]:
    """One kernel for all kernel sets."""
    return dict.fromkeys(KernelSet, kernel)


class Operator:
    """One LiteRT operator with its settings; subclasses are frozen dataclasses of the settings.

    Attributes:
      kind: Name in LiteRT, for example CONV_2D.
      arity: Number of inputs; None for two or more.
      constants: Positions of the inputs that are constants.
      optional_constants: Positions of the inputs that may be FLOAT32 constants.
      is_linear: Whether the inputs are (x, weights, bias).
      is_pointwise: Whether it computes each element of a FLOAT32 tensor by itself, so that XNNPACK
        makes a table of it between two INT8 tensors.
      kernels: Exact arithmetic, by types and kernel set.
      reference_version_limit: Highest version in the resolver of the reference kernels, where it is
        below those that are written.
    """

    kind: ClassVar[str]
    arity: ClassVar[int | None] = 1
    constants: ClassVar[tuple[int, ...]] = ()
    optional_constants: ClassVar[tuple[int, ...]] = ()
    is_linear: ClassVar[bool] = False
    is_pointwise: ClassVar[bool] = False
    kernels: ClassVar[KernelTable]
    reference_version_limit: ClassVar[int | None] = None

    @property
    def copied_constants(self) -> tuple[int, ...]:
        """Positions of the constants that the file copies at every call; see `DepthwiseConv2D`."""
        return ()

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        """Shape of the output.

        Args:
          inputs: Shapes of the inputs.
          declared: Shape of the output tensor in the graph, for operators whose output shape is a
            free choice.

        Raises:
          RuleError: The input shapes are not of the operator's form.
        """
        return inputs[0]

    def check(self, inputs: Sequence[Tensor], output: Tensor) -> None:
        """Rules beyond shapes, types and the support table.

        Raises:
          RuleError: One is broken.
        """

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        """Multiplications with a weight for one image."""
        return 0

    def options(
        self, schema: Any, inputs: Sequence[Tensor], output: Tensor
    ) -> tuple[Any | None, int]:
        """Options table of the schema's object API (None where there is none), and version.

        Versions follow LiteRT tflite/converter/tools/versioning/op_version.cc: a runtime too old
        for the types refuses the file instead of misreading it.
        """
        raise NotImplementedError(type(self).__name__)

    def settings(self, output: Tensor) -> tuple[np.ndarray, ...]:
        """INT32 constants that LiteRT wants as last inputs for what are attributes here."""
        return ()

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        """The operator of an options table and its constants, as `options` and `settings` write."""
        return cls()


def version_of(versions: Mapping[DataType, int], tensor: Tensor) -> int:
    """Version by the type of a tensor; 1 for types that are not listed."""
    return versions.get(tensor.dtype, 1)
