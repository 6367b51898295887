"""What holds for every operator of the registry, in every combination that it is written in.

LiteRT equals the interpreter bit for bit with every kernel set, XNNPACK takes what the support
table says, and what is written is read back.
"""

import dataclasses
import itertools

import numpy as np
import pytest
from random_graphs import GraphBuilder

from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.graph_reader import read_graph
from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.graph import DataType, Quantization
from tflite_tools.operators.registry import OPERATORS
from tflite_tools.operators.settings import Activation, Padding
from tflite_tools.support import table as support
from tflite_tools.support.table import check_operation, rows
from tflite_tools.verification.integers import compare_integers

IMAGE = (7, 6, 12)
CHANNELS = 12
SETTINGS = {
    "activation": (Activation.NONE, Activation.RELU, Activation.RELU6),
    "approximate": (False, True),
    "axes": ((1, 2),),
    "axis": (1, 3),
    "begin": ((0, 1, 0), (2, 0, 4)),
    "block_size": (2,),
    "left_to_builtin": (False, True),
    "depth_multiplier": (1, 2),
    "dilations": ((1, 1), (2, 1)),
    "end": ((5, 6, 12), (7, 3, 9)),
    "height": ((0, 0), (1, 2)),
    "keep_dims": (True, False),
    "keep_num_dims": (True,),
    "padding": tuple(Padding),
    "size": ((14, 18), (7, 24)),
    "slope": (0.25, 0.1),
    "strides": ((1, 1), (2, 1)),
    "width": ((2, 0),),
    "window": ((2, 2), (3, 2)),
}
"""Values of the settings of operators, by name."""

WEIGHT_SHAPES = {
    "CONV_2D": lambda settings: [(10, 3, 2, CHANNELS), (12, 3, 2, CHANNELS // 3)],
    "DEPTHWISE_CONV_2D": lambda s: [(1, 3, 2, CHANNELS * s.get("depth_multiplier", 1))],
    "FULLY_CONNECTED": lambda settings: [(10, CHANNELS)],
}
BIASES = {DataType.INT16: (DataType.INT64, DataType.INT32)}
OTHER_SHAPES = [IMAGE, (1, 1, CHANNELS), (7, 1, 1)]
"""Of the second input of operators with two."""

OF_POSITIVE = ("RSQRT",)
"""Operators that are NaN for other arguments."""

ACCEPTED = [row for row in rows().values() if not row.refused]


def settings_of(operator):
    """Every combination of the settings of an operator."""
    names = [field.name for field in dataclasses.fields(operator)]
    for values in itertools.product(*(SETTINGS[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def row_name(row):
    return "-".join(str(part) for part in row.combination)


def graphs_of(row):
    """(builder, output) of every combination of settings and forms that a row may be written in."""
    operator = OPERATORS[row.operator]
    x_type, y_type = DataType(row.activation), DataType(row.output)
    keeps = any(condition.rule == "same_quantization" for condition in row.conditions)
    for number, settings in enumerate(settings_of(operator)):
        attributes = operator(**settings)
        forms = WEIGHT_SHAPES.get(row.operator, lambda settings: [None])(settings)
        for form, bias_type in itertools.product(forms, BIASES.get(x_type, (DataType.INT32,))):
            builder = GraphBuilder(number)
            x = image(builder, x_type)
            if operator.is_linear:
                weights = DataType(row.weights)
                if not x_type.is_integer:
                    y = builder.float_linear(attributes, x, form, weights)
                elif (
                    row.operator == "DEPTHWISE_CONV_2D"
                    and bias_type != BIASES.get(x_type, (bias_type,))[0]
                ):
                    continue
                else:
                    y = builder.linear(attributes, x, form, weights, bias_type=bias_type)
                yield builder, y
                continue
            grid = builder.graph.tensor(x).quantization if keeps else None
            inputs = [x]
            if operator.constants:
                slopes = builder.rng.normal(0, 0.3, (1, 1, CHANNELS)).astype(np.float32)
                inputs.append(builder.graph.add_constant("slopes", slopes, DataType.FLOAT32))
            elif operator.arity == 2:
                for other in OTHER_SHAPES:
                    other = image(builder, x_type, other)
                    yield builder, written(builder, attributes, [x, other], y_type, grid)
                    builder = GraphBuilder(number)
                    x = image(builder, x_type)
                continue
            if operator.arity is None:
                inputs += [
                    builder.graph.add_input(f"x{n}", (1, *IMAGE), x_type, grid) for n in "ab"
                ]
            yield builder, written(builder, attributes, inputs, y_type, grid)


def image(builder, dtype, shape=IMAGE):
    if dtype is not DataType.UINT8:
        return builder.input(shape, dtype)
    return builder.graph.add_input("bytes", (1, *shape), dtype, Quantization(0.1, 3))


def written(builder, attributes, inputs, dtype, grid):
    if dtype.is_integer and grid is None:
        wide = dtype is DataType.INT16
        grid = Quantization(builder.scale(0.0003)) if wide else builder.quantization(0.06)
        if dtype is DataType.UINT8:
            grid = Quantization(grid.scale, grid.zero_point + 128)
    shape = (1, int(np.prod(IMAGE)))
    return builder.operation(attributes, inputs, grid, dtype, shape)


def test_the_table_and_the_registry_have_the_same_operators():
    assert {row.operator for row in rows().values()} == set(OPERATORS)
    for kind, operator in OPERATORS.items():
        assert operator.kind == kind
        assert operator() == operator()  # settings have defaults, and are values


@pytest.mark.parametrize("row", ACCEPTED, ids=row_name)
def test_operators_are_exact_as_predicted_and_read_back(row):
    cases = 0
    for builder, output in graphs_of(row):
        graph = builder.finish(output)
        (operation,) = graph.operations
        assert support._combination(graph, operation) == row.combination
        inputs = builder.inputs_for(2)
        if row.operator in OF_POSITIVE:
            inputs = [np.abs(values) + 0.01 for values in inputs]
        report = compare_integers(graph, inputs)
        assert report.exact, f"{graph.operations[0].attributes}\n{report}"
        decision = check_operation(graph, graph.operations[0])
        comparison = report.kernel_sets[0]
        assert comparison.kernel_set is KernelSet.XNNPACK
        assert comparison.fully_delegated == decision.delegated, graph.operations[0].attributes
        content = emit(graph)
        again = read_graph(content)
        assert again.operations[0].attributes == graph.operations[0].attributes
        for node in again.operations:
            graph_name = next(o.name for o in graph.operations if o.outputs == node.outputs)
            again.operations[again.operations.index(node)] = dataclasses.replace(
                node, name=graph_name
            )
        assert emit(again) == content
        cases += 1
    assert cases > 0
