"""The support table: refusals by layer name, and predictions of delegation against LiteRT."""

import numpy as np
import pytest
from random_graphs import SINGLE_OPERATIONS, GraphBuilder

from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import FlatbufferError, KernelSet, run
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.convolution import DepthwiseConv2D, FullyConnected
from tflite_tools.operators.pooling import MaxPool2D
from tflite_tools.operators.registry import OPERATORS
from tflite_tools.support import table as support
from tflite_tools.support.table import (
    UnsupportedCombinationError,
    check_operation,
    rows,
    table_rows,
)

LAYER = "stage_2/block_1"
ATTRIBUTES = {kind: operator() for kind, operator in OPERATORS.items()}
ATTRIBUTES["FULLY_CONNECTED"] = FullyConnected(keep_num_dims=True)


def graph_of(row, attributes=None, scales=(0.05, 0.05), zero_point=0, **weights):
    """A one-layer graph with the types of a row; unchecked, so it may be invalid otherwise."""
    attributes = attributes or ATTRIBUTES[row.operator]
    graph = IntegerGraph()

    def quantization(dtype, scale):
        return None if dtype.startswith("float") else Quantization(scale, zero_point)

    x = graph.add_input("x", (1, 6, 6, 4), row.activation, quantization(row.activation, scales[0]))
    inputs = [x]
    if attributes.arity in (2, None):
        inputs.append(x)
    if attributes.is_linear:
        settings = {"zero_point": 0, "per_channel": True, "code": 1, "scale": 0.01, **weights}
        axis = attributes.weight_axis
        shape = {"CONV_2D": (4, 1, 1, 4), "DEPTHWISE_CONV_2D": (1, 1, 1, 4)}.get(
            row.operator, (4, 4)
        )
        weight_quantization = quantization(row.weights, settings["scale"])
        bias_type = {"int16": "int64", "float32": "float32"}.get(row.activation, "int32")
        if weight_quantization is not None:
            weight_quantization = Quantization(settings["scale"], settings["zero_point"])
            if settings["per_channel"]:
                weight_quantization = weight_quantization.per_channel(4, axis)
        codes = np.full(shape, settings["code"]).astype(DataType(row.weights).numpy_type)
        w = graph.add_constant("w", codes, DataType(row.weights), weight_quantization)
        bias_type = DataType(settings.get("bias_type", bias_type))
        bias_quantization = Quantization(np.ones(4)) if bias_type.is_integer else None
        bias = np.zeros(4, bias_type.numpy_type)
        inputs += [w, graph.add_constant("b", bias, bias_type, bias_quantization)]
    y = graph.add_tensor("y", (1, 6, 6, 4), row.output, quantization(row.output, scales[1]))
    return graph, graph.add_operation(LAYER, attributes, inputs, [y])


def row_name(row):
    return "-".join(str(part) for part in row.combination)


@pytest.mark.parametrize("row", [row for row in rows().values() if row.refused], ids=row_name)
def test_refused_rows_name_layer_combination_and_nearest(row):
    with pytest.raises(UnsupportedCombinationError) as caught:
        check_operation(*graph_of(row))
    message = str(caught.value)
    assert LAYER in message
    assert row.operator in message
    assert (row.weights or row.activation) in message
    assert row.nearest in message


@pytest.mark.parametrize("row", [row for row in rows().values() if not row.refused], ids=row_name)
def test_accepted_rows_pass(row):
    decision = check_operation(*graph_of(row))
    assert decision.delegated == (row.xnnpack == "delegated")
    assert decision.delegated == (not decision.reason)


#: How to break each condition of the table: arguments of `graph_of`.
VIOLATIONS = {
    "per_channel_weights": {"per_channel": False},
    "weight_zero_point": {"zero_point": 1},
    "weight_code_at_least": {"code": -128},
    "zero_points_are": {"zero_point": 1},
    "bias_type": {"bias_type": "int16"},
    "multiplier_below": {"scale": 256.0, "scales": (1.0, 1.0)},
    "product_scale_ratio": {"scales": (1.0, 2.0**-8)},
    "same_quantization": {"scales": (0.1, 0.2)},
    ("scale_ratios", "refuse"): {"scales": (1.0, 2.0**-19)},
    "scale_ratios": {"scales": (1.0, 2.0**-8)},
    "scale_ratios_closed": {"scales": (1.0, 0.99 * 2.0**-7)},
    "strides_within_window": {"attributes": MaxPool2D((3, 1), (2, 2))},
    "constants_as_stored": {"attributes": DepthwiseConv2D(left_to_builtin=True)},
}
CONDITIONS = [
    pytest.param(row, condition, id=f"{row_name(row)}-{condition.rule}-{condition.effect}")
    for row in rows().values()
    for condition in row.conditions
    if condition.rule != "input_channels_multiple_of"
]


