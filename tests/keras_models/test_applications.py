"""Small networks of tf_keras.applications as supernets: their function, and exact subnets."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import enliven

import tflite_tools
from qfa_tf import QFASupernet, SearchSpace
from quantize_configs.keras_backend import keras

SMALL = {"input_shape": (32, 32, 3)}
MODELS = {
    "MobileNetV2": {**SMALL, "alpha": 0.35},
    "ResNet50V2": SMALL,
    "DenseNet121": SMALL,
    "EfficientNetB0": SMALL,
    "RegNetX002": SMALL,
    "RegNetY002": SMALL,
    "InceptionV3": {"input_shape": (75, 75, 3)},
    "Xception": {"input_shape": (71, 71, 3)},
}
BLOCKS = {
    "MobileNetV2": 10,
    "ResNet50V2": 9,
    "DenseNet121": 0,
    "EfficientNetB0": 9,
    "RegNetX002": 9,
    "RegNetY002": 9,
    "InceptionV3": 0,
    "Xception": 8,
}
"""Residual branches with an identity as their shortcut."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, request.param)
    found = make(weights=None, classes=5, **MODELS[request.param])
    enliven(found)
    return request.param, found


def test_the_function_of_the_model_is_kept(model):
    name, network = model
    space = SearchSpace.from_model(network, weight_bits=(4, 8))
    assert len(space.network.slots) == BLOCKS[name]
    net = QFASupernet.from_model(network, space)
    images = np.random.default_rng(1).random((2, *network.input_shape[1:]), np.float32)
    calibration = net.calibration_of_model()
    answers = net.answers_in_float(images, calibration.architecture, calibration)
    np.testing.assert_allclose(net.teacher(images), answers, atol=1e-4)
    gives_logits = name.startswith("RegNet")
    expected = answers if gives_logits else tf.nn.softmax(answers)
    np.testing.assert_allclose(network(images), expected, atol=1e-4)
    if name in ("MobileNetV2", "RegNetY002"):
        _export(net, images, space.sample(0))


def _export(net, images, arch):
    subnet = net.extract(arch, net.calibrate([images], arch))
    report = tflite_tools.verify(tflite_tools.convert(subnet), subnet, images)
    assert report.mismatches == 0, str(report)
