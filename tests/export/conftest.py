"""Fixtures of this folder: one exported MobileNetV3 for all tests that only look at it."""

import types

import numpy as np
import pytest


@pytest.fixture(scope="session")
def exported_v3():
    """A small MobileNetV3 with all bit-widths, its flatbuffer and its images. Do not modify it."""
    from mobilenet_v3 import SHAPE, mixed_policy, mobilenet_v3, randomize

    import tflite_tools
    from quantize_configs import calibrate, prepare_for_deployment, quantize
    from quantize_configs.keras_backend import keras
    from quantize_configs.wrappers import WrappedModel

    images = np.random.default_rng(0).normal(0, 1, (200, *SHAPE)).astype(np.float32)
    keras.utils.set_random_seed(0)
    float_model = mobilenet_v3()
    randomize(float_model)
    model = quantize(float_model, mixed_policy(float_model))
    wrapped = WrappedModel(model)
    for name in ("s0.b0", "s1.b0"):
        wrapped.fit_step(f"{name}.se.reduce")
        wrapped.fit_step(f"{name}.se.expand")
    calibrate(model, [images])
    prepare_for_deployment(model)
    labels = [f"class {number}" for number in range(10)]
    return types.SimpleNamespace(
        model=model,
        wrapped=wrapped,
        images=images,
        flatbuffer=tflite_tools.convert(model, labels=labels),
    )
