"""Cutting one subnet out of a supernet as a functional Keras model quantized through TFMOT."""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from qfa_tf.layers.kernel_transform import crop_centre
from qfa_tf.layers.statistics import has_normalization
from qfa_tf.space import Architecture
from qfa_tf.supernet.calibration import Calibration
from quantize_configs.bit_policy import BitPolicy
from quantize_configs.deployment import prepare_for_deployment
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.model_quantization import quantize
from quantize_configs.wrappers import WrappedModel

if TYPE_CHECKING:
    from qfa_tf.supernet.supernet import QFASupernet

layers = keras.layers


class ExtractionError(ValueError):
    """An architecture has no fixed quantized model."""


def extract(
    net: "QFASupernet",
    arch: Architecture,
    calibration: Calibration,
    deployment_grids: bool,
    weight_container: str,
) -> keras.Model:
    """Builds the model of one subnet; see `QFASupernet.extract`."""
    bits = arch.site_bits
    floating = sorted(site for site, pair in bits.items() if FLOAT_BITS in pair)
    if floating:
        raise ExtractionError(
            f"These sites are in float (32 bits): {floating}. A subnet can be extracted when all "
            f"its sites have bits from {net.space.weight_bits}."
        )
    if deployment_grids and net.zero_point != "integer":
        raise ExtractionError(
            "The supernet was trained with fractional zero points, which no integer runtime "
            "computes. Train with zero_point='integer', or extract with deployment_grids=False."
        )
    model = quantize(
        _float_model(net, arch),
        BitPolicy(layers=bits),
        zero_point=net.zero_point,
        estimator=net.estimator,
        tensor_quantizers=deployment_grids,
    )
    wrapped = WrappedModel(model)
    blocks = dict(_named_blocks(arch))
    for name in bits:
        prefix = name.rsplit(".", 1)[0]
        size = blocks[prefix].kernel_size if name.endswith(".depthwise") else None
        _fill_site(net, wrapped, calibration, name, bits[name], size)
    if deployment_grids:
        _fill_tensor_ranges(net, wrapped, calibration)
        prepare_for_deployment(model, weight_container)
    return model


def _named_blocks(arch):
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            yield f"s{s}.b{b}", block


def _float_model(net, arch) -> keras.Model:
    """The layers of the subnet; site, normalization and activation carry the site's name."""
    space = net.space
    bits = arch.site_bits
    inputs = keras.Input((arch.resolution, arch.resolution, space.input_channels), name="image")

    def site(name, x, width, kernel_size=1, dense=False):
        layer = net.site_layer(name)
        options = {"use_bias": layer.use_bias, "name": name}
        if layer.kind == "depthwise":
            x = layers.DepthwiseConv2D(kernel_size, layer.stride, "same", **options)(x)
        elif dense:
            x = layers.Dense(width, **options)(x)
        else:
            x = layers.Conv2D(width, kernel_size, layer.stride, "same", **options)(x)
        if has_normalization(name):
            x = layers.BatchNormalization(epsilon=layer.epsilon, name=f"{name}.norm")(x)
        if layer.activation != "linear":
            limit = 6.0 if layer.activation == "relu6" else None
            x = layers.ReLU(max_value=limit, name=f"{name}.activation")(x)
        return x

    x = site("stem", inputs, space.stem.width, space.stem.kernel_size)
    for prefix, block in _named_blocks(arch):
        s, b = (int(part[1:]) for part in prefix.split("."))
        source, width = x, space.mid_width(s, b, block.expand_ratio)
        if f"{prefix}.expand" in bits:
            x = site(f"{prefix}.expand", x, width)
        x = site(f"{prefix}.depthwise", x, width, block.kernel_size)
        x = site(f"{prefix}.project", x, space.stages[s].width)
        if space.has_residual(s, b):
            x = layers.Add(name=f"{prefix}.sum")([x, source])
    x = site("head.expand", x, space.head.expand_width)
    x = layers.GlobalAveragePooling2D(name="head.pool")(x)
    if "head.mix" in bits:
        x = site("head.mix", x, space.head.mix_width, dense=True)
    logits = site("classifier", x, space.num_classes, dense=True)
    return keras.Model(inputs, logits, name="subnet")


def _fill_site(net, wrapped, calibration, name, bits, kernel_size) -> None:
    """Copies weight, step, normalization, learned offsets and range of one site."""
    source = net.site_layer(name)
    wrapper = wrapped.wrapper(name)
    weight_bits, activation_bits = bits
    bank = 0 if kernel_size is None else source.kernel_sizes.index(kernel_size)
    kernel = tf.convert_to_tensor(source.kernel)
    if kernel_size is not None:
        kernel = crop_centre(source.transform(kernel, kernel_size), kernel_size)
    target = wrapped.weight(name)
    kernel = np.asarray(kernel)
    if kernel.ndim != len(target.shape):  # a 1x1 convolution that became a dense layer
        kernel = kernel[0, 0]
    target.assign(kernel[tuple(slice(size) for size in target.shape)])
    step = _learned(source.weight_quantizer, source.weight_variables["step"], weight_bits, bank)
    wrapped.weight_variables(name)["step"].assign([step])
    if source.use_bias:
        wrapper.layer.bias.assign(source.bias.numpy())
    if has_normalization(name):
        norm = wrapped.wrapper(f"{name}.norm").layer
        width = norm.gamma.shape[0]
        norm.gamma.assign(source.gamma.numpy()[:width])
        norm.beta.assign(source.beta.numpy()[:width])
        norm.moving_mean.assign(calibration.read(net.layout, f"{name}.mean")[:width])
        norm.moving_variance.assign(calibration.read(net.layout, f"{name}.variance")[:width])
    variables = wrapped.output_variables(f"{name}.input")
    for role in ("theta", "beta"):
        value = source.activation_variables[role]
        value = _learned(source.activation_quantizer, value, activation_bits, bank)
        variables[role].assign([value])
    low, high = calibration.read(net.layout, f"{name}.range")
    _store_range(variables, low, high, calibration.images)


def _learned(quantizer, variable, bits, bank) -> float:
    return float(quantizer.bit_widths.parameter(variable, tf.constant(bits), bank))


def _fill_tensor_ranges(net, wrapped, calibration) -> None:
    """Gives the 8-bit tensors the extremes that calibration saw."""
    for name in wrapped.quantized_outputs():
        if name.endswith(".input"):
            continue
        entry = name if name.endswith(".sum") else f"{_site_of(name)}.output"
        low, high = calibration.read(net.layout, entry)
        variables = wrapped.output_variables(name)
        _store_range(variables, min(low, 0.0), max(high, 0.0), calibration.images)


def _site_of(layer_name: str) -> str:
    """Site that a layer of the extracted model belongs to."""
    return layer_name.removesuffix(".norm").removesuffix(".activation")


def _store_range(variables, low, high, images) -> None:
    variables["range_low"].assign(low)
    variables["range_high"].assign(high)
    variables["samples"].assign(float(images))
