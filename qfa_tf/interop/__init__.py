"""Networks of other frameworks and releases."""

from qfa_tf.interop.official import (
    OfficialStateError,
    classes_of,
    decode_gene,
    fill_official,
    load_official,
    official_space,
    read_state,
)

__all__ = [
    "OfficialStateError",
    "classes_of",
    "decode_gene",
    "fill_official",
    "load_official",
    "official_space",
    "read_state",
]
