"""A reduced MobileNetV3 space as a supernet."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, SearchSpace
from qfa_tf.layers import Mode


@pytest.mark.slow
def test_all_modes_with_one_trace_each():
    space = SearchSpace.mobilenet_v3(0.1, resolutions=(32, 48), num_classes=5)
    assert len({stage.width for stage in space.stages}) > 1
    net = QFASupernet(space, padding="symmetric")
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(size=(4, 48, 48, 3)), tf.float32)
    architectures = [
        space.largest(bits=4),
        space.largest(bits=32),
        space.smallest(bits=2),
        *(space.sample(rng) for _ in range(3)),
    ]
    for arch in architectures:
        calibration = net.calibrate([images, images[::-1]], arch)
        assert np.isfinite(calibration.statistics).all()
        by_batch = net(images, genome=arch, training=True)
        frozen = net(images, genome=arch, calibration=calibration)
        for logits in (by_batch, frozen):
            assert logits.shape == (4, 5)
            assert np.isfinite(logits).all()
    assert net.trace_counts() == {mode.value: 1 for mode in Mode}
