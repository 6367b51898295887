"""One sentence for files whose bytes lead the readers of the schema astray."""

import contextlib
from collections.abc import Iterator

from quantize_configs.errors import QFAError
from tflite_tools.flatbuffer.content import bytes_of
from tflite_tools.flatbuffer.runtime import FlatbufferError

FILE_IDENTIFIER = b"TFL3"


@contextlib.contextmanager
def damage_said(flatbuffer: bytes) -> Iterator[None]:
    """Makes a FlatbufferError of whatever is raised meanwhile, but for our own sentences.

    Damaged offsets, lengths and names make the readers of the schema, NumPy and JSON raise errors
    of many types.

    Args:
      flatbuffer: What is read.

    Raises:
      InvalidTypeError: They are no bytes.
      FlatbufferError: The bytes are no .tflite file, or a damaged one.
    """
    if bytes_of(flatbuffer)[4:8] != FILE_IDENTIFIER:
        raise FlatbufferError(
            f"These {len(flatbuffer)} bytes are no .tflite file: they do not carry the identifier "
            f"{FILE_IDENTIFIER.decode()!r}."
        )
    try:
        yield
    except QFAError:
        raise
    except Exception as error:
        raise FlatbufferError(
            f"This .tflite file of {len(flatbuffer)} bytes is damaged: {type(error).__name__}: "
            f"{error}. Export or download it again."
        ) from error
