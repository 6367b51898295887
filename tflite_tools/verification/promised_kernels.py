"""Running a file on the kernels that it is made for."""

from collections.abc import Sequence

import numpy as np

from tflite_tools.arithmetic.kernel_sets import MICRO, KernelSet, kernels_of
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.inspection import inspect
from tflite_tools.runtimes.processes import execute
from tflite_tools.runtimes.registry import find_runtime

BATCH_SIZE = 100


def run_on_promised(
    name: str, flatbuffer: bytes, inputs: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Outputs of a file by their names, [N, ...] each.

    Args:
      name: Of the kernels, see `quantize_configs.kernels.registry.KERNELS`.
      flatbuffer: Bytes of a .tflite file.
      inputs: [N, ...] for each input of the file.

    Raises:
      FlatbufferError: LiteRT refuses to run it.
      RuntimeProblem: LiteRT for Microcontrollers is not installed, or refuses to run it.
    """
    if name == MICRO:
        names = [item[0] for item in inspect(flatbuffer, delegation=False).outputs]
        return dict(
            zip(names, execute(find_runtime(name), flatbuffer, inputs).outputs, strict=True)
        )
    kernel_set, _ = kernels_of(name)
    # Where the vector loops of these kernels end depends on the batch: one image, as on a device.
    size = 1 if kernel_set is KernelSet.BUILTIN else BATCH_SIZE
    chunks = [
        runtime.run(
            flatbuffer, [array[start : start + size] for array in inputs], kernel_set
        ).outputs
        for start in range(0, len(inputs[0]), size)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
