"""The two promises of an export for squeeze-excite, hard-swish and symmetric padding."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf.layers.execution import resize

pytestmark = pytest.mark.xdist_group("v3_net")
SUBNETS = [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 16))]


@pytest.mark.parametrize("seed", SUBNETS)
def test_promises(seed, v3_net, v3_space, small_digits, calibration_batches):
    arch = v3_space.sample(np.random.default_rng(300 + seed))
    calibration = v3_net.calibrate(calibration_batches, arch)
    container = ("auto", "int8")[seed % 2]
    subnet = v3_net.extract(arch, calibration, weight_container=container)
    flatbuffer = tflite_tools.convert(subnet, weight_container=container)
    test = small_digits.test
    images = resize(tf.constant(test.read_images()), arch.resolution).numpy()
    report = tflite_tools.verify(
        flatbuffer,
        subnet,
        images,
        labels=test.labels,
        integer_images=8,
        num_threads=1 + seed // 2 % 2,
    )
    assert report.images >= 400
    names = [comparison.kernel_set.name for comparison in report.integers.kernel_sets]
    assert sorted(names) == ["BUILTIN", "REFERENCE", "XNNPACK"]
    assert report.mismatches == 0, str(report)
    assert report.elements > 100_000
    assert report.top1_agreement >= 0.995, str(report)
    assert abs(report.litert_accuracy - report.keras_accuracy) <= 0.002 + 1e-9
    xnnpack = report.integers.kernel_sets[0]
    assert xnnpack.fully_delegated, xnnpack.fallbacks
