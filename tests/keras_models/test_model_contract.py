"""What every model that became a supernet fulfils: function, training, costs, export, search."""

import numpy as np
import pytest
import tensorflow as tf
from own_families import Planted, count
from small_models import MODELS, made

import tflite_tools
from qfa_tf import CostModel, QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.layers.execution import resize
from qfa_tf.search import ExactNSGA2, search
from qfa_tf.search.diagram import draw
from qfa_tf.space import Architecture
from quantize_configs.keras_backend import keras


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def model(request):
    return made(request.param)


@pytest.fixture(scope="module")
def space(model):
    return SearchSpace.from_model(model, weight_bits=(2, 4, 8))


@pytest.fixture(scope="module")
def images(model):
    return np.random.default_rng(1).random((16, *model.input_shape[1:]), np.float32)


@pytest.fixture(scope="module")
def net(model, space):
    return QFASupernet.from_model(model, space)


@pytest.fixture(scope="module")
def trained(net, images):
    """The net after two steps with its model as the teacher."""
    training = QFATraining(
        stages=(TrainingStage((2, 4, 8)),), random_subnets=1, distillation="external"
    )
    net.compile(optimizer=keras.optimizers.SGD(0.01), training=training)
    before = {site.name: net.site_layer(site.name).kernel.numpy() for site in net.space.sites}
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(16) % 5)).batch(8)
    history = net.fit(dataset, epochs=1, verbose=0).history
    assert np.isfinite(history["largest_loss"][-1])
    for name, kernel in before.items():
        assert np.any(net.site_layer(name).kernel.numpy() != kernel), name
    assert set(net.trace_counts().values()) <= {0, 1}
    return net


def test_the_function_of_the_model_is_kept(model, net, images):
    calibration = net.calibration_of_model()
    answers = net.answers_in_float(images, calibration.architecture, calibration)
    expected = model(images).numpy()
    if np.allclose(expected.sum(1), 1.0, atol=1e-5):
        answers = tf.nn.softmax(answers)
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    np.testing.assert_allclose(
        net.teacher(images),
        net.answers_in_float(images, calibration.architecture, calibration),
        atol=1e-4,
    )


@pytest.mark.parametrize("has_rescaling", [False, True])
def test_pixels_of_another_range(has_rescaling):
    x = image = keras.Input((8, 8, 1), name="picture")
    if has_rescaling:
        x = keras.layers.Rescaling(1 / 127.5, -1.0, name="own")(x)
    x = keras.layers.Conv2D(8, 3, 2, activation="relu", name="stem")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="answer")(x), name="of_bytes")
    low, high = pixel_range = (0.0, 255.0) if has_rescaling else (-1.0, 3.0)
    net = QFASupernet.from_model(model, weight_bits=(4, 8), pixel_range=pixel_range)
    pixels = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    calibration = net.calibration_of_model()
    answers = net.answers_in_float(pixels, calibration.architecture, calibration)
    np.testing.assert_allclose(answers, model(pixels * (high - low) + low), atol=1e-5)
    np.testing.assert_allclose(answers, net.teacher(pixels), atol=1e-5)


def test_a_network_without_choices_trains():
    image = keras.Input((8, 8, 1), name="picture")
    x = keras.layers.Conv2D(8, 3, activation="relu", name="stem")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    net = QFASupernet.from_model(keras.Model(image, keras.layers.Dense(3, name="answer")(x)))
    assert (net.space.size(), net.space.n_genes) == (1, 0)
    training = QFATraining(stages=(TrainingStage((8,)),), random_subnets=1, distillation="external")
    net.compile("sgd", training=training)
    pixels = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    logs = net.train_on_batch(pixels, np.arange(4) % 3, return_dict=True)
    assert np.isfinite(logs["random_loss"])


def test_files_and_genomes(space):
    again = SearchSpace.from_json(space.to_json())
    assert again == space
    assert str(again.describe()) == str(space.describe())
    for genome in space.sample_genomes(np.random.default_rng(0), 20):
        arch = space.decode(genome)
        np.testing.assert_array_equal(space.encode(arch), genome)
        assert Architecture.from_json(arch.to_json()) == arch


@pytest.mark.parametrize("seed", range(3))
def test_subnets_are_deployed_exactly(seed, space, trained, images):
    arch = space.sample(seed)
    subnet = trained.extract(arch, trained.calibrate([images], arch))
    flatbuffer = tflite_tools.convert(subnet)
    inputs = resize(tf.constant(images[:4]), arch.resolution).numpy()
    report = tflite_tools.verify(flatbuffer, subnet, inputs)
    assert report.mismatches == 0, str(report)
    cost = CostModel(space)
    rows = cost.evaluate(space.encode(arch)[None])
    per_site = cost.per_site(arch)
    assert (rows["macs"][0], rows["params"][0]) == count(subnet)
    assert sum(row.macs for row in per_site) == rows["macs"][0]
    assert draw(space, arch, per_site).count("<title>") == len(per_site)


def test_search_keeps_a_budget(space):
    cost = CostModel(space)
    low, high = cost.bounds("tflite_bytes", space.restrict())
    most = (low + high) / 2
    strategy = ExactNSGA2(population=8, generations=3)
    options = {"constraints": f"tflite_bytes<={most}", "seed": 0}
    result = search(space, cost, Planted(), strategy=strategy, **options)
    assert result.front
    assert all(candidate.costs["tflite_bytes"] <= most for candidate in result.front)
