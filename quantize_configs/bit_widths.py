"""Bit-widths a quantizer offers: one (fixed) or several (elastic)."""

import dataclasses
import numbers
from collections.abc import Iterable

import tensorflow as tf

from quantize_configs.errors import InvalidInputError
from quantize_configs.fake_quantization import FLOAT_BITS

QUANTIZED_BITS = (2, 3, 4, 5, 6, 7, 8)
WIDE_BITS = 16
"""Activation bits of an int16 x int8 layer, or weight bits of a float layer."""

FLOAT_PAIRS = ((FLOAT_BITS, FLOAT_BITS), (WIDE_BITS, FLOAT_BITS))
"""(weight bits, activation bits) of layers that compute in float32."""


def is_bit_width(value: object) -> bool:
    """Whether `value` is an integer (of Python or NumPy) from 2 to 8."""
    return isinstance(value, numbers.Integral) and value in QUANTIZED_BITS


def is_float_pair(pair: tuple[int, int]) -> bool:
    """Whether a layer with these (weight bits, activation bits) computes in float32."""
    return tuple(pair) in FLOAT_PAIRS


def is_pair(pair: tuple[int, int]) -> bool:
    """Whether a layer can have these (weight bits, activation bits)."""
    weights, activations = pair
    if is_bit_width(weights):
        return is_bit_width(activations) or activations == WIDE_BITS
    return is_float_pair(pair)


@dataclasses.dataclass(frozen=True)
class BitWidths:
    """The bit-widths of one quantizer, each with its own learned parameters.

    Attributes:
      choices: Quantized bit-widths in increasing order.
      allow_float: Whether 32 bits (no quantization) can be asked for as well.
    """

    choices: tuple[int, ...]
    allow_float: bool

    @classmethod
    def parse(cls, num_bits: int | Iterable[int]) -> "BitWidths":
        """Reads `num_bits` as given to a quantizer.

        Raises:
          InvalidInputError: A bit-width other than 2 to 8, 32, or 16 alone; a repeated one, or none
            at all.
        """
        given = tuple(num_bits) if isinstance(num_bits, Iterable) else (num_bits,)
        if given == (WIDE_BITS,):
            return cls((WIDE_BITS,), False)
        quantized = tuple(bits for bits in given if bits != FLOAT_BITS)
        wrong = [bits for bits in quantized if not is_bit_width(bits)]
        if wrong or not quantized or len(set(given)) != len(given):
            raise InvalidInputError(
                "num_bits must be one or several different bit-widths from 2 to 8, and may add 32 "
                f"(float) to several. Received: {num_bits!r}."
            )
        return cls(tuple(sorted(map(int, quantized))), FLOAT_BITS in given)

    @property
    def is_elastic(self) -> bool:
        """Whether the bit-width is chosen at call time."""
        return len(self.choices) > 1 or self.allow_float

    def config(self) -> int | list[int]:
        """The value that `parse` turns into this object again."""
        if not self.is_elastic:
            return self.choices[0]
        return [*self.choices, *([FLOAT_BITS] if self.allow_float else [])]

    def select(self, bits: tf.Tensor | int | None) -> tf.Tensor | int:
        """The bit-width of a call: an int32 scalar, or an int where it is known.

        Raises:
          InvalidInputError: An elastic quantizer is called without a bit-width, or a Python integer
            is not among the choices.
        """
        if bits is None:
            if self.is_elastic:
                raise InvalidInputError(
                    f"An elastic quantizer of {self.config()} bits needs `bits` in each call."
                )
            return self.choices[0]
        offered = (*self.choices, FLOAT_BITS) if self.allow_float else self.choices
        if isinstance(bits, int) and bits not in offered:
            raise InvalidInputError(f"bits must be one of {self.config()}. Received: {bits}.")
        return bits if isinstance(bits, int) else tf.convert_to_tensor(bits, tf.int32)

    def parameter(self, variable: tf.Variable, bits: tf.Tensor, bank=0) -> tf.Tensor:
        """The learned values of a bit-width, out of [banks * len(choices)] of them.

        A masked sum: exact, and its gradient is dense, which nested conditionals need. At 32
        bits, which has no parameter, it is that of the widest choice, of which
        `fake_quantize` then makes no use.

        Args:
          variable: float32 [banks * len(choices), ...].
          bits: int32 scalar.
          bank: Which set of parameters, an int or int32 scalar.
        """
        values = tf.convert_to_tensor(variable)
        count = len(self.choices)
        if values.shape[0] == 1:
            return tf.reshape(values, values.shape[1:])
        widest = self.choices[-1]
        chosen = tf.equal(tf.minimum(bits, widest), self.choices * (values.shape[0] // count))
        if values.shape[0] > count:
            chosen &= tf.equal(bank, [row // count for row in range(values.shape[0])])
        chosen = tf.reshape(tf.cast(chosen, values.dtype), [-1] + [1] * (values.shape.rank - 1))
        return tf.reduce_sum(values * chosen, 0)

    def limited(self, bits: tf.Tensor) -> tf.Tensor:
        """`bits`, with 32 replaced by the widest quantized choice."""
        return tf.minimum(bits, self.choices[-1]) if self.allow_float else bits

    def is_quantized(self, bits: tf.Tensor) -> tf.Tensor | None:
        """Whether a call quantizes at all, bool scalar; None when it always does."""
        return bits != FLOAT_BITS if self.allow_float else None
