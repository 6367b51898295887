"""The kernel sets of LiteRT on a CPU."""

import enum


class KernelSet(enum.StrEnum):
    """CPU kernels of LiteRT; each set rounds in its own way.

    XNNPACK is the default on host and phone (operators it does not take run as BUILTIN), BUILTIN
    is BUILTIN_WITHOUT_DEFAULT_DELEGATES, REFERENCE is BUILTIN_REF.
    """

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"
