"""Random layer graphs and damaged files: a clear error or a right result, never a crash."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import SHAPE, random_model, random_policy, randomize

import tflite_tools
from quantize_configs import UnsupportedLayerError, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras
from tflite_tools import FlatbufferError, UnsupportedCombinationError
from tflite_tools.integer_graph.graph import GraphError

REFUSALS = (UnsupportedLayerError, UnsupportedCombinationError, GraphError)


def check_random_model(seed, special=0.0):
    """Exports one random model; returns the refusal, None when it was exported and right.

    `special` is the share of layers with 16-bit activations or in float.
    """
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    float_model = random_model(rng)
    randomize(rng, float_model)
    images = rng.normal(0.2, 1.0, (24, *SHAPE)).astype(np.float32)
    try:
        policy = random_policy(rng, float_model, special)
        model = quantize(float_model, policy)
        calibrate(model, [images])
        prepare_for_deployment(model)
        flatbuffer = tflite_tools.convert(model)
    except REFUSALS as error:
        return error
    report = tflite_tools.verify(flatbuffer, model, images, integer_images=24)
    assert report.mismatches == 0, str(report)
    assert report.layers.first_difference is None, str(report.layers)
    has_wide = any(activations == 16 for _, activations in policy.layers.values())
    assert bool(report.integers.kernel_sets[0].fallbacks) == has_wide
    return None


@pytest.mark.parametrize("seed", range(5))
def test_random_models(seed):
    check_random_model(seed)


@pytest.mark.parametrize("seed", range(5, 9))
def test_random_models_with_wide_and_float_layers(seed):
    check_random_model(seed, special=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("special", [0.0, 0.5])
def test_many_random_models(special):
    refusals = [check_random_model(seed, special) for seed in range(100, 200)]
    assert sum(refusal is None for refusal in refusals) > 60


@pytest.fixture(scope="module")
def flatbuffer(exported_v3):
    return exported_v3.flatbuffer


def inspected(content, delegation=False):
    try:
        return str(tflite_tools.inspect(content, delegation=delegation))
    except FlatbufferError as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes(content, with_identifier):
    assert inspected(b"\x1c\x00\x00\x00TFL3" + content if with_identifier else content)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_files(flatbuffer, data):
    content = bytearray(flatbuffer)
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert inspected(bytes(content[: data.draw(st.integers(8, len(content)))]))


def test_mutated_files_do_not_end_the_process(flatbuffer):
    rng = np.random.default_rng(0)
    for _ in range(3):
        content = bytearray(flatbuffer)
        for position in rng.integers(0, len(content), 30):
            content[position] = rng.integers(0, 256)
        assert inspected(bytes(content), delegation=True)
