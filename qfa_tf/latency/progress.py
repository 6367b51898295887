"""The half-measured rows of a latency table, so that a stopped measurement continues."""

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping

from qfa_tf.cost import LatencyTableError, OperatorKey
from quantize_configs.files import FileWriteError

KIND = "latency_table_progress"


class TableProgress:
    """Times by pass and operator, appended to a file as they are measured.

    Args:
      path: The file; a line that a kill cut off is dropped.
      identity: What was measured, and how; times of another one are refused.

    Attributes:
      times: Microseconds by (pass, operator).

    Raises:
      LatencyTableError: The file is of another device, or damaged.
      FileWriteError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike, identity: Mapping[str, object]):
        self._path = pathlib.Path(path)
        self.times: dict[tuple[int, OperatorKey], float] = {}
        head = json.dumps({"kind": KIND, **identity}, sort_keys=True) + "\n"
        try:
            content = self._path.read_bytes() if self._path.is_file() else b""
            complete = content[: content.rfind(b"\n") + 1]
            if complete:
                self._read(complete.decode(), json.loads(head))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "r+b" if content else "wb")  # noqa: SIM115 (closed later)
            self._begin(len(complete), head.encode())
        except OSError as error:
            raise FileWriteError(f"Could not write {self._path}: {error.strerror}.") from error

    def _begin(self, complete: int, head: bytes) -> None:
        """Puts the end of the file behind its complete lines, of which the head is the first."""
        try:
            self._file.truncate(complete)
            self._file.seek(complete)
            if not complete:
                self._file.write(head)
                self._file.flush()
        except OSError:
            self.close()
            raise

    def add(self, number: int, key: OperatorKey, microseconds: float) -> None:
        """Stores a time.

        Raises:
          FileWriteError: It cannot be written.
        """
        self.times[number, key] = microseconds
        line = json.dumps([number, list(key), microseconds]) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            raise FileWriteError(f"Could not write {self._path}: {error.strerror}.") from error

    def close(self) -> None:
        """Keeps the file for the next time."""
        with contextlib.suppress(OSError):  # of a line that `add` has refused
            self._file.close()

    def remove(self) -> None:
        """Removes the file, when all is in the table."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _read(self, text: str, expected: dict) -> None:
        head, *lines = text.splitlines()
        try:
            found = json.loads(head)
            if not isinstance(found, dict) or found.get("kind") != KIND:
                raise ValueError("no such file")
            for line in lines:
                number, key, value = json.loads(line)
                self.times[int(number), OperatorKey(*key)] = float(value)
        except (ValueError, TypeError) as error:
            raise LatencyTableError(
                f"{self._path} is damaged: {error}. It was left as it is; remove it to measure "
                "again."
            ) from error
        changed = [name for name in expected if found.get(name) != expected[name]]
        if changed:
            name = changed[0]
            raise LatencyTableError(
                f"{self._path} holds half a measurement of something else: {name} is "
                f"{found.get(name)!r} there and {expected[name]!r} here. Continue that one, or "
                "remove the file."
            )
