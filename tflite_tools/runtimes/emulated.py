"""The kernel sets of LiteRT for ARM64, emulated: what they compute, not how fast."""

import functools
import os
import pathlib
import shutil

from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.runtimes.runtime import Launch, Runtime, installed_place, require_installed

PROCESSOR_VARIABLE = "QFA_TF_ARM64_CPU"
DEFAULT_PROCESSOR = "cortex-a76"
_EMULATOR = "qemu-aarch64-static"
_TITLES = {
    KernelSet.XNNPACK: "XNNPACK",
    KernelSet.BUILTIN: "built-in NEON kernels",
    KernelSet.REFERENCE: "reference kernels",
}


def emulated_launch(name: str, module: str, *arguments: str) -> Launch:
    """How a worker is started with the emulated Python.

    Raises:
      MissingRuntimeError: The emulator, or what it runs, is not installed.
    """
    place = installed_place() / "arm64"
    python = place / "rootfs" / "usr" / "bin" / "python3.11"
    found = shutil.which(_EMULATOR) and python.exists() and (place / "site").is_dir()
    require_installed(name, "an emulated ARM64 Python with LiteRT", bool(found), "arm64")
    processor = os.environ.get(PROCESSOR_VARIABLE, DEFAULT_PROCESSOR)
    package = pathlib.Path(__file__).parents[2]
    return Launch(
        (
            *(_EMULATOR, "-cpu", processor, "-L", str(place / "rootfs"), str(python)),
            *("-m", f"tflite_tools.runtimes.workers.{module}", *arguments),
        ),
        {
            "PYTHONHOME": str(place / "rootfs" / "usr"),
            "PYTHONPATH": os.pathsep.join([str(place / "site"), str(package)]),
        },
    )


EMULATED = tuple(
    Runtime(
        name=(name := f"arm64:{kernel_set}"),
        title=f"LiteRT for ARM64, emulated, {title}",
        launch=functools.partial(emulated_launch, name, "interpreter", str(kernel_set)),
        kernel_set=kernel_set,
        processor=Processor.ARM64,
        has_accelerator=kernel_set is KernelSet.XNNPACK,
    )
    for kernel_set, title in _TITLES.items()
)
