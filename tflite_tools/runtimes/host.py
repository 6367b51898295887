"""The kernel sets of LiteRT on this computer."""

import functools

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.runtimes.processes import worker_launch
from tflite_tools.runtimes.runtime import Runtime

_TITLES = {
    KernelSet.XNNPACK: "XNNPACK, the default",
    KernelSet.BUILTIN: "built-in kernels",
    KernelSet.REFERENCE: "reference kernels",
}

HOST = tuple(
    Runtime(
        name=str(kernel_set),
        title=f"LiteRT on this computer, {title}",
        launch=functools.partial(worker_launch, "interpreter", str(kernel_set)),
        kernel_set=kernel_set,
        has_accelerator=kernel_set is KernelSet.XNNPACK,
        has_time=True,
    )
    for kernel_set, title in _TITLES.items()
)
