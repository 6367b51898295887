"""Layers that move values without changing them, and those that do nothing at inference."""

from quantize_configs.editable_graph import EditableGraph, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)
from quantize_configs.layers.operators import name_of

layers = keras.layers


def _check_enlarging(graph: CallGraph, call: LayerCall) -> None:
    if call.layer.interpolation not in ("nearest", "bilinear"):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} enlarges by {call.layer.interpolation!r} interpolation; "
            "interpolation='nearest' and 'bilinear' are exported."
        )


def _role_of_enlarging(layer: keras.layers.Layer) -> Role:
    return Role.PASSING if layer.interpolation == "nearest" else Role.POINTWISE


WITHOUT_EFFECT = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.RandomBrightness,
    layers.RandomContrast,
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
)
"""Layers that do something in training only."""

LAYERS = {
    layers.InputLayer: LayerKind(Role.INPUT),
    layers.ZeroPadding2D: LayerKind(Role.PASSING),
    layers.UpSampling2D: LayerKind(
        _role_of_enlarging, function=lambda layer: "bilinear", check=_check_enlarging
    ),
    layers.Flatten: LayerKind(Role.PASSING),
    layers.Reshape: LayerKind(Role.PASSING),
    layers.Cropping2D: LayerKind(Role.PASSING),
    **dict.fromkeys(WITHOUT_EFFECT, LayerKind(Role.PASSING)),
}


def depth_of_blocks(graph: EditableGraph, name: str) -> None:
    """ConvNeXt's stochastic depth is a dropout of whole images."""
    node = graph.nodes[name]
    if type(node.layer).__name__ == "StochasticDepth" and hasattr(node.layer, "drop_path_rate"):
        rate = float(node.layer.drop_path_rate)
        noise = (None, *(1,) * (len(node.shape) - 1))
        layer = layers.Dropout(rate, noise_shape=noise, name=name)
        graph.replace(name, **{name: new(layer, *node.inputs, shape=node.shape)})


def name_operators(graph: EditableGraph, name: str) -> None:
    """`tf.reshape` becomes a layer where it keeps the images apart."""
    node = graph.nodes[name]
    if name_of(node) == "reshape" and len(node.inputs) == 1 and None not in node.shape[1:]:
        layer = layers.Reshape(node.shape[1:], name=name)
        graph.replace(name, **{name: new(layer, *node.inputs, shape=node.shape)})


RULES = (depth_of_blocks, name_operators)
LAST_RULES = ()
