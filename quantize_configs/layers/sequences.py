"""Layers of sequences (N, L, C): they are those of images (N, L, 1, C) between two reshapes."""

from quantize_configs.editable_graph import EditableGraph, Node, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind

layers = keras.layers

LAYERS: dict[type[keras.layers.Layer], LayerKind] = {}


def _convolution(layer: keras.layers.Conv1D, name: str) -> tuple[keras.layers.Layer, list]:
    kernel, *bias = layer.get_weights()
    image_layer = layers.Conv2D(
        layer.filters,
        (*layer.kernel_size, 1),
        (*layer.strides, 1),
        "valid" if layer.padding == "causal" else layer.padding,
        dilation_rate=(*layer.dilation_rate, 1),
        groups=layer.groups,
        activation=layer.activation,
        use_bias=layer.use_bias,
        kernel_regularizer=layer.kernel_regularizer,
        bias_regularizer=layer.bias_regularizer,
        trainable=layer.trainable,
        name=name,
    )
    return image_layer, [kernel[:, None], *bias]


def _pool(kind: type[keras.layers.Layer]):
    def build(layer: keras.layers.Layer, name: str) -> tuple[keras.layers.Layer, None]:
        size, strides = ((*value, 1) for value in (layer.pool_size, layer.strides))
        return kind(size, strides, layer.padding, name=name), None

    return build


def _whole(kind: type[keras.layers.Layer]):
    def build(layer: keras.layers.Layer, name: str) -> tuple[keras.layers.Layer, None]:
        return kind(name=name), None

    return build


def _padding(layer: keras.layers.ZeroPadding1D, name: str) -> tuple[keras.layers.Layer, None]:
    return layers.ZeroPadding2D((layer.padding, (0, 0)), name=name), None


def _cropping(layer: keras.layers.Cropping1D, name: str) -> tuple[keras.layers.Layer, None]:
    return layers.Cropping2D((layer.cropping, (0, 0)), name=name), None


def _enlarging(layer: keras.layers.UpSampling1D, name: str) -> tuple[keras.layers.Layer, None]:
    return layers.UpSampling2D((layer.size, 1), name=name), None


_OF_IMAGES = {
    layers.Conv1D: _convolution,
    layers.MaxPooling1D: _pool(layers.MaxPooling2D),
    layers.AveragePooling1D: _pool(layers.AveragePooling2D),
    layers.GlobalAveragePooling1D: _whole(layers.GlobalAveragePooling2D),
    layers.GlobalMaxPooling1D: _whole(layers.GlobalMaxPooling2D),
    layers.ZeroPadding1D: _padding,
    layers.Cropping1D: _cropping,
    layers.UpSampling1D: _enlarging,
}
"""Builds the layer of images, and its weights."""


def as_image_layer(graph: EditableGraph, name: str) -> None:
    """A layer of sequences becomes one of images; a convolution keeps its name."""
    node = graph.nodes[name]
    layer = node.layer
    build = _OF_IMAGES.get(type(layer))
    if build is None:
        return
    (source,) = node.inputs
    length, channels = graph.nodes[source].shape[1:]
    sizes = (length, 1, channels)
    reshape = layers.Reshape(sizes, name=f"{name}.map")
    nodes: dict[str, Node] = {f"{name}.map": new(reshape, source, shape=(None, *sizes))}
    inner = f"{name}.map"
    if getattr(layer, "padding", None) == "causal":  # zeros before the first place only
        before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        inner = f"{name}.padding"
        padding = layers.ZeroPadding2D(((before, 0), (0, 0)), name=inner)
        nodes[inner] = new(padding, f"{name}.map", shape=(None, length + before, 1, channels))
    image_layer, weights = build(layer, name)
    is_flat = len(node.shape) == 2
    shape = node.shape if is_flat else (None, node.shape[1], 1, node.shape[2])
    nodes[name] = new(image_layer, inner, shape=shape, weights=weights)
    graph.replace_by(name, nodes)
    if not is_flat:
        back = layers.Reshape(node.shape[1:], name=f"{name}.sequence")
        graph.insert_after(name, f"{name}.sequence", new(back, name, shape=node.shape))


def before_reshape(graph: EditableGraph, name: str) -> None:
    """A normalization or activation behind such a reshape goes before it, where it can fuse."""
    node = graph.nodes[name]
    if len(node.inputs) != 1 or len(node.shape) != 3:
        return
    (reshape,) = node.inputs
    moved = graph.nodes[reshape]
    if not (moved.is_new and type(moved.layer) is layers.Reshape and graph.is_alone(reshape)):
        return
    source = graph.nodes[moved.inputs[0]]
    if type(node.layer) is layers.BatchNormalization and list(node.layer.axis) == [2]:
        node.changes["axis"] = [3]
    elif type(node.layer) not in (layers.ReLU, layers.Activation):
        return
    if len(source.shape) != 4 or source.shape[3] != node.shape[2]:
        return
    graph.swap(reshape, name)
    node.shape = source.shape


RULES = (as_image_layer, before_reshape)
LAST_RULES = ()
