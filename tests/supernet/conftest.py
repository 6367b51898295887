"""A tiny space with everything that MobileNetV3 spaces have, and supernets of it."""

import pytest

from qfa_tf.space import Head, SearchSpace, Stage, Stem


@pytest.fixture(scope="session")
def v3_space():
    """Squeeze-excite, hard-swish and three kernel sizes, on odd and even sizes."""
    return SearchSpace(
        name="tiny_v3",
        resolutions=(14, 16),
        stem=Stem(width=8, kernel_size=3, stride=2, activation="hard_swish"),
        stages=(
            Stage(8, 1, (1,), (3,), (1,), "relu", squeeze_excite=True),
            Stage(16, 2, (1, 2), (3, 5, 7), (2, 3), "hard_swish", squeeze_excite=True),
        ),
        head=Head(expand_width=48, mix_width=32, activation="hard_swish"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(2, 3, 4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


@pytest.fixture(scope="session")
def v3_net(v3_space, small_digits):
    """A supernet of that space after a very short training. Do not modify it."""
    from qfa_tf import QFASupernet, QFATraining, TrainingStage
    from qfa_tf.data import training_batches
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(0)
    net = QFASupernet(v3_space, padding="symmetric", dropout=0.1)
    rate = keras.optimizers.schedules.CosineDecay(0.0, 60, warmup_target=0.05, warmup_steps=10)
    net.compile(
        optimizer=keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        training=QFATraining(
            stages=(TrainingStage((32,), 20), TrainingStage((2, 3, 4, 8))),
            random_subnets=1,
            clip_norm=5.0,
        ),
    )
    dataset = training_batches(small_digits.train, 64, seed=0)
    net.fit(dataset, steps_per_epoch=60, epochs=1, verbose=0)
    return net


@pytest.fixture(scope="session")
def v3_float_net(v3_space):
    """An untrained supernet without any quantizer, padded symmetrically."""
    from qfa_tf import QFASupernet
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(1)
    fixed = {site.name: (32, 32) for site in v3_space.sites}
    return QFASupernet(v3_space.replace(name="float_v3", fixed_bits=fixed), padding="symmetric")


@pytest.fixture(scope="session")
def calibrate_once():
    """Calibration of one subnet on one batch without tracing a graph for it."""
    from qfa_tf import Calibration
    from qfa_tf.layers import Mode

    def calibrate(net, arch, images):
        _, statistics = net.run_subnet(Mode.CALIBRATE, images, net.as_genome(arch))
        return Calibration(arch, net.space.fingerprint, statistics.numpy(), len(images))

    return calibrate


@pytest.fixture
def float64_layers():
    """Keras layers compute in float64, so that the order of sums cannot flip a code."""
    from quantize_configs.keras_backend import keras

    keras.backend.set_floatx("float64")
    yield
    keras.backend.set_floatx("float32")
