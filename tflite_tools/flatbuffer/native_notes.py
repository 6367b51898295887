"""Keeping back the notes that LiteRT's native code writes about its ordinary work."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

_NOTES = (b"INFO: ", b"WARNING: [npu_registry", b"WARNING: [gpu_registry")
"""Beginnings of lines; the warnings name accelerators that were not asked for."""


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """Lets pass all that is written to the standard error stream meanwhile, but notes.

    Native code writes to the file descriptor, so this is what is caught; it belongs to the process.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is no such stream
        yield
        return
    try:
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                caught.seek(0)
                rest = b"".join(line for line in caught if not line.startswith(_NOTES))
                if rest:
                    os.write(2, rest)
    finally:
        os.close(kept)
