"""What a reference kernel gets: one operation with its tensors and the values of its inputs."""

import dataclasses
from typing import Any

import numpy as np

from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.rounding import (
    LIMITS,
    activation_codes_builtin,
    activation_codes_xnnpack,
)
from tflite_tools.integer_graph.tensors import Tensor
from tflite_tools.operators.settings import Activation


@dataclasses.dataclass(frozen=True)
class Node:
    """An operation about to be computed.

    Attributes:
      attributes: Operator and settings.
      inputs: Input tensors, constants included.
      values: Values of the input tensors; activations have the batch of the run.
      output: Output tensor.
      num_threads: CPU threads of the run; some built-in kernels round by thread.
      processor: Whose kernels to follow.
    """

    attributes: Any  # an Operator; kernels know which
    inputs: tuple[Tensor, ...]
    values: tuple[np.ndarray, ...]
    output: Tensor
    num_threads: int = 1
    processor: Processor = Processor.X86_64

    @property
    def input_scale(self) -> np.float32:
        """Scale of the first input."""
        return np.float32(self.inputs[0].grid.scale)

    @property
    def input_zero_point(self) -> int:
        """Zero point of the first input."""
        return self.inputs[0].grid.zero_point

    @property
    def output_scale(self) -> np.float32:
        """Scale of the output."""
        return np.float32(self.output.grid.scale)

    @property
    def output_zero_point(self) -> int:
        """Zero point of the output."""
        return self.output.grid.zero_point

    @property
    def weight_scales(self) -> np.ndarray:
        """Weight scales of a linear operation, float32 [O]."""
        return self.inputs[1].grid.scales

    def limits(self, kernel_set: KernelSet) -> tuple[float, float]:
        """Limits of the fused activation: codes, or real values of a float tensor."""
        activation = getattr(self.attributes, "activation", Activation.NONE)
        if self.output.quantization is None:
            return LIMITS[activation]
        if kernel_set is KernelSet.XNNPACK:
            return activation_codes_xnnpack(activation, self.output_scale, self.output_zero_point)
        return activation_codes_builtin(
            activation, self.output_scale, self.output_zero_point, self.output.dtype.limits
        )
