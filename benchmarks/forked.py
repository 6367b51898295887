"""Functions that run in processes forked from this one, which a fault or a signal may end.

Forked after the imports, they start at once. This process must not have used TensorFlow before.
"""

import contextlib
import gc
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any


class Forked:
    """A process that calls a function, whose errors go to a file.

    It ends with status 0, or 1 after an exception.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self._errors = tempfile.NamedTemporaryFile("w+", suffix=".txt")  # noqa: SIM115
        self.began = time.monotonic()
        gc.freeze()  # garbage is looked for among what the process makes, not among the imports
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                function(*arguments)
                status = 0
            except BaseException:
                traceback.print_exc(file=self._errors)
                self._errors.flush()
            finally:
                os._exit(status)

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit status, negative of a signal; None when it still runs after so many seconds."""
        while True:
            pid, status = os.waitpid(self.pid, 0 if seconds is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() - self.began >= (seconds or 0.0):
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def errors(self) -> str:
        """What it raised."""
        self._errors.seek(0)
        return self._errors.read()


def finished(function: Callable[..., Any], *arguments: Any) -> float:
    """Runs a function in a forked process to its end; returns the seconds."""
    process = Forked(function, *arguments)
    if process.wait() != 0:
        raise SystemExit(f"{function.__name__} failed without being killed:\n{process.errors}")
    return time.monotonic() - process.began
