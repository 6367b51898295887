"""Boxes lie where the recipe wants them; resizing is that of TensorFlow."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qfa_tf.data.cropping import ATTEMPTS, FixedRegion, RandomRegion, resample


def whole(height, width):
    return tf.constant([[0.0, 0.0, height, width]])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 13), (37, 50), (16, 5)])
def test_resample_is_the_resize_of_tensorflow(height, width):
    images = np.random.default_rng(0).random((3, height, width, 3), np.float32)
    expected = tf.image.resize(images, (16, 16), antialias=True)
    np.testing.assert_allclose(resample(images, whole(height, width), 16), expected, atol=1e-5)


def test_resample_takes_each_image_by_its_own_box():
    images = np.random.default_rng(0).random((2, 9, 9, 1), np.float32)
    boxes = tf.constant([[0.0, 0, 4, 4], [3, 5, 4, 4]])
    parts = resample(images, boxes, 4).numpy()
    np.testing.assert_allclose(parts[0], images[0, :4, :4], atol=1e-6)
    np.testing.assert_allclose(parts[1], images[1, 3:7, 5:9], atol=1e-6)


@given(start=st.floats(1, 10), size=st.floats(1, 12), resolution=st.integers(1, 30), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_ramp_stays_a_ramp(start, size, resolution, data):
    # A mean of pixels that the border of the image cuts off is no longer about its middle.
    border = size / resolution / 2
    assume(border <= start and start + size + border <= 24)
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None], (24, 24)) + 0.5
    axis = data.draw(st.sampled_from((0, 1)))
    images = (ramp if axis == 0 else ramp.T)[None, ..., None]
    box = np.full(4, [start, start, size, size], np.float32)[None]
    result = resample(images, tf.constant(box), resolution).numpy()[0, ..., 0]
    centres = start + (np.arange(resolution) + 0.5) * size / resolution
    expected = np.broadcast_to(centres[:, None], (resolution, resolution))
    expected = expected if axis == 0 else expected.T
    # Averaging over an even or odd number of pixels moves a value by a small part of a pixel.
    tolerance = 1e-3 if size <= resolution else 0.25
    np.testing.assert_allclose(result, expected, atol=tolerance)


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    area=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted).map(tuple),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_random_boxes_fit_the_image_and_the_recipe(height, width, area, seed):
    uniforms = np.random.default_rng(seed).random((16, ATTEMPTS, 4), np.float32)
    sizes = tf.fill([16], float(height)), tf.fill([16], float(width))
    boxes = RandomRegion(area).boxes(tf.constant(uniforms), *sizes).numpy()
    top, left, box_height, box_width = boxes.T
    assert (boxes == np.round(boxes)).all()
    assert (box_height >= 1).all()
    assert (box_width >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()
    # Rounding each side by half a pixel is all that may leave the recipe.
    ratio_low, ratio_high = (
        (box_width - 0.5) / (box_height + 0.5),
        (box_width + 0.5) / (np.maximum(box_height - 0.5, 0.5)),
    )
    assert (ratio_high >= 3 / 4 - 1e-5).all()
    assert (ratio_low <= 4 / 3 + 1e-5).all()


def test_random_boxes_have_the_areas_and_ratios_of_the_recipe():
    count = 4000
    uniforms = tf.constant(np.random.default_rng(0).random((count, ATTEMPTS, 4), np.float32))
    sizes = tf.fill([count], 1000.0), tf.fill([count], 1000.0)
    boxes = RandomRegion((0.08, 0.5)).boxes(uniforms, *sizes).numpy()
    shares = boxes[:, 2] * boxes[:, 3] / 1e6
    log_ratios = np.log(boxes[:, 3] / boxes[:, 2])
    assert 0.079 < shares.min() < 0.085
    assert 0.49 < shares.max() < 0.501
    assert shares.mean() == pytest.approx(0.29, abs=0.01)
    assert np.abs(log_ratios).max() == pytest.approx(math.log(4 / 3), abs=0.01)
    assert log_ratios.mean() == pytest.approx(0, abs=0.01)
    places = boxes[:, 0] / (1000 - boxes[:, 2])
    assert places.mean() == pytest.approx(0.5, abs=0.02)
    assert places.min() < 0.01
    assert places.max() > 0.99


def test_a_panorama_gives_its_middle():
    uniforms = tf.constant(np.random.default_rng(0).random((2, ATTEMPTS, 4), np.float32))
    heights, widths = tf.constant([30.0, 1000.0]), tf.constant([1000.0, 30.0])
    boxes = RandomRegion((0.9, 1.0)).boxes(uniforms, heights, widths).numpy()
    np.testing.assert_array_equal(boxes, [[0, 480, 30, 40], [480, 0, 40, 30]])


def test_evaluation_crop_is_resize_and_centre_crop():
    image = np.random.default_rng(0).random((1, 96, 144, 3), np.float32)
    boxes = FixedRegion(56, 0.875).boxes(None, tf.constant([96.0]), tf.constant([144.0]))
    resized = tf.image.resize(image, (64, 96), antialias=True)
    expected = resized[:, 4:60, 20:76]
    np.testing.assert_allclose(resample(image, boxes, 56), expected, atol=1e-5)


def test_without_crop_the_whole_image_is_used():
    boxes = FixedRegion(32).boxes(None, tf.constant([96.0]), tf.constant([144.0]))
    np.testing.assert_array_equal(boxes, [[0, 0, 96, 144]])
