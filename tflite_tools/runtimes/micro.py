"""LiteRT for Microcontrollers, its portable kernels on this computer."""

import importlib.util

from tflite_tools.arithmetic import kernel_sets
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.runtimes.processes import worker_launch
from tflite_tools.runtimes.runtime import Launch, Runtime, require_installed


def _launch() -> Launch:
    found = importlib.util.find_spec("tflite_micro") is not None
    require_installed("micro", "the package tflite-micro", found, "micro")
    return worker_launch("micro")


MICRO = (
    Runtime(
        name=kernel_sets.MICRO,
        title="LiteRT for Microcontrollers, portable kernels",
        launch=_launch,
        kernel_set=KernelSet.REFERENCE,
        processor=Processor.MICROCONTROLLER,
    ),
)