def violate(row, condition):
    rule, effect = condition.rule, condition.effect
    settings = dict(VIOLATIONS.get((rule, effect)) or VIOLATIONS[rule])
    weights = {}
    if row.weights and rule == "weight_zero_point":
        weights = {"zero_point": settings.pop("zero_point")}
    graph, operation = graph_of(row, **settings)
    if weights:
        tensor = graph.tensors.pop("w")
        quantization = Quantization(
            tensor.quantization.scale, weights["zero_point"], tensor.quantization.axis
        )
        graph.add_constant("w", tensor.data, tensor.dtype, quantization)
    return graph, operation


@pytest.mark.parametrize(("row", "condition"), CONDITIONS)
def test_broken_conditions_are_refused_or_fall_back(row, condition):
    graph, operation = violate(row, condition)
    if condition.effect == "refuse":
        with pytest.raises(UnsupportedCombinationError, match=LAYER) as caught:
            check_operation(graph, operation)
        assert condition.requirement in str(caught.value)
        assert condition.nearest in str(caught.value)
    else:
        decision = check_operation(graph, operation)
        assert not decision.delegated
        assert condition.requirement in decision.reason
        with pytest.raises(UnsupportedCombinationError, match=LAYER) as caught:
            check_operation(graph, operation, require_delegation=True)
        assert condition.nearest in str(caught.value)


@pytest.mark.parametrize(("weights", "channels"), [("int4", 7), ("int2", 6)])
def test_packed_weights_need_whole_bytes_per_row_for_xnnpack(weights, channels):
    builder = GraphBuilder(0)
    x = builder.input((3, 3, channels))
    y = builder.linear(FullyConnected(keep_num_dims=True), x, (5, channels), DataType(weights))
    graph = builder.finish(y)
    operation = graph.operations[0]
    assert not check_operation(graph, operation).delegated
    with pytest.raises(UnsupportedCombinationError, match=operation.name):
        check_operation(graph, operation, require_delegation=True)
    assert not run(emit(graph), builder.inputs_for(1)).fully_delegated


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SINGLE_OPERATIONS)
def test_predicted_delegation_is_what_litert_does(name, seed):
    builder = GraphBuilder(seed)
    graph = builder.finish(SINGLE_OPERATIONS[name](builder))
    predicted = [check_operation(graph, operation).delegated for operation in graph.operations]
    result = run(emit(graph), builder.inputs_for(2))
    assert [operator.delegated for operator in result.operators] == predicted
    assert result.fully_delegated == all(predicted)


def test_unknown_combinations_list_what_is_known():
    graph, operation = graph_of(rows()["ADD", "int8", None, "int8"])
    graph.tensors["y"] = graph.tensors["x"].__class__("y", (1, 6, 6, 4), DataType.FLOAT32)
    with pytest.raises(UnsupportedCombinationError, match=r"no such kernel.*ADD from int8 to int8"):
        check_operation(graph, operation)


def test_emit_refuses_too():
    graph, _ = graph_of(rows()["MAX_POOL_2D", "int8", None, "int8"], scales=(0.1, 0.2))
    graph.outputs.append("y")
    graph.tensors["y"] = graph.tensors["y"].__class__(
        "y", (1, 3, 3, 4), DataType.INT8, Quantization(0.2)
    )
    with pytest.raises(UnsupportedCombinationError, match=LAYER):
        emit(graph)


def test_xnnpack_does_fail_on_a_multiplier_of_256(monkeypatch):
    """The reason for a rule that no kernel documents; see support.json."""
    builder = GraphBuilder(0)
    x = builder.input((3, 3, 4))
    y = builder.linear(
        FullyConnected(keep_num_dims=True), x, (5, 4), quantization=Quantization(1e-6)
    )
    graph = builder.finish(y)
    monkeypatch.setattr(support, "check_operation", lambda *arguments: None)
    flatbuffer = emit(graph)
    assert run(flatbuffer, builder.inputs_for(1), KernelSet.BUILTIN).outputs
    with pytest.raises(FlatbufferError, match="cannot run it"):
        run(flatbuffer, builder.inputs_for(1), KernelSet.XNNPACK)


def test_table_rows_print_every_row():
    printed = table_rows()
    assert len(printed) == len(rows())
    assert {row["exported"] for row in printed} == {"yes", "refused"}
    assert all(row["notes"] for row in printed if row["exported"] == "refused")
    assert {tuple(row) for row in printed} == {
        ("operator", "activation", "weights", "output", "built-in", "XNNPACK", "exported", "notes")
    }
