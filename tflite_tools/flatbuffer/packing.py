"""Packing of INT4 and INT2 codes into bytes, as LiteRT stores them.

Row-major order, element 0 in the least-significant bits, no padding between rows, spare high bits
of the last byte zero. Source: LiteRT tflite/kernels/internal/portable_tensor_utils.cc.
"""

import numpy as np

from quantize_configs.errors import InvalidInputError

_PACKED_BITS = (4, 2)


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs signed codes into bytes.

    Args:
      codes: Integers in [-2**(bits-1), 2**(bits-1) - 1], any shape.
      bits: 4 or 2.

    Returns:
      uint8 [ceil(codes.size * bits / 8)].

    Raises:
      InvalidInputError: `bits` is another number, or a code is out of range.
    """
    per_byte = _codes_per_byte(bits)
    flat = np.asarray(codes).reshape(-1)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if flat.size and (flat.min() < low or flat.max() > high):
        raise InvalidInputError(
            f"{bits}-bit codes lie in [{low}, {high}]. Received codes in "
            f"[{flat.min()}, {flat.max()}]."
        )
    unsigned = flat.astype(np.int8).view(np.uint8) & np.uint8((1 << bits) - 1)
    spare = -unsigned.size % per_byte
    groups = np.pad(unsigned, (0, spare)).reshape(-1, per_byte)
    return np.bitwise_or.reduce(groups << _shifts(bits), axis=1)


def unpack(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Inverse of `pack`.

    Args:
      packed: uint8 [n].
      bits: 4 or 2.
      count: Number of codes to return.

    Returns:
      int8 [count].

    Raises:
      InvalidInputError: `bits` is another number, or the bytes hold fewer than `count` codes.
    """
    per_byte = _codes_per_byte(bits)
    packed = np.asarray(packed, np.uint8).reshape(-1)
    if not 0 <= count <= packed.size * per_byte:
        raise InvalidInputError(
            f"{packed.size} bytes hold at most {packed.size * per_byte} {bits}-bit codes. "
            f"Received count: {count}."
        )
    top_aligned = packed[:, None] << (np.uint8(8 - bits) - _shifts(bits))
    return (top_aligned.view(np.int8) >> np.int8(8 - bits)).reshape(-1)[:count]


def _codes_per_byte(bits: int) -> int:
    if bits not in _PACKED_BITS:
        raise InvalidInputError(
            f"Only {_PACKED_BITS}-bit codes are packed. Received bits: {bits!r}."
        )
    return 8 // bits


def _shifts(bits: int) -> np.ndarray:
    return np.arange(0, 8, bits, dtype=np.uint8)
