"""Running flatbuffers: errors and what the delegate took."""

import numpy as np
import pytest
from random_graphs import SINGLE_OPERATIONS, GraphBuilder

from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import FlatbufferError, KernelSet, run
from tflite_tools.operators.convolution import Conv2D
from tflite_tools.operators.pooling import AveragePool2D
from tflite_tools.operators.settings import Activation


@pytest.fixture
def model():
    builder = GraphBuilder(11)
    return emit(builder.finish(SINGLE_OPERATIONS["conv_2d int8"](builder))), builder.inputs_for(2)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9])
def test_truncated_files_are_refused(model, kept):
    flatbuffer, images = model
    size = int(len(flatbuffer) * kept)
    with pytest.raises(FlatbufferError, match=f"cannot load these {size} bytes.*Export it again"):
        run(flatbuffer[:size], images)


def test_other_files_are_refused(model):
    with pytest.raises(FlatbufferError, match=r"not a \.tflite file"):
        run(b"PK\x03\x04" * 100, model[1])


def test_inputs_that_do_not_fit_are_refused(model):
    flatbuffer, (images,) = model
    with pytest.raises(ValueError, match=r"'input_0' needs int8.*Received: float32"):
        run(flatbuffer, [images.astype(np.float32)])
    with pytest.raises(ValueError, match=r"'input_0' needs int8.*'N'"):
        run(flatbuffer, [images[:, 1:]])
    with pytest.raises(ValueError, match=r"1 input\(s\).*Received: 2"):
        run(flatbuffer, [images, images])
    with pytest.raises(ValueError, match="batch"):
        run(flatbuffer, [images[:0]])


def test_operators_partitions_and_fallbacks():
    builder = GraphBuilder(0)
    x = builder.input((8, 8, 4))
    first = builder.linear(Conv2D(activation=Activation.RELU), x, (6, 3, 3, 4))
    quantization = builder.graph.tensor(first).quantization
    pooled = builder.operation(AveragePool2D(), [first], quantization)
    graph = builder.finish(builder.linear(Conv2D(), pooled, (5, 1, 1, 6)))
    images = builder.inputs_for(2)
    result = run(emit(graph), images)
    assert result.operator_names == ["CONV_2D", "AVERAGE_POOL_2D", "CONV_2D"]
    assert [operator.delegated for operator in result.operators] == [True, False, True]
    assert [operator.outputs for operator in result.fallbacks] == [(pooled,)]
    assert result.partitions == 2
    assert not result.fully_delegated
    builtin = run(emit(graph), images, KernelSet.BUILTIN)
    assert (builtin.partitions, len(builtin.fallbacks)) == (0, 3)
