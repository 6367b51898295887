"""The two promises of an export, over random subnets of a trained supernet."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf.layers.execution import resize

pytestmark = pytest.mark.xdist_group("trained_net")
SUBNETS = 20


@pytest.mark.parametrize("seed", range(SUBNETS))
def test_promises(seed, trained_net, small_space, small_digits, calibration_batches):
    rng = np.random.default_rng(100 + seed)
    arch = small_space.sample(rng)
    calibration = trained_net.calibrate(calibration_batches, arch)
    container = ("auto", "int8")[seed % 2]
    subnet = trained_net.extract(arch, calibration, weight_container=container)
    flatbuffer = tflite_tools.convert(
        subnet,
        weight_container=container,
        input_type=("float32", "int8")[seed // 2 % 2],
        output_type=("float32", "int8")[seed // 4 % 2],
    )
    test = small_digits.test
    images = resize(tf.constant(test.read_images()), arch.resolution).numpy()
    report = tflite_tools.verify(
        flatbuffer,
        subnet,
        images,
        labels=test.labels,
        integer_images=8,
        num_threads=1 + seed // 8 % 2,
    )
    assert report.mismatches == 0, str(report)
    assert report.elements > 100_000
    assert report.top1_agreement >= 0.995, str(report)
    assert abs(report.litert_accuracy - report.keras_accuracy) <= 0.002 + 1e-9
    xnnpack = report.integers.kernel_sets[0]
    assert xnnpack.fully_delegated, xnnpack.fallbacks
