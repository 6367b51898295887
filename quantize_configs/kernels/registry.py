"""Kernel sets by name."""

from quantize_configs.errors import InvalidInputError
from quantize_configs.kernels.cpu import CPU
from quantize_configs.kernels.fixed_point import BUILTIN, MICRO, REFERENCE
from quantize_configs.kernels.large_filters import CPU_RUNTIME
from quantize_configs.kernels.target import Kernels
from quantize_configs.kernels.xnnpack import XNNPACK

KERNELS: dict[str, Kernels] = {
    "xnnpack": XNNPACK,
    CPU_RUNTIME: CPU,
    "builtin": BUILTIN,
    "reference": REFERENCE,
    "micro": MICRO,
}
_WITHOUT_PACKED = ("micro",)
"""Kernels that read no packed weights."""

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


def default_container(runtime: str) -> str:
    """The container of weights that a kernel set reads best."""
    return "int8" if runtime in _WITHOUT_PACKED else "auto"


def check_container(runtime: str, container: str) -> None:
    """Refuses packed weights for kernels that do not read them.

    Raises:
      InvalidInputError: They do not.
    """
    if runtime in _WITHOUT_PACKED and container != "int8":
        raise InvalidInputError(
            f"runtime={runtime!r} reads no packed weights. Convert, and prepare the model, with "
            f"weight_container='int8'. Received: {container!r}."
        )
