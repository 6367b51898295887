"""Predicates behind the conditions of the support table."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tflite_tools.integer_graph.operations import Operation

if TYPE_CHECKING:
    from tflite_tools.integer_graph.graph import IntegerGraph
    from tflite_tools.integer_graph.tensors import Tensor

Rule = Callable[["IntegerGraph", Operation, Any], bool]


def _tensors(graph: "IntegerGraph", operation: Operation) -> tuple[list["Tensor"], "Tensor"]:
    inputs = [graph.tensor(name) for name in operation.inputs]
    return inputs, graph.tensor(operation.outputs[0])


def _per_channel_weights(graph: "IntegerGraph", operation: Operation, value: Any) -> bool:
    weights = graph.tensor(operation.inputs[1])
    axis = operation.attributes.weight_axis
    return weights.quantization.is_per_channel and weights.quantization.axis == axis


def _weight_zero_point(graph, operation, value) -> bool:
    return graph.tensor(operation.inputs[1]).quantization.zero_point == value


def _zero_points_are(graph, operation, value) -> bool:
    tensors = [graph.tensor(name) for name in (operation.inputs[0], operation.outputs[0])]
    return all(x.quantization is None or x.quantization.zero_point == value for x in tensors)


def _bias_type(graph, operation, value) -> bool:
    return graph.tensor(operation.inputs[2]).dtype in value


def _weight_code_at_least(graph, operation, value) -> bool:
    return int(graph.tensor(operation.inputs[1]).data.min()) >= value


def _input_channels_multiple_of(graph, operation, value) -> bool:
    return graph.tensor(operation.inputs[0]).shape[-1] % value == 0


def _multiplier_below(graph, operation, value) -> bool:
    (x, weights, _), output = _tensors(graph, operation)
    multipliers = x.quantization.scale * weights.quantization.scales / output.quantization.scale
    return bool((multipliers < np.float32(value)).all())


def _ratios(graph, operation) -> np.ndarray:
    inputs, output = _tensors(graph, operation)
    scales = np.array([tensor.quantization.scale for tensor in inputs], np.float32)
    return scales / output.quantization.scale


def _scale_ratios(graph, operation, value) -> bool:
    low, high = value
    ratios = _ratios(graph, operation)
    return bool((ratios >= low).all() and (ratios < high).all())


def _scale_ratios_closed(graph, operation, value) -> bool:
    low, high = value
    ratios = _ratios(graph, operation)
    return bool((ratios >= low).all() and (ratios <= high).all())


def _product_scale_ratio(graph, operation, value) -> bool:
    (left, right), output = _tensors(graph, operation)
    low, high = value
    ratio = left.quantization.scale * right.quantization.scale / output.quantization.scale
    return bool(low <= ratio < high)


def _same_quantization(graph, operation, value) -> bool:
    inputs, output = _tensors(graph, operation)
    return all(x.quantization == output.quantization for x in inputs)


def _strides_within_window(graph, operation, value) -> bool:
    attributes = operation.attributes
    return all(
        stride <= extent
        for stride, extent in zip(attributes.strides, attributes.window, strict=True)
    )


#: Rule by name: True if the operation meets the condition with the given value.
RULES: dict[str, Rule] = {
    "per_channel_weights": _per_channel_weights,
    "weight_zero_point": _weight_zero_point,
    "zero_points_are": _zero_points_are,
    "bias_type": _bias_type,
    "weight_code_at_least": _weight_code_at_least,
    "input_channels_multiple_of": _input_channels_multiple_of,
    "multiplier_below": _multiplier_below,
    "scale_ratios": _scale_ratios,
    "scale_ratios_closed": _scale_ratios_closed,
    "product_scale_ratio": _product_scale_ratio,
    "same_quantization": _same_quantization,
    "strides_within_window": _strides_within_window,
}
