"""Fixtures that several folders share: a small space, real digits, one trained supernet."""

import contextlib
import gc
import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import pytest

from qfa_tf.space import Head, SearchSpace, Stage, Stem

# How long examples take is a matter of the machine, and of what else it does.
hypothesis.settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any_machine")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """Scans of image folders are kept there, not in the cache of the user; runtimes stay there."""
    from tflite_tools.runtimes.runtime import PLACE_VARIABLE, installed_place

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PLACE_VARIABLE, str(installed_place()))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def settings_of_keras():
    """Type, precision and image layout of Keras are the process's own; a test leaves them alone.

    A policy that was set by name stays when ``floatx`` changes, so the policy goes first.
    """
    yield
    backend = sys.modules.get("tf_keras")
    if backend is None:
        return
    policy = backend.mixed_precision.global_policy().name
    found = (policy, backend.backend.floatx(), backend.backend.image_data_format())
    backend.mixed_precision.set_global_policy(None)
    backend.backend.set_floatx("float32")
    backend.backend.set_image_data_format("channels_last")
    assert found == ("float32", "float32", "channels_last"), f"the test leaves Keras at {found}"


def pytest_collection_finish():
    """What the imports made stays: no collection of garbage looks through it again."""
    gc.freeze()


@contextlib.contextmanager
def run_eagerly():
    """Functions run without a graph, which takes longer to make than a few runs of it do.

    For tests of values. What a test says of graphs, and of two trainings being equal to the last
    bit, needs them.
    """
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions_")
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def eagerly():
    """For fixtures of more than one test: `with eagerly():`, see `run_eagerly`."""
    return run_eagerly


@pytest.fixture
def eager_functions():
    """See `run_eagerly`."""
    with run_eagerly():
        yield


@pytest.fixture(scope="session")
def small_space():
    """Every kind of site and choice, at 12 and 16 pixels."""
    return SearchSpace(
        name="small",
        resolutions=(12, 16),
        stem=Stem(width=8, kernel_size=3, stride=1, activation="relu6"),
        stages=(
            Stage(8, 1, (1,), (3,), (1,), "relu"),
            Stage(16, 2, (1, 2), (3, 5), (2, 3), "relu6"),
        ),
        head=Head(expand_width=48, mix_width=32, activation="relu"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(2, 3, 4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


@pytest.fixture(scope="session")
def small_digits():
    """scikit-learn's digits at 16 pixels."""
    from qfa_tf.data import load

    return load("digits", 16)


@pytest.fixture(scope="session")
def trained_net(small_space, small_digits):
    """A supernet of the small space after a short real training. Do not modify it."""
    from qfa_tf import QFASupernet, QFATraining, TrainingStage
    from qfa_tf.data import training_batches
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(0)
    net = QFASupernet(small_space)
    stages = (
        TrainingStage((32,), 50),
        TrainingStage((2, 3, 4, 8, 32), 75),
        TrainingStage((2, 3, 4, 8)),
    )
    rate = keras.optimizers.schedules.CosineDecay(0.0, 270, warmup_target=0.05, warmup_steps=30)
    net.compile(
        optimizer=keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        training=QFATraining(stages=stages, random_subnets=2, clip_norm=5.0),
    )
    dataset = training_batches(small_digits.train, 64, seed=0)
    net.fit(dataset, steps_per_epoch=300, epochs=1, verbose=0)
    return net


@pytest.fixture(scope="session")
def calibration_batches(small_digits):
    """Batches of the calibration split, in the training batch size."""
    from qfa_tf.data import batches

    return list(batches(small_digits.calibration, 64))
