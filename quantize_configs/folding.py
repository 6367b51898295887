"""Linear layers of a quantized model as integers: codes, scales and biases after folding.

    BN(conv(x, s q)) + ... = scale_c * sum(x_code * code_c) * x_scale + bias_c

Batch normalization goes into a scale per output channel and a bias; a negative gain flips the
sign of the codes, so that scales stay positive.
"""

import dataclasses

import numpy as np

from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, activation_of
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel

LARGEST_BIAS = 2**23  # leaves room for finer units, see weight_containers.code_factor
LARGEST_WIDE_BIAS = 2**38  # with 16-bit activations, whose biases can have 64 bits
SMALLEST_SCALE = 1e-30


@dataclasses.dataclass(frozen=True)
class FoldedLinear:
    """One linear layer with everything that is fused into it.

    Attributes:
      call: The convolution or dense layer.
      bits: Weight bits.
      codes: int32, shaped like the Keras weight; within the grid of `bits`, up to flipped rows.
      scales: float64 [output channels], positive.
      bias: float64 [output channels].
      input_scale: Step of the input's grid.
      input_bits: Bits of the input's grid.
      activation: "linear", "relu", "relu6" or "hard_sigmoid", which clamps to [0, 1].
      output_gain: What scales and bias were multiplied with, 1/6 for a hard-sigmoid.
      output: Name of the layer that ends the fused chain.
    """

    call: LayerCall
    bits: int
    codes: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    input_scale: float
    input_bits: int
    activation: str
    output: str
    output_gain: float = 1.0

    @property
    def is_pointwise(self) -> bool:
        """Whether LiteRT can run it as a FULLY_CONNECTED operator."""
        layer = self.call.layer
        if isinstance(layer, keras.layers.Dense):
            return True
        plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
        return plain and layer.kernel_size == (1, 1) and layer.strides == (1, 1)

    @property
    def input_channels(self) -> int:
        """Input channels of the weight."""
        return self.codes.shape[-2]


def fold_linear(model: WrappedModel, call: LayerCall) -> FoldedLinear:
    """Integer view of a linear layer.

    Raises:
      UncalibratedError: The input of the layer has no range.
    """
    name = call.name
    layer = call.layer
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    step, qmin, qmax = model.weight_quantizer(name).grid(model.weight_variables(name))
    weight, step = model.weight(name).numpy(), np.asarray(step, np.float32)
    codes = np.round(np.clip(weight / step, np.float32(qmin), np.float32(qmax))).astype(np.int32)
    tail = fused_tail(model, call)
    signs = np.where(tail.gain < 0, -1, 1)
    shape = (*codes.shape[-2:],) if depthwise else tail.gain.shape
    codes = codes * signs.reshape(shape).astype(np.int32)
    input_scale, _, input_bits = model.activation_grid(call.inputs[0])
    scales = np.abs(tail.gain) * step.astype(np.float64).reshape(-1)
    largest_bias = LARGEST_WIDE_BIAS if input_bits == WIDE_BITS else LARGEST_BIAS
    codes, scales = _bound_biases(codes, scales, tail.bias, input_scale, shape, largest_bias)
    (bits,) = model.weight_quantizer(name).bit_widths.choices
    return FoldedLinear(
        call,
        bits,
        codes,
        scales,
        tail.bias,
        input_scale,
        input_bits,
        tail.activation,
        tail.output,
        tail.output_gain,
    )


@dataclasses.dataclass(frozen=True)
class FusedTail:
    """What follows the product of a linear layer, up to the tensor that is written.

    Attributes:
      gain: float64 [output channels], of any sign.
      bias: float64 [output channels].
      activation: See `FoldedLinear`.
      output: Name of the layer that ends the fused chain.
      output_gain: What gain and bias were multiplied with, 1/6 for a hard-sigmoid.
    """

    gain: np.ndarray
    bias: np.ndarray
    activation: str
    output: str
    output_gain: float = 1.0


def fused_tail(model: WrappedModel, call: LayerCall) -> FusedTail:
    """Bias, normalization and activation of a linear layer."""
    layer = call.layer
    is_float = model.float_bits(call.name) is not None
    weight = model.kernel(call.name) if is_float else model.weight(call.name)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    channels = weight.shape[-2] * weight.shape[-1] if depthwise else weight.shape[-1]
    gain, bias = np.ones(channels), np.zeros(channels)
    if layer.use_bias:
        bias = layer.bias.numpy().astype(np.float64)
    activation, output = activation_of(layer), call.name
    reader = _fused_reader(model, output)
    if reader is not None and reader.role is Role.NORMALIZATION:
        gain, bias = normalization_as_affine(reader.layer, bias)
        output = reader.name
        reader = _fused_reader(model, output)
    if reader is not None and reader.role is Role.ACTIVATION and activation == "linear":
        activation, output = activation_of(reader.layer), reader.name
    if activation == "hard_sigmoid":  # (x + 3) / 6, between 0 and 1
        sixth = 1.0 / 6.0
        return FusedTail(gain * sixth, (bias + 3.0) * sixth, activation, output, sixth)
    return FusedTail(gain, bias, activation, output)


def _fused_reader(model: WrappedModel, name: str) -> LayerCall | None:
    """The sole reader of a tensor, None when the tensor is written on a 16-bit grid of its own."""
    quantizer = model.output_quantizer(name)
    if quantizer is not None and quantizer.is_symmetric:
        return None
    return model.graph.sole_reader(name)


def normalization_as_affine(layer, bias) -> tuple[np.ndarray, np.ndarray]:
    """(gain, offset) of a batch normalization that follows a layer with `bias`, float64."""
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    width = len(mean)
    gamma = layer.gamma.numpy() if layer.scale else np.ones(width)
    beta = layer.beta.numpy() if layer.center else np.zeros(width)
    gain = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    return gain, beta + gain * (bias - mean)


def _bound_biases(codes, scales, bias, input_scale, shape, largest_bias):
    """Widens scales so small that the bias could leave int32, and requantizes their rows.

    Such a channel (a gain of nearly zero) is constant up to its bias.
    """
    needed = np.maximum(np.abs(bias) / (input_scale * largest_bias), SMALLEST_SCALE)
    ratio = np.minimum(scales / needed, 1.0)
    if (ratio < 1.0).any():
        codes = np.round(codes * ratio.reshape(shape)).astype(np.int32)
        scales = np.maximum(scales, needed)
    return codes, scales
