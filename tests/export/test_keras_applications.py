"""tf_keras.applications as they come: quantize, a little fit, convert, with 4 and 8 bits."""

import numpy as np
import pytest

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

applications = keras.applications
SHAPE = (64, 64, 3)
CLASSES = 5


def task(count=160):
    """Bytes of noise with a bright band; its place is the label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 128, (count, *SHAPE))
    for image, label in zip(images, labels, strict=True):
        image[10 * label : 10 * label + 20] += 100
    return images.astype(np.float32), labels


def mixed(model):
    """4-bit weights or 4-bit activations in turns; 8 bits at both ends."""
    names = [c.name for c in ModelGraph(as_quantizable(model)).calls if c.role is Role.LINEAR]
    inner = names[1:-1]
    return BitPolicy((8, 8), {name: ((4, 8), (8, 4))[i % 2] for i, name in enumerate(inner)})


BUILDERS = {
    "MobileNetV2": lambda: applications.MobileNetV2(SHAPE, 0.35, weights=None, classes=CLASSES),
    "MobileNetV3Small": lambda: applications.MobileNetV3Small(SHAPE, weights=None, classes=CLASSES),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_exact_in_one_partition_and_equal_to_keras(name):
    keras.utils.set_random_seed(0)
    float_model = BUILDERS[name]()
    for layer in float_model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.7  # of so few steps
    images, labels = task()
    pixel_range = None
    if name == "MobileNetV2":  # the other one begins with a Rescaling
        images, pixel_range = images / 127.5 - 1.0, (-1.0, 1.0)
    model = quantize(float_model, mixed(float_model))
    model.compile(keras.optimizers.legacy.Adam(2e-3), "sparse_categorical_crossentropy")
    losses = model.fit(images[:128], labels[:128], 16, 4, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    calibrate(model, [images[:64], images[64:128]])
    prepare_for_deployment(model)
    content = tflite_tools.convert(model, input_type="uint8", pixel_range=pixel_range)
    report = tflite_tools.verify(content, model, images, labels=labels, integer_images=2)
    xnnpack, *_ = report.integers.kernel_sets
    assert (report.mismatches, xnnpack.partitions, xnnpack.fallbacks) == (0, 1, ())
    assert report.top1_agreement >= 0.98
    bits = tflite_tools.inspect(content, delegation=False).metadata["bits"]
    assert {tuple(pair) for pair in bits.values()} == {(8, 8), (4, 8), (8, 4)}
