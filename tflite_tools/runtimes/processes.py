"""Running a model in a runtime, in a process of its own that may crash or hang."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflite_tools.runtimes.runtime import (
    CrashedRuntimeError,
    Execution,
    HungRuntimeError,
    Launch,
    RefusedModelError,
    Runtime,
    RuntimeProblem,
    WrongOutputsError,
)
from tflite_tools.runtimes.workers.folder import Folder, log_parts

Work = tuple[bytes, Sequence[np.ndarray]]
"""Bytes of a .tflite file, and [N, ...] for each of its inputs."""

DEFAULT_LIMIT = 600.0
"""Seconds that one run may take."""

_LOG_LINES = 3
_DELEGATED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate")
_ON_GPU = re.compile(r"(\d+) operations will run on the GPU, and the remaining (\d+) operations")
_UNSUPPORTED = re.compile(r"not supported by GPU delegate:\n(.*?)\n\d+ operations", re.DOTALL)
_ADAPTER = re.compile(r"Selected adapter: ([^,\n]+)")
_TELLING = re.compile(
    r"ERROR|[Ff]ailed|not supported|[Uu]nsupported|Didn't find|Invalid|Error:|was not true"
)
_UNIMPORTANT = re.compile(r"compiler_plugin|npu_registry|\(libLiteRt|^WARNING|└|raise \w+\(")
_PREFIX = re.compile(r"^(ERROR:|E\d{4} \S+ +\d+)? *(\[\S+:\d+\]|\S+\.cc:\d+\])? *")


def execute(
    runtime: Runtime,
    flatbuffer: bytes,
    inputs: Sequence[np.ndarray],
    limit: float = DEFAULT_LIMIT,
) -> Execution:
    """Runs images one by one on one thread, as a phone does.

    Args:
      runtime: From `registry.find_runtime`.
      flatbuffer: Bytes of a .tflite file.
      inputs: [N, ...] for each input of the model, of its type.
      limit: Seconds after which the process is ended.

    Raises:
      MissingRuntimeError: The runtime is not installed.
      RefusedModelError: It does not run the model.
      CrashedRuntimeError: Its process ended without an answer.
      HungRuntimeError: It did not finish within the limit.
      WrongOutputsError: Its outputs are not those of the model.
    """
    (outcome,) = execute_many(runtime, [(flatbuffer, inputs)], limit)
    if isinstance(outcome, RuntimeProblem):
        raise outcome
    return outcome


def execute_many(
    runtime: Runtime, works: Sequence[Work], limit: float = DEFAULT_LIMIT
) -> list[Execution | RuntimeProblem]:
    """`execute` for many models in one process, which is started anew where it ends too early.

    Args:
      runtime: From `registry.find_runtime`.
      works: (bytes of a .tflite file, its inputs) of each model.
      limit: Seconds for each model.

    Returns:
      For each model what `execute` returns or raises.

    Raises:
      MissingRuntimeError: The runtime is not installed.
    """
    outcomes: list[Execution | RuntimeProblem] = []
    while len(outcomes) < len(works):
        outcomes += _in_one_process(runtime, works[len(outcomes) :], limit)
    return outcomes


def _in_one_process(
    runtime: Runtime, works: Sequence[Work], limit: float
) -> list[Execution | RuntimeProblem]:
    """What came of the models up to the first one that ended the process."""
    launch = runtime.launch()
    # What a worker started may still write while it is ended; that is no fault of the answer.
    with tempfile.TemporaryDirectory(prefix="qfa_tf-", ignore_cleanup_errors=True) as path:
        folders = [Folder(pathlib.Path(path) / str(number)) for number in range(len(works))]
        for folder, work in zip(folders, works, strict=True):
            folder.path.mkdir()
            folder.write_work(*work)
        paths = [str(folder.path) for folder in folders]
        code, log = _ended(launch, paths, pathlib.Path(path) / "log.txt", limit * len(works))
        outcomes: list[Execution | RuntimeProblem] = []
        for folder, work, told in zip(folders, works, log_parts(log, paths), strict=True):
            answer = folder.answer()
            if answer is None:
                return [*outcomes, _ending(runtime, code, told, limit)]
            outcomes.append(_outcome(runtime, folder, answer, work, told))
        return outcomes


def _ending(runtime: Runtime, code: int | None, log: str, limit: float) -> RuntimeProblem:
    """Why a process gave no answer; `code` is None where it was stopped."""
    if code is None:
        return HungRuntimeError(
            f"The runtime {runtime.name!r} did not finish within {limit:g} s and was stopped. "
            "Give fewer images, or a larger limit."
        )
    ending = f"with the signal {_signal_name(-code)}" if code < 0 else f"with code {code}"
    return CrashedRuntimeError(
        f"The process of the runtime {runtime.name!r} ended {ending} and no answer{_told(log)}."
    )


def _outcome(
    runtime: Runtime, folder: Folder, answer: dict[str, Any], work: Work, log: str
) -> Execution | RuntimeProblem:
    flatbuffer, inputs = work
    if "refusal" in answer:
        reason = _reason(answer["refusal"], log)
        return RefusedModelError(f"The runtime {runtime.name!r} does not run the model: {reason}")
    outputs = folder.outputs()
    try:
        check_outputs(runtime, outputs, flatbuffer, len(inputs[0]))
    except WrongOutputsError as error:
        return error
    return _execution(runtime, answer, outputs, log, flatbuffer)


def worker_launch(module: str, *arguments: str, **environment: str) -> Launch:
    """How a worker of this package is started with this Python.

    Args:
      module: Name of its module in `tflite_tools.runtimes.workers`.
      *arguments: Before the folder.
      **environment: Variables of its process.
    """
    command = (sys.executable, "-m", f"tflite_tools.runtimes.workers.{module}", *arguments)
    return Launch(command, {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment})


def _ended(
    launch: Launch, paths: Sequence[str], log: pathlib.Path, limit: float
) -> tuple[int | None, str]:
    """(exit code, what was said) of a worker; the code is None where the limit ended it."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*launch.command, *paths],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **launch.environment},
            start_new_session=True,
        )
        code = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(limit)
        finally:
            _end_session(process)
    return code, log.read_text("utf-8", "replace")


