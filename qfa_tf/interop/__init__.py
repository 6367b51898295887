"""Networks of other frameworks and releases."""

from qfa_tf.interop.official import (
    OfficialStateError,
    decode_gene,
    load_official,
    official_space,
    read_state,
)

__all__ = [
    "OfficialStateError",
    "decode_gene",
    "load_official",
    "official_space",
    "read_state",
]
