"""Convolutions and dense layers of Keras as sites, with the normalization and activation behind."""

from typing import Any

import numpy as np

from qfa_tf.keras_models.site_values import site_values
from qfa_tf.keras_models.writer import NetworkWriter
from qfa_tf.network import Constant
from quantize_configs.activations import HardSwish
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, UnsupportedLayerError, activation_of
from quantize_configs.layers.kinds import LayerCall

FUSED = ("relu", "relu6")


def read_convolution(writer: NetworkWriter, call: LayerCall) -> None:
    """A Conv2D; one that gives each channel its own kernel is a depthwise one."""
    layer = call.layer
    kernel, bias = _weights(layer)
    height, width, rows, outputs = kernel.shape
    options = _spatial(call)
    if layer.groups > 1 and rows == 1 and layer.groups == outputs and height == width:
        kernel = kernel.transpose(0, 1, 3, 2)
        _write(writer, call, kernel, bias, kind="depthwise", width=None, **options)
        return
    if layer.groups == 1 and (height, width) == (1, 1) and options["stride"] == 1:
        options = {"kind": "pointwise"}
        kernel = kernel[0, 0]
    else:
        options |= {"kind": "convolution", "groups": layer.groups}
    _write(writer, call, kernel, bias, width=Constant(outputs), **options)


def read_depthwise(writer: NetworkWriter, call: LayerCall) -> None:
    """A DepthwiseConv2D."""
    layer = call.layer
    if layer.depth_multiplier != 1:
        raise UnsupportedLayerError(
            f"Layer {call.name!r} has the depth multiplier {layer.depth_multiplier}; a supernet's "
            "depthwise convolutions have 1. Use a Conv2D with groups."
        )
    kernel, bias = _weights(layer)
    if kernel.shape[0] != kernel.shape[1]:
        raise UnsupportedLayerError(
            f"Layer {call.name!r} has a depthwise kernel of {kernel.shape[:2]}; a supernet's are "
            "square."
        )
    _write(writer, call, kernel, bias, kind="depthwise", width=None, **_spatial(call))


def read_dense(writer: NetworkWriter, call: LayerCall) -> None:
    """A Dense, of vectors or of the channels of maps."""
    rank = len(call.owner.input_shape)
    if rank not in (2, 4):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} is a Dense of tensors with {rank} axes; a supernet has those of "
            "vectors and of maps."
        )
    kernel, bias = _weights(call.layer)
    kind = "dense" if rank == 2 else "pointwise"
    _write(writer, call, kernel, bias, kind=kind, width=Constant(kernel.shape[1]))


def _weights(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray | None]:
    kernel, *bias = layer.get_weights()
    return kernel, bias[0] if bias else None


def _spatial(call: LayerCall) -> dict[str, Any]:
    """Kernel, stride and padding of a convolution."""
    layer = call.layer
    dilations = set(layer.dilation_rate)
    if len(dilations) > 1 or layer.padding not in ("same", "valid"):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} has the dilation {tuple(layer.dilation_rate)} and the padding "
            f"{layer.padding!r}; a supernet has equal ones, and 'same' or 'valid'."
        )
    (height, width), strides = layer.kernel_size, set(layer.strides)
    is_plain = layer.padding == "same" and strides == {1}
    if len(strides) > 1 or (height != width and not is_plain):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} has the kernel {tuple(layer.kernel_size)} and the strides "
            f"{tuple(layer.strides)}; maps stay square: equal strides, and kernels that are not "
            "square with stride 1 and padding='same'."
        )
    options = {
        "kernel_size": height,
        "stride": strides.pop(),
        "padding": layer.padding,
        "dilation": dilations.pop(),
    }
    return options if height == width else {**options, "kernel_width": width}


def _write(
    writer: NetworkWriter,
    call: LayerCall,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    **options: Any,
) -> None:
    """The site with the normalization and the activation that belong to it."""
    graph, normalization, name = writer.graph, None, call.name
    parts, activation = [call.name], activation_of(call.layer)
    reader = graph.sole_reader(name)
    if reader is not None and reader.role is Role.NORMALIZATION:
        normalization, name = reader.layer, _own_name(call, reader)
        parts.append(reader.name)
        reader = graph.sole_reader(reader.name)
    if reader is not None and activation == "linear" and _fused(reader) is not None:
        activation = str(_fused(reader))
        parts.append(reader.name)
    values = site_values(kernel, bias, normalization)
    options |= {
        "activation": activation,
        "normalization": normalization is not None,
        "bias": values.bias is not None,
    }
    writer.site(call, name, parts, values, **options)


def _own_name(call: LayerCall, norm: LayerCall) -> str:
    """The name of a site: that of the normalization where its convolution was made for it."""
    is_made = call.name == f"{norm.name}.scale"
    return norm.name if is_made else call.name


def _fused(call: LayerCall) -> str | None:
    """The activation that a call is, where it can belong to a site."""
    if isinstance(call.layer, HardSwish):
        return "hard_swish"
    if call.role is not Role.ACTIVATION:
        return None
    name = activation_of(call.layer)
    return name if name in FUSED else None
