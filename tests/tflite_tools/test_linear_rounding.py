"""Linear operators at multipliers below and above 1, on every runtime whose kernels are modelled.

Multipliers of 1 and more appear where few codes of an input make many of an output; kernels shift
left there, some before they round and some after.
"""

import numpy as np
import pytest
from random_graphs import GraphBuilder

from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType, Quantization
from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.settings import Padding
from tflite_tools.runtimes.comparison import match_integers
from tflite_tools.runtimes.processes import execute_many
from tflite_tools.runtimes.registry import RUNTIMES
from tflite_tools.runtimes.runtime import Execution, MissingRuntimeError

SLOW = ("arm64:xnnpack", "arm64:reference")
MODELLED = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name, runtime in RUNTIMES.items()
    if runtime.kernel_set is not None
]
MULTIPLIERS = (0.3, 1.5, 6.0)
WEIGHT_SCALE, WEIGHT_CODES, LIMIT = 0.012, {DataType.INT8: 2, DataType.INT16: 1}, 300
GRIDS = ((DataType.INT8, DataType.INT32), (DataType.INT16, DataType.INT64))
"""Types of activations and of the bias."""
NARROW = (DataType.INT16, DataType.INT32)

IMAGE, PIXEL, ROW = (9, 7), (1, 1), (1, 7)
CASES = [
    (Conv2D((2, 2)), IMAGE, (16, 3, 3, 8), (*GRIDS, NARROW)),
    (Conv2D(), IMAGE, (16, 3, 3, 2), (*GRIDS, NARROW)),
    (Conv2D(), PIXEL, (16, 1, 1, 8), (*GRIDS, NARROW)),
    (FullyConnected(keep_num_dims=True), IMAGE, (16, 8), (*GRIDS, NARROW)),
    (FullyConnected(keep_num_dims=True), PIXEL, (16, 8), (*GRIDS, NARROW)),
    (DepthwiseConv2D(), IMAGE, (1, 5, 5, 16), GRIDS),
    (DepthwiseConv2D(), IMAGE, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D((2, 2)), IMAGE, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D((2, 2), Padding.VALID), IMAGE, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D((2, 2)), (8, 8), (1, 3, 3, 16), GRIDS),  # padding at one end only
    (DepthwiseConv2D((2, 2)), (9, 8), (1, 3, 3, 16), GRIDS),  # another one at each axis
    (DepthwiseConv2D(), PIXEL, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D(), ROW, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D(), IMAGE, (1, 3, 3, 12), GRIDS),
    (DepthwiseConv2D((2, 1)), IMAGE, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D((3, 3)), IMAGE, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D(dilations=(2, 2)), IMAGE, (1, 3, 3, 16), GRIDS),
    (DepthwiseConv2D(depth_multiplier=2), IMAGE, (1, 3, 3, 16), GRIDS),
]
"""(operator, height and width, shape of the weights, types)."""


def graph_with(attributes, image, shape, types, multiplier, seed=0):
    """(one operator with small random codes whose multipliers are near `multiplier`, inputs)."""
    dtype, bias_type = types
    builder = GraphBuilder(seed)
    is_depthwise = isinstance(attributes, DepthwiseConv2D)
    axis = 3 if is_depthwise else 0
    channels = 8 if not is_depthwise else shape[3] // attributes.depth_multiplier
    x = builder.input((*image, channels), dtype)
    outputs, limit = shape[axis], WEIGHT_CODES[dtype]
    scales = WEIGHT_SCALE * builder.rng.uniform(0.4, 2.5, outputs)
    codes = builder.rng.integers(-limit, limit + 1, shape)
    weights = builder.graph.add_constant(
        "weights", codes, DataType.INT8, Quantization(scales, 0, axis)
    )
    bias = builder.rng.integers(-100, 100, outputs)
    bias = builder.graph.add_bias("bias", bias, x, weights, bias_type)
    scale = np.float32(builder.graph.tensor(x).grid.scale * WEIGHT_SCALE / multiplier)
    zero_point = 0 if dtype is DataType.INT16 else builder.zero_point()
    grid = Quantization(scale, zero_point)
    graph = builder.finish(builder.operation(attributes, [x, weights, bias], grid, dtype))
    return graph, builder.inputs_for(1)


@pytest.mark.parametrize("name", MODELLED)
def test_linear_operators_at_every_size_of_multiplier(name):
    runtime = RUNTIMES[name]
    try:
        runtime.launch()
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    for_reference = runtime.kernel_set.value == "reference"
    cases = [
        (case[:3], graph_with(*case[:3], types, multiplier))
        for case in CASES
        for types in case[3]
        for multiplier in MULTIPLIERS
    ]
    works = [
        (emit(graph, all_outputs=True, for_reference=for_reference), inputs)
        for _, (graph, inputs) in cases
    ]
    differing = {}
    for (case, (graph, inputs)), outcome in zip(
        cases, execute_many(runtime, works, LIMIT), strict=True
    ):
        assert isinstance(outcome, Execution), f"{case}: {outcome}"
        match = match_integers(graph, runtime, inputs, {graph.outputs[0]: outcome.outputs[0]})
        if match.mismatches:
            differing[str(case)] = match.mismatches
    assert differing == {}
