"""What every quantizer of the packages offers, so that nobody has to ask which one it has."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

from quantize_configs.bit_widths import BitWidths
from quantize_configs.options import check_options


@dataclasses.dataclass(frozen=True)
class LearnedValue:
    """One learned value of a grid, of which there is one per bit-width.

    Attributes:
      initial: Before any data; one for all bit-widths, or one for each.
      trainable: Whether training moves it.
    """

    initial: float | tuple[float, ...]
    trainable: bool = True


class ElasticQuantizer(Quantizer):
    """A quantizer of one bit-width, of a layer, or of several, of a site of a supernet.

    A subclass is a dataclass of options (see `quantizer_options`) with these methods. Learned
    values go by their role; where quantizers of many sites are stacked, a role is a vector.

    Attributes:
      needs_range: Whether a grid is found from the range of the tensor, which the caller brings.
      needs_start: Whether learned values have no sense before `start` found them from data.
      Choice: Frozen dataclass of scalars: the learned values as a pass uses them (`used`), then
        `qmin`, `qmax` and `enabled` (bool scalar, None where the quantizer is never off).
      learned: Whether the grid is learned, and so stays where it is in deployment.
      is_symmetric: Whether zero is code 0 of a signed grid by construction.
      zero_point: "integer", or "fractional", which no integer runtime computes.
    """

    needs_range: ClassVar[bool] = False
    needs_start: ClassVar[bool] = False
    Choice: ClassVar[type]

    num_bits: Any
    banks: int
    signed: bool
    bit_widths: BitWidths

    def __post_init__(self):
        """Checks the options and reads the bit-widths."""
        check_options(self)
        self.bit_widths = BitWidths.parse(self.num_bits)
        self.num_bits = self.bit_widths.config()

    @property
    @abc.abstractmethod
    def learned_values(self) -> Mapping[str, LearnedValue]:
        """What is learned per bit-width, by role."""

    @abc.abstractmethod
    def start(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """First learned values from the tensor to quantize, by role: float32 [bit-widths]."""

    @abc.abstractmethod
    def used(
        self, values: Sequence[tf.Tensor], gradient_factors: np.ndarray | tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Learned values as the formulas of the grid take them.

        Args:
          values: Vectors in the order of `learned_values`, an element per site.
          gradient_factors: 1 / sqrt(n qmax) of each element, n the number of weights.
        """

    @abc.abstractmethod
    def quantize_choice(
        self,
        inputs: tf.Tensor,
        choice: Any,
        measured: tuple[tf.Tensor, tf.Tensor] | None = None,
        active: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Quantizes a tensor.

        Args:
          inputs: [..., C].
          choice: A `Choice`.
          measured: (low, high) where `needs_range`.
          active: bool [C], which channels count, the others being 0; None for all.
        """

    @abc.abstractmethod
    def narrowed(
        self, values: Sequence[np.ndarray], source_bits: int, bits: int, rule: str
    ) -> list[np.ndarray]:
        """First learned values of `bits` from those of more, `source_bits`.

        Args:
          values: In the order of `learned_values`.
          source_bits: Bits they were learned with.
          bits: Fewer bits.
          rule: See `quantize_configs.inherited_grids`.
        """

    @abc.abstractmethod
    def readable(self, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Learned values, in the order of `learned_values`, as people read them, by name."""

    @property
    def kind_of_grid(self) -> tuple:
        """What two quantizers must have in common so that learned values fit both."""
        return (type(self).__name__,)

    def first_values(self, role: str) -> np.ndarray:
        """Learned values before any data, float32 [bit-widths]."""
        initial = np.asarray(self.learned_values[role].initial, np.float32)
        return np.broadcast_to(initial, len(self.bit_widths.choices))

    def limits(self, bits: int) -> tuple[float, float]:
        """Smallest and largest code of a bit-width; `fake_quantization.code_limits` of ints."""
        if not self.signed:
            return 0.0, 2.0**bits - 1.0
        half = 2.0 ** (bits - 1)
        return -half, half - 1.0

    def fixed(self, bits: int) -> Self:
        """The same quantizer with one bit-width and one set of learned values."""
        return type(self).from_config({**self.get_config(), "num_bits": bits, "banks": 1})

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, in the types of JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
