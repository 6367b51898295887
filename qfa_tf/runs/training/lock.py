"""One training per workdir: a lock that the operating system takes back when its holder dies."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from typing import TextIO

from qfa_tf.runs.errors import WorkdirError
from qfa_tf.runs.workdir import Workdir

_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def training_lock(workdir: Workdir) -> Iterator[bool]:
    """Holds the lock of a workdir; yields False where the file system knows no locks.

    The file `train.lock` stays; while it is held it names the holder.

    Raises:
      WorkdirError: Another process holds it, the folder belongs to something else, or it cannot
        be written.
    """
    workdir.check_folder()
    with _open(workdir) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise WorkdirError(
                f"{workdir} is being trained by {holder}. It was left as it is; wait for that "
                "training, stop it, or choose another --workdir."
            ) from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            yield False
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


def _open(workdir: Workdir) -> TextIO:
    try:
        workdir.path.mkdir(parents=True, exist_ok=True)
        return open(workdir.lock_file, "a+", encoding="utf-8")
    except OSError as error:
        raise WorkdirError(
            f"Could not write {workdir.lock_file}: {error.strerror or error}. Choose another "
            "--workdir, or make this one writable."
        ) from error
