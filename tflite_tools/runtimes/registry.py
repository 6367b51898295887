"""Every runtime by name."""

from collections.abc import Iterable

from quantize_configs.errors import InvalidInputError
from tflite_tools.runtimes.browser import BROWSER
from tflite_tools.runtimes.emulated import EMULATED
from tflite_tools.runtimes.gpu import GPU
from tflite_tools.runtimes.host import HOST
from tflite_tools.runtimes.micro import MICRO
from tflite_tools.runtimes.runtime import Runtime

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (*HOST, *EMULATED, *GPU, *MICRO, *BROWSER)
}

ALL = "all"


class UnknownRuntimeError(InvalidInputError):
    """There is no runtime of this name."""


def find_runtime(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
      UnknownRuntimeError: There is none.
    """
    if name not in RUNTIMES:
        raise UnknownRuntimeError(f"A runtime is one of {', '.join(RUNTIMES)}. Received: {name!r}.")
    return RUNTIMES[name]


def chosen_runtimes(names: str | Iterable[str | Runtime]) -> list[Runtime]:
    """The runtimes of names, or those that are given as they are; "all" stands for every one.

    Args:
      names: Names, as a list or with commas; a list may hold runtimes of one's own.

    Raises:
      UnknownRuntimeError: There is none of a name, or no name.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    if listed == [ALL]:
        return list(RUNTIMES.values())
    if not listed:
        raise UnknownRuntimeError(f"Give at least one of {', '.join(RUNTIMES)}, or {ALL!r}.")
    found = [item if isinstance(item, Runtime) else find_runtime(item.strip()) for item in listed]
    return list({runtime.name: runtime for runtime in found}.values())
