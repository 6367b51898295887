"""Normalizations: the layer before them has taken them in, or they are computed in float."""

from quantize_configs.keras_backend import keras
from quantize_configs.model_graph import LayerCall
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.functions import lower_function


def skip_folded(lowering: Lowering, call: LayerCall) -> None:
    """Nothing is left to do."""


LOWERINGS = {
    keras.layers.BatchNormalization: skip_folded,
    keras.layers.Rescaling: lower_function,
    keras.layers.LayerNormalization: lower_function,
}
