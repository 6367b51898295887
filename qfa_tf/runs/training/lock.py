"""One training per workdir."""

import contextlib

from qfa_tf.runs.locks import exclusive
from qfa_tf.runs.workdir import Workdir


def training_lock(workdir: Workdir) -> contextlib.AbstractContextManager[bool]:
    """Holds the lock of a workdir; gives False where the file system knows no locks.

    Raises:
      WorkdirError: Another process holds it, the folder belongs to something else, or it cannot
        be written.
    """
    workdir.check_folder()
    return exclusive(
        workdir.lock_file,
        f"{workdir} is being trained",
        "wait for that training, stop it, or choose another --workdir",
    )
