"""The kernel sets of LiteRT on a CPU, and the processors whose versions of them are modelled."""

import enum
import platform

from quantize_configs.kernels.large_filters import CPU_RUNTIME

MICRO = "micro"
"""Runtime of the portable kernels for microcontrollers."""


class KernelSet(enum.StrEnum):
    """CPU kernels of LiteRT; each set rounds in its own way.

    XNNPACK is the default on host and phone (operators it does not take run as BUILTIN), BUILTIN
    is BUILTIN_WITHOUT_DEFAULT_DELEGATES, REFERENCE is BUILTIN_REF.
    """

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"


class Processor(enum.StrEnum):
    """Instruction set that kernels were built for; some of them round in another way on each.

    ARM64 is that of Cortex-A76 and other cores without SME, MICROCONTROLLER that of the portable
    kernels of LiteRT for Microcontrollers, which are the reference kernels but for one.
    """

    X86_64 = "x86-64"
    ARM64 = "arm64"
    MICROCONTROLLER = "microcontroller"

    @classmethod
    def here(cls) -> "Processor":
        """That of this computer."""
        return cls.ARM64 if platform.machine().lower() in ("aarch64", "arm64") else cls.X86_64


def kernels_of(runtime: str) -> tuple[KernelSet, Processor]:
    """The kernels that a file is made for, by the name of the runtime.

    Args:
      runtime: One of `quantize_configs.kernels.registry.KERNELS`.
    """
    if runtime == MICRO:
        return KernelSet.REFERENCE, Processor.MICROCONTROLLER
    if runtime == CPU_RUNTIME:
        return KernelSet.XNNPACK, Processor.here()
    return KernelSet(runtime), Processor.here()
