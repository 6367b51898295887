"""LSQ: weights quantized with a learned step per bit-width."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

from quantize_configs.bit_widths import BitWidths
from quantize_configs.fake_quantization import code_limits, fake_quantize, scale_gradient
from quantize_configs.keras_backend import keras


class LSQQuantizer(Quantizer):
    """Learned step size quantization (Esser et al., ICLR 2020), for one or several bit-widths.

        w_hat = round(clip(w / |s|, Qn, Qp)) |s|,   gradient of s multiplied by 1 / sqrt(n Qp)

    with n the number of elements of the tensor. One step per tensor and bit-width.

    The steps start at `2 mean|w| / sqrt(Qp)` of the weight at the time `build` is called, or of
    whatever `initial_steps` is given later.

    Args:
      num_bits: 2 to 8, or several of them (elastic), 32 among them for "no quantization".
      signed: Codes are [-2^(b-1), 2^(b-1) - 1] when true, [0, 2^b - 1] otherwise.
      narrow_bits: Bit-widths at which the most negative signed code stays unused. LiteRT's int8
        specification leaves out -128, hence 8 by default; `()` gives LSQ to the letter.
      banks: Number of independent sets of steps.
    """

    def __init__(
        self,
        num_bits: int | Iterable[int] = 4,
        signed: bool = True,
        narrow_bits: Iterable[int] = (8,),
        banks: int = 1,
    ):
        self.bit_widths = BitWidths.parse(num_bits)
        self.signed = signed
        self.narrow_bits = tuple(narrow_bits)
        self.banks = banks

    def build(self, tensor_shape, name, layer) -> dict[str, tf.Variable]:
        """Creates the steps on `layer`.

        Returns:
          {"step": float32 [banks * number of bit-widths]}.
        """
        owner = getattr(layer, "layer", layer)
        weight = getattr(owner, name, None)
        if isinstance(weight, tf.Variable):
            initial = np.tile(self.initial_steps(weight.numpy()), self.banks)
        else:
            initial = np.ones(self.banks * len(self.bit_widths.choices), np.float32)
        step = layer.add_weight(
            name=f"{name}_step",
            shape=initial.shape,
            dtype=tf.float32,
            initializer=keras.initializers.Constant(initial),
            trainable=True,
        )
        return {"step": step}

    def initial_steps(self, values: np.ndarray) -> np.ndarray:
        """LSQ's first steps for a weight tensor, float32 [number of bit-widths]."""
        magnitude = np.mean(np.abs(np.asarray(values, np.float64)))
        tops = [2 ** (bits - self.signed) - 1 for bits in self.bit_widths.choices]
        steps = 2.0 * magnitude / np.sqrt(tops)
        return np.maximum(steps, np.finfo(np.float32).eps).astype(np.float32)

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, inputs, training, weights, bits=None, bank=0, elements=None, **kwargs
    ) -> tf.Tensor:
        """Quantizes `inputs`, a weight tensor; the same in training and outside it.

        Args:
          inputs: Weight.
          training: Not used.
          weights: What `build` returned.
          bits: int32 scalar; required when elastic.
          bank: Which set of steps, int32 scalar.
          elements: Number of elements that count for the gradient of the step, int32 scalar, when
            it is not that of `inputs` (a small kernel padded with zeros).
        """
        bits = self.bit_widths.select(bits)
        step, qmin, qmax = self.grid(weights, bits, bank)
        elements = tf.cast(tf.size(inputs) if elements is None else elements, tf.float32)
        step = scale_gradient(step, tf.math.rsqrt(elements * qmax))
        return self.quantize_on(
            inputs, (step, qmin, qmax), enabled=self.bit_widths.is_quantized(bits)
        )

    def quantize_on(self, inputs, grid, enabled=None) -> tf.Tensor:
        """Quantizes `inputs` on a grid (positive step, qmin, qmax), float32 scalars.

        The gradient of the step is not scaled here.

        Args:
          inputs: Weight.
          grid: Step and code limits.
          enabled: bool scalar; where it is false, `inputs` are returned.
        """
        step, qmin, qmax = grid
        return fake_quantize(inputs, step, None, qmin, qmax, pass_at_bounds=False, enabled=enabled)

    def grid(self, weights, bits=None, bank=0):
        """Step (positive) and code limits, float32 scalars."""
        bits = self.bit_widths.limited(self.bit_widths.select(bits))
        step = self.bit_widths.parameter(weights["step"], bits, bank)
        qmin, qmax = code_limits(bits, signed=self.signed, narrow_bits=self.narrow_bits)
        return tf.abs(step), qmin, qmax

    def get_config(self):
        """Constructor arguments."""
        return {
            "num_bits": self.bit_widths.config(),
            "signed": self.signed,
            "narrow_bits": list(self.narrow_bits),
            "banks": self.banks,
        }

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    __hash__ = None
