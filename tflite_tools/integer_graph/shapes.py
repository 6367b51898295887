"""Output shapes of the operators, and the padding arithmetic the kernels share."""

import math
from collections.abc import Sequence

from quantize_configs.errors import InvalidInputError
from tflite_tools.integer_graph.operations import (
    Add,
    Attributes,
    AveragePool2D,
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Dequantize,
    FullyConnected,
    HardSwish,
    Logistic,
    MaxPool2D,
    Mean,
    Mul,
    Pad,
    Padding,
    Quantize,
    Reshape,
    Softmax,
)

Shape = tuple[int, ...]


class ShapeError(InvalidInputError):
    """Shapes of an operation that do not fit together."""


def window_positions(size: int, window: int, stride: int, padding: Padding) -> tuple[int, int, int]:
    """Output size and padding of a sliding window along one axis.

    Args:
      size: Input pixels along the axis.
      window: Window (kernel) pixels.
      stride: Step in pixels.
      padding: SAME or VALID.

    Returns:
      (output size, padding before, padding after), all in pixels.

    Raises:
      ShapeError: A VALID window is larger than the input.
    """
    if padding == Padding.SAME:
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + window - size, 0)
        return outputs, total // 2, total - total // 2
    if window > size:
        raise ShapeError(f"a VALID window of {window} does not fit into {size} pixels")
    return (size - window) // stride + 1, 0, 0


def output_shape(attributes: Attributes, inputs: Sequence[Shape], declared: Shape) -> Shape:
    """Shape of an operation's output.

    Args:
      attributes: The operator and its settings.
      inputs: Shapes of its inputs.
      declared: Shape of the output tensor in the graph; used only by RESHAPE, whose output
        shape is a free choice.

    Returns:
      The output shape.

    Raises:
      ShapeError: The input shapes are not of the operator's form.
    """
    match attributes:
        case Conv2D():
            return _conv_shape(attributes, *inputs)
        case DepthwiseConv2D():
            return _depthwise_shape(attributes, *inputs)
        case FullyConnected():
            return _fully_connected_shape(attributes, *inputs)
        case MaxPool2D() | AveragePool2D():
            _require(len(inputs[0]) == 4, f"needs an NHWC input, not {inputs[0]}")
            return _windowed(inputs[0], attributes.window, attributes, inputs[0][3])
        case Mean():
            _require(len(inputs[0]) == 4, f"needs an NHWC input, not {inputs[0]}")
            batch, _, _, channels = inputs[0]
            return (batch, 1, 1, channels) if attributes.keep_dims else (batch, channels)
        case Add():
            _require(
                inputs[1] in (inputs[0], (1,)),
                f"needs two inputs of one shape, not {inputs[0]} and {inputs[1]}",
            )
            return inputs[0]
        case Mul():
            return inputs[0] if inputs[1] == (1,) else _broadcast(*inputs)
        case Concatenation():
            return _joined(attributes.axis, inputs)
        case Quantize() | Dequantize() | HardSwish() | Logistic() | Softmax():
            return inputs[0]
        case Reshape():
            _require(
                math.prod(inputs[0][1:]) == math.prod(declared[1:]) and inputs[0][0] == declared[0],
                f"cannot turn {inputs[0]} into {declared}: the batch and the number of elements "
                "of one image must stay",
            )
            return declared
        case Pad():
            _require(len(inputs[0]) == 4, f"needs an NHWC input, not {inputs[0]}")
            batch, height, width, channels = inputs[0]
            return batch, height + sum(attributes.height), width + sum(attributes.width), channels
    raise TypeError(f"No shape rule for {attributes!r}.")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ShapeError(message)


def _joined(axis: int, inputs: Sequence[Shape]) -> Shape:
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}
    fits = len(others) == 1 and len({len(shape) for shape in inputs}) == 1 and axis < len(inputs[0])
    _require(fits, f"needs inputs that are equal but for axis {axis}, not {list(inputs)}")
    size = sum(shape[axis] for shape in inputs)
    return (*inputs[0][:axis], size, *inputs[0][axis + 1 :])


def _broadcast(left: Shape, right: Shape) -> Shape:
    fits = len(left) == len(right) and all(
        a == b or 1 in (a, b) for a, b in zip(left, right, strict=True)
    )
    _require(fits, f"needs two inputs whose axes are equal or 1, not {left} and {right}")
    return tuple(map(max, left, right))


def _windowed(shape: Shape, window: Shape, attributes, channels: int) -> Shape:
    sizes = (
        window_positions(size, pixels, stride, attributes.padding)[0]
        for size, pixels, stride in zip(shape[1:3], window, attributes.strides, strict=True)
    )
    return shape[0], *sizes, channels


def _conv_shape(attributes: Conv2D, x: Shape, weights: Shape, bias: Shape) -> Shape:
    _require(
        len(x) == 4 and len(weights) == 4 and weights[3] == x[3],
        f"needs x [1,H,W,I] and weights [O,kh,kw,I] with one I, not {x} and {weights}",
    )
    _require(bias == weights[:1], f"needs a bias of shape {weights[:1]}, not {bias}")
    return _windowed(x, weights[1:3], attributes, weights[0])


def _depthwise_shape(attributes: DepthwiseConv2D, x: Shape, weights: Shape, bias: Shape) -> Shape:
    multiplier = attributes.depth_multiplier
    _require(
        len(x) == 4 and len(weights) == 4 and weights[0] == 1 and weights[3] == x[3] * multiplier,
        f"needs x [1,H,W,C] and weights [1,kh,kw,C*{multiplier}], not {x} and {weights}",
    )
    _require(bias == weights[3:], f"needs a bias of shape {weights[3:]}, not {bias}")
    return _windowed(x, weights[1:3], attributes, weights[3])


def _fully_connected_shape(
    attributes: FullyConnected, x: Shape, weights: Shape, bias: Shape
) -> Shape:
    _require(
        len(weights) == 2 and len(x) >= 2 and x[-1] == weights[1],
        f"needs x [1,...,I] and weights [O,I] with one I, not {x} and {weights}",
    )
    _require(
        attributes.keep_num_dims or len(x) == 2,
        f"needs a two-dimensional x, not {x}, unless keep_num_dims is set",
    )
    _require(bias == weights[:1], f"needs a bias of shape {weights[:1]}, not {bias}")
    return *x[:-1], weights[0]
