"""Means whose last bit is PyTorch's."""

import pathlib

import numpy as np
import tensorflow as tf

from quantize_configs.ordered_sums import (
    ordered_channel_means,
    ordered_means,
    ordered_spatial_means,
)

MEANS = pathlib.Path(__file__).parents[1] / "data" / "torch_means.npz"


def test_every_bit_is_that_of_pytorch():
    means = np.load(MEANS)
    rng = np.random.default_rng(0)
    differing_in_plain_order = 0
    for index, shape in enumerate(means["shapes"]):
        x = rng.standard_normal(tuple(shape), np.float32)
        nhwc = x.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(ordered_channel_means(nhwc), means[f"channels/{index}"])
        np.testing.assert_array_equal(ordered_spatial_means(nhwc), means[f"spatial/{index}"])
        largest = x.max((2, 3)).reshape(-1, 1)
        np.testing.assert_array_equal(ordered_means(largest)[0], means[f"all/{index}"])
        plain = tf.reduce_mean(nhwc, [0, 1, 2])
        differing_in_plain_order += np.sum(plain != means[f"channels/{index}"])
    assert differing_in_plain_order > 0  # else these sums were not needed
