"""Files behind a flatbuffer: a ZIP archive at the end of a .tflite file, as TFLite Metadata has it.

Readers of flatbuffers do not look behind the last table, readers of archives look from the end.
"""

import io
import zipfile
from collections.abc import Mapping

_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest of the format: the same files give the same bytes."""


def read_files(content: bytes) -> dict[str, bytes]:
    """Names and contents of the files behind a flatbuffer; empty where there are none."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_files(flatbuffer: bytes, files: Mapping[str, bytes]) -> bytes:
    """A flatbuffer without files, with files behind it; stored as they are, not compressed."""
    if not files:
        return flatbuffer
    content = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return content.getvalue()
