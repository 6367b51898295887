"""What a reference kernel gets: one operation with its tensors and the values of its inputs."""

import dataclasses

import numpy as np

from tflite_tools.integer_graph.operations import Attributes
from tflite_tools.integer_graph.tensors import Tensor
from tflite_tools.reference import accumulators


@dataclasses.dataclass(frozen=True)
class Node:
    """An operation about to be computed.

    Attributes:
      attributes: Operator and settings.
      inputs: Input tensors, constants included.
      values: Values of the input tensors; activations have the batch of the run.
      output: Output tensor.
      num_threads: CPU threads of the run; some built-in kernels round by thread.
    """

    attributes: Attributes
    inputs: tuple[Tensor, ...]
    values: tuple[np.ndarray, ...]
    output: Tensor
    num_threads: int = 1

    @property
    def input_scale(self) -> np.float32:
        """Scale of the first input."""
        return self.inputs[0].quantization.scale[()]

    @property
    def input_zero_point(self) -> int:
        """Zero point of the first input."""
        return self.inputs[0].quantization.zero_point

    @property
    def output_scale(self) -> np.float32:
        """Scale of the output."""
        return self.output.quantization.scale[()]

    @property
    def output_zero_point(self) -> int:
        """Zero point of the output."""
        return self.output.quantization.zero_point

    @property
    def weight_scales(self) -> np.ndarray:
        """Weight scales of a linear operation, float32 [O]."""
        return self.inputs[1].quantization.scales

    def fully_connected(self) -> np.ndarray:
        """Accumulators of a FULLY_CONNECTED, integers in float32 or float64."""
        return accumulators.fully_connected(self.values[0], *self.inputs)

    def conv_2d(self) -> np.ndarray:
        """Accumulators of a CONV_2D, integers in float32 or float64."""
        return accumulators.conv_2d(self.values[0], *self.inputs, self.attributes)

    def depthwise_conv_2d(self) -> np.ndarray:
        """Accumulators of a DEPTHWISE_CONV_2D, integers in float32 or float64."""
        return accumulators.depthwise_conv_2d(self.values[0], *self.inputs, self.attributes)
