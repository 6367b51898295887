"""Warm-up and cosine, one segment after another."""

import math

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.training import CosineSegment, StagedCosine
from quantize_configs.keras_backend import keras


def expected(step):
    """10 steps up to 0.4 in 4 from 0.1, then 6 steps from 0.2."""
    if step < 4:
        return 0.1 + (0.4 - 0.1) * step / 4
    if step < 10:
        return 0.2 * (1 + math.cos(math.pi * (step - 4) / 6))
    return 0.1 * (1 + math.cos(math.pi * (step - 10) / 6)) if step < 16 else 0.0


def test_values():
    rate = StagedCosine([CosineSegment(10, 0.4, 4, 0.1), CosineSegment(6, 0.2)])
    traced = tf.function(rate)
    for step in range(20):
        number = tf.constant(step, tf.int64)
        assert float(rate(number)) == pytest.approx(expected(step), abs=1e-7)
        assert float(traced(number)) == pytest.approx(expected(step), abs=1e-7)


def test_one_segment_is_the_schedule_of_keras():
    segment = CosineSegment(475, 0.05, 50)
    steps = (0, 1, 49, 50, 51, 200, 474)
    rates = [float(StagedCosine([segment])(step)) for step in steps]
    alone = keras.optimizers.schedules.CosineDecay(0.0, 425, warmup_target=0.05, warmup_steps=50)
    np.testing.assert_array_equal(rates, [float(alone(step)) for step in steps])


def test_round_trip():
    rate = StagedCosine([CosineSegment(10, 0.4, 4, 0.1), CosineSegment(6, 0.2)])
    assert StagedCosine.from_config(rate.get_config()).segments == rate.segments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((4, 0.1, 4), "warmup_steps"), ((4, 0.0), "learning_rate"), ((4, 0.1, 1, -1.0), "warmup_lea")],
)
def test_wrong_segments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CosineSegment(*arguments)
    with pytest.raises(ValueError, match="at least one"):
        StagedCosine([])