def _end_session(process: subprocess.Popen) -> None:
    """Ends a worker and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_outputs(
    runtime: Runtime, outputs: Sequence[np.ndarray], flatbuffer: bytes, images: int
) -> None:
    """Compares outputs with what the file says of them.

    Raises:
      WrongOutputsError: They are others, or not finite.
    """
    from tflite_tools.flatbuffer.inspection import inspect

    declared = inspect(flatbuffer, delegation=False).outputs
    if len(outputs) != len(declared):
        raise WrongOutputsError(
            f"The runtime {runtime.name!r} gave {len(outputs)} output(s); the model has "
            f"{len(declared)}."
        )
    for (name, kind, shape), found in zip(declared, outputs, strict=True):
        expected = (images, *shape[1:])
        if found.shape != expected or str(found.dtype).upper() != kind:
            raise WrongOutputsError(
                f"The runtime {runtime.name!r} gave {found.dtype} of shape {found.shape} for the "
                f"output {name!r}, which is {kind.lower()} of shape {expected}."
            )
        wrong = int(np.count_nonzero(~np.isfinite(found)))
        if wrong:
            raise WrongOutputsError(
                f"The runtime {runtime.name!r} gave {wrong} of {found.size} values of the output "
                f"{name!r} that are not finite."
            )


def _execution(runtime, answer, outputs, log, flatbuffer) -> Execution:
    operators, left_out = answer.get("operators"), tuple(answer.get("left_out", ()))
    accelerated = None
    if runtime.has_accelerator:
        if operators is None:
            operators = _operators_of(flatbuffer)
            accelerated, left_out = _accelerated(answer, operators, log)
        else:
            accelerated = operators - len(left_out)
    adapter = _ADAPTER.search(log)
    return Execution(
        outputs=outputs,
        version=answer["runtime"] + (f", {adapter[1]}" if adapter else ""),
        operators=operators,
        left_out=left_out if runtime.has_accelerator else (),
        accelerated=accelerated,
        seconds=tuple(answer.get("seconds", ())),
    )


def _operators_of(flatbuffer: bytes) -> int:
    """Operators that run per image: not those that only widen constants."""
    from tflite_tools.flatbuffer.inspection import inspect

    layers = inspect(flatbuffer, delegation=False).layers
    return sum(layer.input_type != "-" for layer in layers)


def _accelerated(answer, operators: int, log: str) -> tuple[int | None, tuple[str, ...]]:
    """(accelerated operators, why others are not), from what LiteRT says."""
    if answer.get("is_fully_accelerated"):
        return operators, ()
    unsupported = _UNSUPPORTED.search(log)
    reasons = tuple(unsupported[1].splitlines()) if unsupported else ()
    if found := _ON_GPU.findall(log):
        return max(int(taken) for taken, _ in found), reasons
    if found := _DELEGATED.findall(log):
        return max(int(taken) for taken, _ in found), reasons
    return None, reasons or ("some operators; it does not say which",)


def _reason(refusal: str, log: str) -> str:
    """A refusal with the lines in which the runtime names the operator, on one line."""
    refusal = " ".join(line.strip() for line in refusal.splitlines() if "└" not in line)
    lines = [line for line in _telling(log) if line not in refusal]
    return "; ".join(filter(None, [*lines, _PREFIX.sub("", refusal)])) or refusal


def _told(log: str) -> str:
    lines = _telling(log) or log.strip().splitlines()[-1:]
    return f"; it said: {'; '.join(lines)}" if lines else ""


def _telling(log: str) -> list[str]:
    lines = (" ".join(line.split()) for line in log.splitlines())
    told = [line for line in lines if _TELLING.search(line) and not _UNIMPORTANT.search(line)]
    return list(dict.fromkeys(_PREFIX.sub("", line) for line in told))[-_LOG_LINES:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
