"""Writing files so that a reader sees the old file or the new one, never half of one."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from quantize_configs.errors import UnavailableError


class FileWriteError(UnavailableError, OSError):
    """A file could not be written; whatever stood at its path before is untouched."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path` that takes its place when the block succeeds.

    The caller writes the temporary file. When the block raises, the temporary file is removed and
    `path` keeps what it had.

    Args:
      path: File to create or replace. Missing parent folders are made.

    Raises:
      FileWriteError: The operating system refused to write (full disk, no permission).
    """
    path = pathlib.Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = pathlib.Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise FileWriteError(
            f"Could not write {path}: {error.strerror or error}. "
            "Nothing was changed there; free some space or choose another place, then try again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Replaces the file at `path` by `content` (see `replacing`)."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, content: str) -> None:
    """Replaces the file at `path` by `content`, encoded as UTF-8 (see `replacing`)."""
    write_bytes(path, content.encode())
