"""The portable kernels for microcontrollers compute what is modelled, in the contract's cases."""

import numpy as np
import pytest
from test_operator_contract import ACCEPTED, OF_POSITIVE, graphs_of, row_name

from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType
from tflite_tools.operators.operator import Arithmetic, run_in_litert
from tflite_tools.reference.interpreter import interpret

REFUSED = {("FULLY_CONNECTED", "int4"), ("FULLY_CONNECTED", "int2"), ("GELU", None)}
WEIGHTS_IN_FLOAT16 = {"float16"}


def computed(content, inputs):
    """The first output of LiteRT for Microcontrollers."""
    micro = pytest.importorskip("tflite_micro")
    interpreter = micro.runtime.Interpreter.from_bytes(content, arena_size=1 << 26)
    for number, array in enumerate(inputs):
        interpreter.set_input(array, number)
    interpreter.invoke()
    return np.array(interpreter.get_output(0))


def is_modelled(graph):
    """Whether the arithmetic of the one operation is known."""
    (operation,) = graph.operations
    output = graph.tensor(operation.outputs[0])
    kernels = operation.attributes.kernels[Arithmetic.of(graph.tensor(operation.inputs[0]), output)]
    return kernels[KernelSet.REFERENCE] is not run_in_litert


@pytest.mark.parametrize("row", ACCEPTED, ids=row_name)
def test_every_case_is_exact_or_refused(row):
    cases = list(graphs_of(row))
    for builder, output in cases[:: max(len(cases) // 8, 1)]:
        graph = builder.finish(output)
        inputs = builder.inputs_for(1)
        if row.operator in OF_POSITIVE:
            inputs = [np.abs(values) + 0.01 for values in inputs]
        if (row.operator, row.weights) in REFUSED or row.weights in WEIGHTS_IN_FLOAT16:
            with pytest.raises((RuntimeError, ValueError)):
                computed(emit(graph), inputs)
            continue
        found = computed(emit(graph), inputs)
        if not is_modelled(graph):
            assert np.isfinite(found).all()
            continue
        processor = Processor.MICROCONTROLLER
        expected = interpret(graph, inputs, KernelSet.REFERENCE, processor=processor)[output]
        np.testing.assert_array_equal(found, expected, str(graph.operations[0].attributes))


def test_its_fully_connected_rounds_twice():
    """Where the one of LiteRT's reference kernels rounds once."""
    from random_graphs import GraphBuilder

    from tflite_tools.operators.convolution import FullyConnected

    differing = 0
    for seed in range(40):
        builder = GraphBuilder(seed)
        x = builder.input((5, 4, 12))
        y = builder.linear(FullyConnected(keep_num_dims=True), x, (10, 12), DataType.INT8)
        graph, inputs = builder.finish(y), builder.inputs_for(1)
        once = interpret(graph, inputs, KernelSet.REFERENCE)[y]
        twice = interpret(graph, inputs, KernelSet.REFERENCE, processor=Processor.MICROCONTROLLER)[
            y
        ]
        differing += int(np.count_nonzero(once != twice))
        np.testing.assert_array_equal(computed(emit(graph), inputs), twice)
    assert differing > 0
