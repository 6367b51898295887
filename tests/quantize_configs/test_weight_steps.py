"""First steps of weight grids."""

import numpy as np
import pytest

from quantize_configs import LSQQuantizer, weight_steps
from quantize_configs.weight_steps import SHARES, largest_steps, least_error_steps


@pytest.mark.parametrize("axes", [(), (-1,), (-2, -1)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bits", [3, 8])
def test_no_other_share_of_the_largest_has_a_smaller_error(axes, weighted, bits, monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, size=(3, 2, 6, 4))
    values[:, :, 2, 1] = 0
    importance = rng.random(values.shape) if weighted else None
    quantizer = LSQQuantizer(bits, channel_axes=axes)
    reduced = tuple(sorted({0, 1, 2, 3} - {axis % 4 for axis in axes}))

    def error(steps):
        divisor = np.where(steps > 0, steps, 1.0)
        codes = np.clip(np.rint(values / divisor), *quantizer.limits(bits))
        squares = (codes * steps - values) ** 2 * (1.0 if importance is None else importance)
        return np.sum(squares, reduced, keepdims=bool(axes))

    largest = largest_steps(values, quantizer, bits)
    found = least_error_steps(values, quantizer, bits, importance)
    assert np.shape(found) == np.shape(largest)
    for share in SHARES:
        assert (error(found) <= error(largest * share) * (1 + 1e-9)).all()
    monkeypatch.setattr(weight_steps, "CACHED", 1)
    np.testing.assert_array_equal(found, least_error_steps(values, quantizer, bits, importance))
