"""What a runtime is, and what it makes of a model."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from quantize_configs.errors import UnavailableError
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor

INSTALL = "sh scripts/install_runtimes.sh"
PLACE_VARIABLE = "QFA_TF_RUNTIMES"


class RuntimeProblem(UnavailableError, RuntimeError):
    """A runtime did not run a model; the sentence says why."""


class MissingRuntimeError(RuntimeProblem):
    """It is not installed here, or has no device; the sentence names the command."""


class RefusedModelError(RuntimeProblem):
    """It does not load the model, or does not run it."""


class CrashedRuntimeError(RuntimeProblem):
    """Its process ended without an answer."""


class HungRuntimeError(RuntimeProblem):
    """It did not finish in time."""


class WrongOutputsError(RuntimeProblem):
    """What it computed is no output of the model: another number, another shape, not finite."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """How the process of a worker is started.

    Attributes:
      command: Program and arguments; the folder of the work is the last one.
      environment: Variables beside those of this process.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Something that opens a .tflite file.

    Attributes:
      name: For `compare_runtimes` and --runtimes.
      title: For people.
      launch: Finds what is installed; raises MissingRuntimeError with the command otherwise.
      kernel_set: CPU kernels whose arithmetic it has; None where no arithmetic is modelled.
      processor: That these kernels were built for.
      has_accelerator: Whether operators can be left out by what should compute them; False for
        kernels that compute every operator.
      has_time: Whether its time on this computer means something.
      note: What the name does not say.
    """

    name: str
    title: str
    launch: Callable[[], Launch]
    kernel_set: KernelSet | None = None
    processor: Processor = dataclasses.field(default_factory=Processor.here)
    has_accelerator: bool = False
    has_time: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Execution:
    """What a runtime made of a model and its inputs.

    Attributes:
      outputs: [N, ...] for each output of the model.
      version: Of what ran, as it names itself.
      operators: Number of operators that run per image; None if it does not tell.
      left_out: Operators that its accelerator did not take, as far as it names them.
      accelerated: Number of operators that it took; None without accelerator, or if unknown.
      seconds: Of each image.
    """

    outputs: tuple[np.ndarray, ...]
    version: str
    operators: int | None = None
    left_out: tuple[str, ...] = ()
    accelerated: int | None = None
    seconds: Sequence[float] = ()


def installed_place() -> pathlib.Path:
    """Folder of what scripts/install_runtimes.sh brings."""
    given = os.environ.get(PLACE_VARIABLE)
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(given) if given else pathlib.Path(cache) / "qfa_tf" / "runtimes"


def require_installed(runtime: str, what: str, found: bool, part: str) -> None:
    """Says how to install what a runtime needs.

    Args:
      runtime: Its name.
      what: It needs.
      found: Whether that is there.
      part: Argument of scripts/install_runtimes.sh.

    Raises:
      MissingRuntimeError: It is not.
    """
    if not found:
        raise MissingRuntimeError(
            f"The runtime {runtime!r} needs {what}, which is not installed here. Install it with: "
            f"{INSTALL} {part}"
        )
