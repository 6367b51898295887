"""What each supported Keras layer does to a quantized tensor."""

import enum

from quantize_configs.activations import HardSigmoid, HardSwish
from quantize_configs.errors import UnsupportedError
from quantize_configs.keras_backend import keras


class Role(enum.Enum):
    """How a layer treats grids."""

    INPUT = "input"
    LINEAR = "linear"  # reads its own activation grid, has a weight
    NORMALIZATION = "normalization"  # folded into the linear layer before it
    ACTIVATION = "activation"  # fused into the operation before it
    POINTWISE = "pointwise"  # a function computed in float from a quantized tensor
    ARITHMETIC = "arithmetic"  # makes a tensor that needs a new grid
    PASSING = "passing"  # keeps the grid of its input


ROLES = {
    keras.layers.InputLayer: Role.INPUT,
    keras.layers.Conv2D: Role.LINEAR,
    keras.layers.DepthwiseConv2D: Role.LINEAR,
    keras.layers.Dense: Role.LINEAR,
    keras.layers.BatchNormalization: Role.NORMALIZATION,
    keras.layers.ReLU: Role.ACTIVATION,
    keras.layers.Activation: Role.ACTIVATION,
    HardSigmoid: Role.ACTIVATION,
    HardSwish: Role.POINTWISE,
    keras.layers.Softmax: Role.POINTWISE,
    keras.layers.Rescaling: Role.POINTWISE,
    keras.layers.Add: Role.ARITHMETIC,
    keras.layers.Multiply: Role.ARITHMETIC,
    keras.layers.Concatenate: Role.ARITHMETIC,
    keras.layers.AveragePooling2D: Role.ARITHMETIC,
    keras.layers.GlobalAveragePooling2D: Role.ARITHMETIC,
    keras.layers.ZeroPadding2D: Role.PASSING,
    keras.layers.MaxPooling2D: Role.PASSING,
    keras.layers.Flatten: Role.PASSING,
    keras.layers.Reshape: Role.PASSING,
    keras.layers.Dropout: Role.PASSING,
}

WEIGHT_ATTRIBUTES = {
    keras.layers.Conv2D: "kernel",
    keras.layers.DepthwiseConv2D: "depthwise_kernel",
    keras.layers.Dense: "kernel",
}

MERGING_LAYERS = (keras.layers.Add, keras.layers.Multiply, keras.layers.Concatenate)
"""Layers that are called with a list of tensors."""

FUNCTION_NAMES = ("sigmoid", "swish", "softmax")
"""Functions of an Activation layer that are computed by themselves, not fused."""

ACTIVATION_NAMES = ("linear", "relu", "relu6")


class UnsupportedLayerError(UnsupportedError):
    """A layer, or the way it is used, has no quantized counterpart."""


def role_of(layer: keras.layers.Layer) -> Role:
    """Role of a layer (not a wrapper), matched by its exact class.

    Raises:
      UnsupportedLayerError: The class is not in the table.
    """
    if type(layer) is keras.layers.Activation and function_of(layer) in FUNCTION_NAMES:
        return Role.POINTWISE
    try:
        return ROLES[type(layer)]
    except KeyError:
        known = ", ".join(sorted(kind.__name__ for kind in ROLES))
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} is a {type(layer).__name__}, which cannot be quantized. "
            f"Supported layers: {known}. Replace it by one of these, or keep it outside the model."
        ) from None


def function_of(layer: keras.layers.Layer) -> str:
    """Name of the function of a pointwise layer or of an Activation.

    Pointwise layers have "hard_swish", "rescaling" or one of FUNCTION_NAMES.
    """
    if isinstance(layer, keras.layers.Activation):
        return activation_name(layer)
    names = {HardSwish: "hard_swish", keras.layers.Rescaling: "rescaling"}
    return names.get(type(layer), "softmax")


def activation_name(layer) -> str:
    """Name of the activation attribute."""
    function = getattr(layer, "activation", None)
    if function is None:
        return "linear"
    name = keras.activations.serialize(function)
    return {"silu": "swish"}.get(name, name)


def activation_of(layer: keras.layers.Layer) -> str:
    """Name of the activation a layer applies: "linear", "relu", "relu6" or "hard_sigmoid".

    Raises:
      UnsupportedLayerError: It applies another function.
    """
    if isinstance(layer, HardSigmoid):
        return "hard_sigmoid"
    if isinstance(layer, keras.layers.ReLU):
        plain = not layer.negative_slope and not layer.threshold
        maximum = None if layer.max_value is None else float(layer.max_value)
        if plain and maximum in (None, 6.0):
            return "relu" if maximum is None else "relu6"
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} must be a plain ReLU, with max_value None or 6. Received: "
            f"max_value={layer.max_value}, negative_slope={layer.negative_slope}, "
            f"threshold={layer.threshold}."
        )
    name = activation_name(layer)
    if name not in ACTIVATION_NAMES:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} has the activation {name!r}; allowed: {ACTIVATION_NAMES}, and "
            f"as functions of their own {FUNCTION_NAMES}."
        )
    return name
