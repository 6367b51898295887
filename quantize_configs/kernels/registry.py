"""Kernel sets by name."""

from quantize_configs.errors import InvalidInputError
from quantize_configs.kernels.fixed_point import BUILTIN, REFERENCE
from quantize_configs.kernels.target import Kernels
from quantize_configs.kernels.xnnpack import XNNPACK

KERNELS: dict[str, Kernels] = {"xnnpack": XNNPACK, "builtin": BUILTIN, "reference": REFERENCE}

DEFAULT = "xnnpack"


def find_kernels(runtime: str) -> Kernels:
    """The kernel set of a name.

    Raises:
      InvalidInputError: There is none.
    """
    if runtime not in KERNELS:
        raise InvalidInputError(
            f"runtime must be one of {', '.join(KERNELS)}, whose arithmetic Keras can follow. "
            f"Received: {runtime!r}."
        )
    return KERNELS[runtime]
