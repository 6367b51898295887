"""Transposed convolutions: every pixel of a block of the output is an ordinary convolution.

With stride s, output s m + r sums up the inputs m + d over the taps t of the kernel for which
s d = r + before - t. So one convolution gives the s x s pixels of a block as channels, and
DEPTH_TO_SPACE puts them in their places, which no grid notices. (Shi et al., "Is the deconvolution
layer the same as a convolutional layer?", 2016.)
"""

import dataclasses

import numpy as np

from quantize_configs.depth_to_space import DepthToSpace
from quantize_configs.editable_graph import EditableGraph, Node, Shape, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.functions import ACTIVATION_NAMES, activation_name
from quantize_configs.layers.kinds import LayerKind, UnsupportedLayerError
from quantize_configs.slicing import Slice

layers = keras.layers

LAYERS: dict[type[keras.layers.Layer], LayerKind] = {}


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A transposed convolution along one axis, as ordinary ones.

    Attributes:
      taps: (pixel of the block, place in the old kernel, place in the new one).
      window: Size of the new kernel.
      padding: Zeros (before, after) the inputs.
      blocks: How many blocks come out.
      size: Size of the output, which may end within a block.
    """

    taps: tuple[tuple[int, int, int], ...]
    window: int
    padding: tuple[int, int]
    blocks: int
    size: int

    @classmethod
    def of(cls, size: int, kernel: int, stride: int, is_same: bool) -> "_Axis":
        """The axis of `size` inputs."""
        longer = max(kernel - stride, 0)
        before = longer // 2 if is_same else 0
        output = size * stride + (0 if is_same else longer)
        found = [
            (pixel, place, (pixel + before - place) // stride)
            for pixel in range(stride)
            for place in range(kernel)
            if (pixel + before - place) % stride == 0
        ]
        offsets = [0, *(offset for *_, offset in found)]
        first, last = min(offsets), max(offsets)
        blocks = -(-output // stride)
        return cls(
            tuple((pixel, place, offset - first) for pixel, place, offset in found),
            last - first + 1,
            (-first, blocks - size + last),
            blocks,
            output,
        )


def transposed_as_blocks(graph: EditableGraph, name: str) -> None:
    """A transposed convolution keeps its name as the convolution that gives the blocks."""
    node = graph.nodes[name]
    layer = node.layer
    if type(layer) is not layers.Conv2DTranspose:
        return
    stride, *_ = strides = tuple(layer.strides)
    _refuse(layer, strides)
    (source,) = node.inputs
    _, *sizes, channels = graph.nodes[source].shape
    is_same = layer.padding == "same"
    rows, columns = (
        _Axis.of(size, kernel, stride, is_same)
        for size, kernel in zip(sizes, layer.kernel_size, strict=True)
    )
    weight, *bias = layer.get_weights()
    kernel = np.zeros(
        (rows.window, columns.window, channels, stride, stride, layer.filters), weight.dtype
    )
    for row, y, new_y in rows.taps:
        for column, x, new_x in columns.taps:
            kernel[new_y, new_x, :, row, column] += weight[y, x].T
    kernel = kernel.reshape(*kernel.shape[:3], -1)
    bias = [np.tile(values, stride**2) for values in bias]
    fuses = activation_name(layer) in ACTIVATION_NAMES
    convolution = layers.Conv2D(
        kernel.shape[3],
        kernel.shape[:2],
        padding="valid",
        use_bias=layer.use_bias,
        activation=layer.activation if fuses else None,
        kernel_regularizer=layer.kernel_regularizer,
        bias_regularizer=layer.bias_regularizer,
        trainable=layer.trainable,
        name=name,
    )
    padding = (rows.padding, columns.padding)
    nodes: dict[str, Node] = {}
    if padding != ((0, 0), (0, 0)):
        padded = f"{name}.padding"
        shape = (
            None,
            *(n + sum(side) for n, side in zip(sizes, padding, strict=True)),
            channels,
        )
        nodes[padded] = new(layers.ZeroPadding2D(padding, name=padded), source, shape=shape)
        source = padded
    shape = (None, rows.blocks, columns.blocks, kernel.shape[3])
    nodes[name] = new(convolution, source, shape=shape, weights=[kernel, *bias])
    graph.replace_by(name, nodes)
    end = name
    whole = (rows.blocks * stride, columns.blocks * stride)
    if stride > 1:
        pixels = DepthToSpace(stride, name=f"{name}.pixels")
        end = _append(graph, end, pixels, (*whole, layer.filters))
    if whole != (rows.size, columns.size):
        part = (rows.size, columns.size, layer.filters)
        end = _append(graph, end, Slice((0, 0, 0), part, name=f"{name}.part"), part)
    if not fuses:
        function = layers.Activation(layer.activation, name=f"{name}.function")
        _append(graph, end, function, (rows.size, columns.size, layer.filters))


def _refuse(layer: keras.layers.Conv2DTranspose, strides: tuple[int, ...]) -> None:
    settings = {
        "strides": (strides, len(set(strides)) == 1, "equal strides"),
        "dilation_rate": (layer.dilation_rate, set(layer.dilation_rate) == {1}, "1"),
        "output_padding": (layer.output_padding, layer.output_padding is None, "None"),
        "groups": (layer.groups, layer.groups == 1, "1"),
    }
    for setting, (value, is_fine, allowed) in settings.items():
        if not is_fine:
            raise UnsupportedLayerError(
                f"The Conv2DTranspose {layer.name!r} has {setting}={value}; exported is {allowed}. "
                "Take an UpSampling2D and a Conv2D instead."
            )


def _append(graph: EditableGraph, name: str, layer: keras.layers.Layer, sizes: Shape) -> str:
    graph.insert_after(name, layer.name, new(layer, name, shape=(None, *sizes)))
    return layer.name


def before_pixels(graph: EditableGraph, name: str) -> None:
    """A normalization or activation behind such blocks goes before them, where it can fuse."""
    node = graph.nodes[name]
    is_normalization = type(node.layer) is layers.BatchNormalization
    if not is_normalization and type(node.layer) not in (layers.ReLU, layers.Activation):
        return
    if is_normalization and list(node.layer.axis) != [3]:
        return
    if type(node.layer) is layers.Activation and activation_name(node.layer) == "softmax":
        return
    while len(node.inputs) == 1 and graph.is_alone(node.inputs[0]):
        (moved_name,) = node.inputs
        moved = graph.nodes[moved_name]
        if not moved.is_new or type(moved.layer) not in (DepthToSpace, Slice):
            return
        source = graph.nodes[moved.inputs[0]]
        if is_normalization and source.shape[3] != node.shape[3]:
            times = source.shape[3] // node.shape[3]
            given = node.layer.get_weights() if node.weights is None else node.weights
            node.layer = layers.BatchNormalization.from_config(node.layer.get_config())
            node.weights = [np.tile(values, times) for values in given]
            node.is_new = True
        graph.swap(moved_name, name)
        node.shape = source.shape


RULES = (transposed_as_blocks, before_pixels)
LAST_RULES = ()
