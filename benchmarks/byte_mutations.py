"""Bytes of a file that something happened to."""

import numpy as np


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with some bytes changed, cut off, repeated or moved."""
    data = bytearray(content)
    kind = rng.integers(5)
    start = int(rng.integers(len(data)))
    length = int(rng.integers(1, 64))
    if kind == 0:  # single bits
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[start : start + length] = rng.bytes(len(data[start : start + length]))
    elif kind == 2:
        del data[start:]
    elif kind == 3:
        data[start:start] = data[start : start + length]
    else:
        del data[start : start + length]
    return bytes(data)
