"""Every operator that a graph may have, by its name in LiteRT.

An operator is one class in the file of its family. The class says what its settings are, which
shapes and tensors it takes, how each kernel set computes it, how it is written into a flatbuffer
and read from it, and how many multiplications it costs. Which combinations of types LiteRT computes
is data, `tflite_tools/support/support.json`.
"""

from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.elementwise import Add, Maximum, Minimum, Mul, SquaredDifference, Sub
from tflite_tools.operators.functions import (
    Exp,
    Gelu,
    HardSwish,
    LeakyRelu,
    Logistic,
    PRelu,
    Relu,
    Relu6,
    Rsqrt,
    Softmax,
    Tanh,
)
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.pooling import AveragePool2D, MaxPool2D, Mean, ReduceMax
from tflite_tools.operators.shaping import (
    Concatenation,
    Crop,
    DepthToSpace,
    Pad,
    Reshape,
    ResizeBilinear,
    ResizeNearestNeighbor,
)

OPERATORS: dict[str, type[Operator]] = {
    # With weights and a bias.
    "CONV_2D": Conv2D,
    "DEPTHWISE_CONV_2D": DepthwiseConv2D,
    "FULLY_CONNECTED": FullyConnected,
    # Make a tensor that needs a grid of its own.
    "ADD": Add,
    "MUL": Mul,
    "MEAN": Mean,
    # Keep the grid of what they read.
    "MAX_POOL_2D": MaxPool2D,
    "AVERAGE_POOL_2D": AveragePool2D,
    "REDUCE_MAX": ReduceMax,
    "CONCATENATION": Concatenation,
    "PAD": Pad,
    "RESHAPE": Reshape,
    "STRIDED_SLICE": Crop,
    "DEPTH_TO_SPACE": DepthToSpace,
    "RESIZE_NEAREST_NEIGHBOR": ResizeNearestNeighbor,
    # Go from grid to grid, or between a grid and floats.
    "QUANTIZE": Quantize,
    "DEQUANTIZE": Dequantize,
    # Functions of floats.
    "EXP": Exp,
    "GELU": Gelu,
    "HARD_SWISH": HardSwish,
    "LEAKY_RELU": LeakyRelu,
    "LOGISTIC": Logistic,
    "MAXIMUM": Maximum,
    "MINIMUM": Minimum,
    "PRELU": PRelu,
    "RELU": Relu,
    "RELU6": Relu6,
    "RESIZE_BILINEAR": ResizeBilinear,
    "RSQRT": Rsqrt,
    "SOFTMAX": Softmax,
    "SQUARED_DIFFERENCE": SquaredDifference,
    "SUB": Sub,
    "TANH": Tanh,
}
