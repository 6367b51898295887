"""Which node of a network each Keras layer is, by its class."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qfa_tf.keras_models.convolutions import read_convolution, read_dense, read_depthwise
from qfa_tf.keras_models.slopes import read_prelu, write_leaky_relu
from qfa_tf.keras_models.writer import NetworkWriter
from qfa_tf.network import (
    Concatenation,
    Flatten,
    Function,
    GlobalPooling,
    Padding,
    Pooling,
    Product,
    Rescaling,
    Sum,
    Upsampling,
)
from qfa_tf.network.nodes import FUNCTIONS
from quantize_configs.activations import HardSigmoid, HardSwish, PointwiseFunction
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.layers.functions import activation_name
from quantize_configs.layers.kinds import LayerCall
from quantize_configs.layers.shaping import WITHOUT_EFFECT

layers = keras.layers
Reader = Callable[[NetworkWriter, LayerCall], None]


def refuse(call: LayerCall, what: str) -> UnsupportedLayerError:
    """The refusal of a layer for one of its settings."""
    return UnsupportedLayerError(f"Layer {call.name!r} ({type(call.layer).__name__}) {what}.")


def _read_input(writer: NetworkWriter, call: LayerCall) -> None:
    size, _, channels = call.layer.input_shape[0][1:]
    writer.image(call, size, channels)


def _read_same(writer: NetworkWriter, call: LayerCall) -> None:
    writer.same(call)


def _read_relu(writer: NetworkWriter, call: LayerCall) -> None:
    layer = call.layer
    maximum = None if layer.max_value is None else float(layer.max_value)
    if layer.negative_slope and not layer.threshold and maximum is None:
        write_leaky_relu(writer, call, float(layer.negative_slope))
        return
    if layer.threshold or layer.negative_slope or maximum not in (None, 6.0):
        raise refuse(
            call, "has a threshold or another limit than 6: ReLU, ReLU6 and leaky ones only"
        )
    _write_function(writer, call, "relu" if maximum is None else "relu6")


def _read_leaky_relu(writer: NetworkWriter, call: LayerCall) -> None:
    write_leaky_relu(writer, call, float(call.layer.alpha))


def _read_activation(writer: NetworkWriter, call: LayerCall) -> None:
    name = activation_name(call.layer)
    if name == "hard_sigmoid":
        raise refuse(
            call, "is the hard sigmoid of tf_keras, clip(x / 5 + 1 / 2); write relu6(x + 3) / 6"
        )
    _write_function(writer, call, name)


def _read_softmax(writer: NetworkWriter, call: LayerCall) -> None:
    _write_function(writer, call, "softmax")


def _write_function(writer: NetworkWriter, call: LayerCall, name: str) -> None:
    if (
        writer.is_written(call)
        or name == "linear"
        or (name == "softmax" and call.name in writer.graph.outputs)
    ):
        writer.same(call)
    elif name in FUNCTIONS:
        writer.node(Function, call, activation=name)
    else:
        raise refuse(call, f"computes {name}; a supernet has {', '.join(FUNCTIONS)}")


def _read_normalization(writer: NetworkWriter, call: LayerCall) -> None:
    if not writer.is_written(call):
        raise refuse(call, "follows nothing that it folds into")


def _read_sum(writer: NetworkWriter, call: LayerCall) -> None:
    _require_one_shape(call)
    writer.node(Sum, call)


def _read_product(writer: NetworkWriter, call: LayerCall) -> None:
    """Maps first, which give the result its size."""
    shapes = _shapes(call)
    order = sorted(range(len(shapes)), key=lambda i: -int(np.prod(shapes[i][:-1])))
    sizes = {shape[:-1] for shape in shapes if np.prod(shape[:-1]) > 1}
    if len({shape[-1] for shape in shapes}) > 1 or len(sizes) > 1:
        raise refuse(call, f"multiplies tensors of the shapes {shapes}, which differ in channels")
    sources = writer.sources(call)
    writer.node(Product, call, *(sources[i] for i in order))


def _read_concatenation(writer: NetworkWriter, call: LayerCall) -> None:
    rank = len(call.owner.input_shape[0])
    if call.layer.axis not in (-1, rank - 1):
        raise refuse(call, "does not join channels; use axis=-1")
    writer.node(Concatenation, call)


def _read_pooling(writer: NetworkWriter, call: LayerCall) -> None:
    layer = call.layer
    window, stride = _square(call, layer.pool_size, "pools"), _square(call, layer.strides, "moves")
    reduction = "max" if isinstance(layer, layers.MaxPooling2D) else "average"
    options = {"window": window, "stride": stride, "padding": layer.padding}
    writer.node(Pooling, call, reduction=reduction, **options)


def _read_global_pooling(writer: NetworkWriter, call: LayerCall) -> None:
    is_max = isinstance(call.layer, layers.GlobalMaxPooling2D)
    writer.node(GlobalPooling, call, reduction="max" if is_max else "average")


def _read_padding(writer: NetworkWriter, call: LayerCall) -> None:
    rows, columns = (tuple(map(int, pair)) for pair in call.layer.padding)
    if sum(rows) != sum(columns):
        raise refuse(call, "adds another number of rows than of columns; maps are square")
    writer.node(Padding, call, rows=rows, columns=columns)


def _read_upsampling(writer: NetworkWriter, call: LayerCall) -> None:
    factor = _square(call, call.layer.size, "enlarges")
    writer.node(Upsampling, call, factor=factor, interpolation=call.layer.interpolation)


def _read_rescaling(writer: NetworkWriter, call: LayerCall) -> None:
    low, high = writer.pixel_range
    scale, offset = (np.atleast_1d(value) for value in (call.layer.scale, call.layer.offset))
    # a (low + (high - low) x) + b
    offset = np.atleast_1d(scale * low + offset)
    scale = scale * (high - low)
    pair = {"scale": _floats(scale), "offset": _floats(offset)}
    writer.node(Rescaling, call, **pair)


def _read_flatten(writer: NetworkWriter, call: LayerCall) -> None:
    shape = call.owner.input_shape[1:]
    if len(shape) == 1:
        writer.same(call)
    else:
        writer.node(Flatten, call, positions=int(np.prod(shape[:-1])))


def _read_reshape(writer: NetworkWriter, call: LayerCall) -> None:
    """A vector [C] is a map [1, 1, C] in a supernet."""
    before, after = call.owner.input_shape[1:], call.owner.output_shape[1:]
    if before == after or (_is_position(before) and _is_position(after)):
        writer.same(call)
    elif len(after) == 1:
        writer.node(Flatten, call, positions=int(np.prod(before[:-1])))
    else:
        raise refuse(call, f"makes {tuple(after)} of {tuple(before)}, which mixes the channels")


def _is_position(shape: tuple[int, ...]) -> bool:
    return len(shape) in (1, 3) and np.prod(shape[:-1], dtype=int) == 1


def _shapes(call: LayerCall) -> list[tuple[int, ...]]:
    return [tuple(shape[1:]) for shape in call.owner.input_shape]


def _require_one_shape(call: LayerCall) -> None:
    shapes = _shapes(call)
    same = {tuple(size for size in shape if size != 1) for shape in shapes}
    if len(same) > 1:
        raise refuse(call, f"adds tensors of the shapes {shapes}; they must be equal")


def _square(call: LayerCall, pair: Any, does: str) -> int:
    if len(set(pair)) > 1:
        raise refuse(call, f"{does} by {tuple(pair)}; height and width must be equal")
    return int(pair[0])


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


READERS: dict[type[keras.layers.Layer], Reader] = {
    layers.InputLayer: _read_input,
    layers.Conv2D: read_convolution,
    layers.DepthwiseConv2D: read_depthwise,
    layers.Dense: read_dense,
    layers.BatchNormalization: _read_normalization,
    layers.ReLU: _read_relu,
    layers.Activation: _read_activation,
    layers.Softmax: _read_softmax,
    layers.LeakyReLU: _read_leaky_relu,
    layers.PReLU: read_prelu,
    layers.ELU: lambda writer, call: _write_function(writer, call, "elu"),
    HardSwish: lambda writer, call: _write_function(writer, call, "hard_swish"),
    HardSigmoid: lambda writer, call: _write_function(writer, call, "hard_sigmoid"),
    PointwiseFunction: lambda writer, call: _write_function(writer, call, call.layer.function),
    layers.Add: _read_sum,
    layers.Multiply: _read_product,
    layers.Concatenate: _read_concatenation,
    layers.MaxPooling2D: _read_pooling,
    layers.AveragePooling2D: _read_pooling,
    layers.GlobalAveragePooling2D: _read_global_pooling,
    layers.GlobalMaxPooling2D: _read_global_pooling,
    layers.ZeroPadding2D: _read_padding,
    layers.UpSampling2D: _read_upsampling,
    layers.Rescaling: _read_rescaling,
    layers.Flatten: _read_flatten,
    layers.Reshape: _read_reshape,
    **dict.fromkeys(WITHOUT_EFFECT, _read_same),
}
"""By exact class; a layer that is not here is refused."""
