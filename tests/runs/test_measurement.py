"""Which images a subnet is evaluated on."""

import numpy as np
import pytest

from qfa_tf.runs.measurement import Measurement, _first_images
from quantize_configs.errors import InvalidInputError


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (99, [99]), (100, [100]), (150, [100, 50]), (250, [100, 100, 50])],
)
def test_no_batch_is_read_that_is_not_needed(count, sizes):
    read = []

    def batches():
        for start in (0, 100, 200):
            read.append(start)
            images = np.arange(start, min(start + 100, 250))
            yield images, -images

    found = list(_first_images(batches(), count))
    assert [len(images) for images, _ in found] == sizes
    assert len(read) == len(sizes)
    np.testing.assert_array_equal(np.concatenate([one for one, _ in found]), np.arange(count))
    np.testing.assert_array_equal(np.concatenate([one for _, one in found]), -np.arange(count))


def test_no_image_at_all_is_refused(small_digits):
    measurement = Measurement(small_digits, 32, 2)
    with pytest.raises(InvalidInputError, match="received images=0"):
        measurement.evaluate(None, None, None, "search_validation", images=0)
