"""Padding and reshaping, and layers that do nothing at inference."""

from quantize_configs.depth_to_space import DepthToSpace as DepthToSpaceLayer
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.layers.shaping import WITHOUT_EFFECT
from quantize_configs.model_graph import LayerCall
from quantize_configs.slicing import Slice
from quantize_configs.tensor_grids import is_identity
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.functions import lower_function
from tflite_tools.operators.settings import Padding, window_positions
from tflite_tools.operators.shaping import (
    Crop,
    DepthToSpace,
    Pad,
    Reshape,
    ResizeNearestNeighbor,
)

layers = keras.layers


def lower_padding(lowering: Lowering, call: LayerCall) -> None:
    """PAD, or nothing where it becomes the SAME padding of the convolution that reads it."""
    reader = lowering.wrapped.graph.sole_reader(call.name)
    while reader is not None and is_identity(reader):
        reader = lowering.wrapped.graph.sole_reader(reader.name)
    if reader is not None and pads_like_same(call, reader):
        lowering.same_padded.add(reader.name)
        lowering.pass_on(call, None)
        return
    lowering.pass_on(call, Pad(*call.layer.padding))


def pads_like_same(padding: LayerCall, reader: LayerCall) -> bool:
    """Whether a ZeroPadding2D adds what SAME padding would in the convolution that reads it."""
    layer = reader.layer
    if not isinstance(layer, layers.Conv2D) or layer.padding != "valid":
        return False
    if tuple(layer.dilation_rate) != (1, 1):
        return False
    sizes = padding.owner.input_shape[1:3]
    windows = zip(sizes, layer.kernel_size, layer.strides, padding.layer.padding, strict=True)
    for size, window, stride, sides in windows:
        outputs, *same = window_positions(size, window, stride, Padding.SAME)
        padded = size + sum(sides)
        fits = padded >= window and (padded - window) // stride + 1 == outputs
        if not fits or tuple(same) != tuple(sides):
            return False
    return True


def lower_enlarging(lowering: Lowering, call: LayerCall) -> None:
    """Nearest neighbours are codes that are repeated; bilinear means are computed in float."""
    if call.role is Role.POINTWISE:
        lower_function(lowering, call)
    else:
        _, height, width, _ = lowering.shape(call)
        lowering.pass_on(call, ResizeNearestNeighbor((height, width)))


def lower_cropping(lowering: Lowering, call: LayerCall) -> None:
    """STRIDED_SLICE."""
    (top, bottom), (left, right) = call.layer.cropping
    _, height, width, channels = call.owner.input_shape
    crop = Crop((top, left, 0), (height - bottom, width - right, channels))
    lowering.pass_on(call, crop)


def lower_slice(lowering: Lowering, call: LayerCall) -> None:
    """STRIDED_SLICE."""
    lowering.pass_on(call, Crop(call.layer.begin, call.layer.end))


def lower_depth_to_space(lowering: Lowering, call: LayerCall) -> None:
    """DEPTH_TO_SPACE."""
    lowering.pass_on(call, DepthToSpace(call.layer.block_size))


def lower_reshape(lowering: Lowering, call: LayerCall) -> None:
    """RESHAPE."""
    lowering.pass_on(call, Reshape())


def drop(lowering: Lowering, call: LayerCall) -> None:
    """Nothing, at inference."""
    lowering.pass_on(call, None)


LOWERINGS = {
    layers.ZeroPadding2D: lower_padding,
    layers.UpSampling2D: lower_enlarging,
    layers.Flatten: lower_reshape,
    layers.Reshape: lower_reshape,
    layers.Cropping2D: lower_cropping,
    Slice: lower_slice,
    DepthToSpaceLayer: lower_depth_to_space,
    **dict.fromkeys(WITHOUT_EFFECT, drop),
}
