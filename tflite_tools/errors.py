"""The errors of all packages, for those who import this one only."""

from quantize_configs.errors import (
    DamagedFileError,
    ExistingFileError,
    InvalidInputError,
    InvalidTypeError,
    MissingExtraError,
    MissingFileError,
    QFAError,
    StateError,
    UnavailableError,
    UnsupportedError,
)

__all__ = [
    "DamagedFileError",
    "ExistingFileError",
    "InvalidInputError",
    "InvalidTypeError",
    "MissingExtraError",
    "MissingFileError",
    "QFAError",
    "StateError",
    "UnavailableError",
    "UnsupportedError",
]
