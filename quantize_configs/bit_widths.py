"""Bit-widths a quantizer offers: one (fixed) or several (elastic)."""

import dataclasses
from collections.abc import Iterable

import tensorflow as tf

from quantize_configs.fake_quantization import FLOAT_BITS

QUANTIZED_BITS = (2, 3, 4, 5, 6, 7, 8)


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
          ValueError: A bit-width other than 2 to 8 or 32, a repeated one, or none at all.
        """
        given = (num_bits,) if isinstance(num_bits, int) else tuple(num_bits)
        quantized = tuple(sorted(bits for bits in given if bits != FLOAT_BITS))
        wrong = [bits for bits in quantized if bits not in QUANTIZED_BITS]
        if wrong or not quantized or len(set(given)) != len(given):
            raise ValueError(
                "num_bits must be one or several different bit-widths from 2 to 8, and may add 32 "
                f"(float) to several. Received: {num_bits!r}."
            )
        return cls(quantized, FLOAT_BITS in given)

    @property
    def is_elastic(self) -> bool:
        """Whether the bit-width is chosen at call time."""
        return len(self.choices) > 1 or self.allow_float

    def config(self) -> int | list[int]:
        """The value that `parse` turns into this object again."""
        if not self.is_elastic:
            return self.choices[0]
        return [*self.choices, *([FLOAT_BITS] if self.allow_float else [])]

    def select(self, bits: tf.Tensor | int | None) -> tf.Tensor:
        """The bit-width of a call as an int32 scalar.

        Raises:
          ValueError: An elastic quantizer is called without a bit-width, or a Python integer is
            not among the choices.
        """
        if bits is None:
            if self.is_elastic:
                raise ValueError(
                    f"An elastic quantizer of {self.config()} bits needs `bits` in each call."
                )
            bits = self.choices[0]
        if isinstance(bits, int) and bits not in self.choices:
            if not (self.allow_float and bits == FLOAT_BITS):
                raise ValueError(f"bits must be one of {self.config()}. Received: {bits}.")
        return tf.convert_to_tensor(bits, tf.int32)

    def index(self, bits: tf.Tensor) -> tf.Tensor:
        """Position of `bits` in the learned parameters, int32 scalar (0 for 32 bits)."""
        if len(self.choices) == 1:
            return tf.zeros([], tf.int32)
        return tf.argmax(tf.equal(bits, list(self.choices)), output_type=tf.int32)

    def parameter(self, variable: tf.Variable, bits: tf.Tensor, bank) -> tf.Tensor:
        """The learned scalar of a bit-width, out of [banks * len(choices)] of them.

        A product with a one-hot vector: exact, and its gradient is dense (sparse ones break in
        nested conditionals).
        """
        index = bank * len(self.choices) + self.index(bits)
        values = tf.convert_to_tensor(variable)
        return tf.reduce_sum(values * tf.one_hot(index, values.shape[0], dtype=values.dtype))

    def unless_float(self, bits: tf.Tensor, x: tf.Tensor, quantized) -> tf.Tensor:
        """`quantized()`, or `x` itself at 32 bits."""
        if not self.allow_float:
            return quantized()
        return tf.cond(bits == FLOAT_BITS, lambda: x, quantized)
