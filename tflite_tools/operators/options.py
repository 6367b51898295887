"""Settings of several operators in the options tables of a flatbuffer."""

from typing import Any

from tflite_tools.operators.settings import Activation, Padding

_ACTIVATIONS = (Activation.NONE, Activation.RELU, Activation.RELU_N1_TO_1, Activation.RELU6)
_PADDINGS = (Padding.SAME, Padding.VALID)
"""In the order of the enumerations of the schema."""


def set_activation(schema: Any, options: Any, activation: Activation) -> None:
    """Writes a fused activation."""
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation.name)


def read_activation(options: Any) -> Activation:
    """The fused activation.

    Raises:
      ValueError: It is one that this package never writes.
    """
    number = int(options.fusedActivationFunction)
    if number >= len(_ACTIVATIONS):
        raise ValueError(f"the fused activation {number} of the schema is not known here")
    return _ACTIVATIONS[number]


def set_window(schema: Any, options: Any, operator: Any) -> None:
    """Writes padding, strides and activation of an operator with a window."""
    options.padding = getattr(schema.Padding, operator.padding.name)
    options.strideH, options.strideW = operator.strides
    set_activation(schema, options, operator.activation)


def read_window(options: Any) -> tuple[tuple[int, int], Padding, Activation]:
    """(strides, padding, activation)."""
    strides = int(options.strideH), int(options.strideW)
    return strides, _PADDINGS[int(options.padding)], read_activation(options)


def set_dilations(options: Any, dilations: tuple[int, int]) -> None:
    """Writes the distances of neighbouring taps."""
    options.dilationHFactor, options.dilationWFactor = dilations


def read_dilations(options: Any) -> tuple[int, int]:
    """Distances of neighbouring taps, in pixels."""
    return int(options.dilationHFactor), int(options.dilationWFactor)
