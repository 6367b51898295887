"""Predicates behind the conditions of the support table."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tflite_tools.integer_graph.operations import GraphView, Operation
from tflite_tools.integer_graph.tensors import Tensor

Rule = Callable[[GraphView, Operation, Any], bool]


def _tensors(graph: GraphView, operation: Operation) -> tuple[list[Tensor], Tensor]:
    inputs = [graph.tensor(name) for name in operation.inputs]
    return inputs, graph.tensor(operation.outputs[0])


def _per_channel_weights(graph: GraphView, operation: Operation, value: Any) -> bool:
    weights = graph.tensor(operation.inputs[1])
    axis = getattr(operation.attributes, "weight_axis", 0)
    return weights.grid.is_per_channel and weights.grid.axis == axis


def _weight_zero_point(graph: GraphView, operation: Operation, value: Any) -> bool:
    return graph.tensor(operation.inputs[1]).grid.zero_point == value


def _zero_points_are(graph: GraphView, operation: Operation, value: Any) -> bool:
    tensors = [graph.tensor(name) for name in (operation.inputs[0], operation.outputs[0])]
    return all(x.quantization is None or x.grid.zero_point == value for x in tensors)


def _bias_type(graph: GraphView, operation: Operation, value: Any) -> bool:
    return graph.tensor(operation.inputs[2]).dtype in value


def _weight_code_at_least(graph: GraphView, operation: Operation, value: Any) -> bool:
    return int(graph.tensor(operation.inputs[1]).codes.min()) >= value


def _input_channels_multiple_of(graph: GraphView, operation: Operation, value: Any) -> bool:
    return graph.tensor(operation.inputs[0]).shape[-1] % value == 0


def _multiplier_below(graph: GraphView, operation: Operation, value: Any) -> bool:
    (x, weights, _), output = _tensors(graph, operation)
    multipliers = x.grid.scale * weights.grid.scales / output.grid.scale
    return bool((multipliers < np.float32(value)).all())


def _ratios(graph, operation) -> np.ndarray:
    inputs, output = _tensors(graph, operation)
    scales = np.array([tensor.grid.scale for tensor in inputs], np.float32)
    return scales / output.grid.scale


def _scale_ratios(graph: GraphView, operation: Operation, value: Any) -> bool:
    low, high = value
    ratios = _ratios(graph, operation)
    return bool((ratios >= low).all() and (ratios < high).all())


def _scale_ratios_closed(graph: GraphView, operation: Operation, value: Any) -> bool:
    low, high = value
    ratios = _ratios(graph, operation)
    return bool((ratios >= low).all() and (ratios <= high).all())


def _product_scale_ratio(graph: GraphView, operation: Operation, value: Any) -> bool:
    (left, right), output = _tensors(graph, operation)
    low, high = value
    ratio = left.grid.scale * right.grid.scale / output.grid.scale
    return bool(low <= ratio < high)


def _same_quantization(graph: GraphView, operation: Operation, value: Any) -> bool:
    inputs, output = _tensors(graph, operation)
    return all(x.quantization == output.quantization for x in inputs)


def _strides_within_window(graph: GraphView, operation: Operation, value: Any) -> bool:
    attributes: Any = operation.attributes
    return all(
        stride <= extent
        for stride, extent in zip(attributes.strides, attributes.window, strict=True)
    )


def _constants_as_stored(graph: GraphView, operation: Operation, value: Any) -> bool:
    return not operation.attributes.copied_constants


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
    "constants_as_stored": _constants_as_stored,
}
