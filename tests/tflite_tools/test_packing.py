"""INT4 and INT2 packing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflite_tools.flatbuffer.packing import pack, unpack


@pytest.mark.parametrize("bits", [4, 2])
@given(data=st.data())
def test_round_trip(bits, data):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    codes = np.array(data.draw(st.lists(st.integers(low, high), max_size=70)), np.int8)
    packed = pack(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.size == -(-codes.size * bits // 8)
    np.testing.assert_array_equal(unpack(packed, bits, codes.size), codes)


def test_first_code_is_in_the_low_bits_and_spare_bits_are_zero():
    np.testing.assert_array_equal(pack([[1, -8], [3, -1], [7, 0]], 4), [0x81, 0xF3, 0x07])
    np.testing.assert_array_equal(pack([1, -8, 3], 4), [0x81, 0x03])
    np.testing.assert_array_equal(pack([1, -2, -1, 0, -2], 2), [0b00111001, 0b10])


def test_codes_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"4-bit codes lie in \[-8, 7\].*\[0, 8\]"):
        pack([0, 8], 4)
    with pytest.raises(ValueError, match="Only"):
        pack([0], 3)
    with pytest.raises(ValueError, match="hold at most 4"):
        unpack(np.zeros(1, np.uint8), 2, 5)
