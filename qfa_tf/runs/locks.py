"""Locks that the operating system takes back when their holder dies, however it dies."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import TextIO

from qfa_tf.runs.errors import WorkdirError

_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def exclusive(path: pathlib.Path, doing: str, advice: str) -> Iterator[bool]:
    """Holds a lock; yields False where the file system knows none.

    The file stays; while the lock is held it names the holder, where the disk has room for that.

    Args:
      path: File of the lock; missing folders are made.
      doing: What holders do, the start of a sentence, such as "workdir/a is being trained".
      advice: What to do when it is held by another process, the end of that sentence.

    Raises:
      WorkdirError: Another process holds it, or the file cannot be written.
    """
    with _open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise WorkdirError(f"{doing} by {holder}. It was left as it is; {advice}.") from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            yield False
            return
        _note(file, f"process {os.getpid()} on {socket.gethostname()}")
        try:
            yield True
        finally:
            _note(file, "")


def _note(file: TextIO, holder: str) -> None:
    """Names the holder, for messages; on a full disk the lock holds without."""
    with contextlib.suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), holder.encode())  # unbuffered: a buffer would fail at its end again


def _open(path: pathlib.Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise WorkdirError(
            f"Could not write {path}: {error.strerror or error}. Choose another --workdir, or make "
            "this one writable."
        ) from error
