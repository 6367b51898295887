"""Supernets of models that do not classify: their losses, metrics, search and deployment."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import CostModel, QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.errors import QFAError
from qfa_tf.search import ExactNSGA2, search
from qfa_tf.supernet import MetricEvaluator
from qfa_tf.supernet.tasks import GivenTask
from quantize_configs.keras_backend import keras

layers = keras.layers
SIZE, IMAGES = 8, 16


def trunk():
    image = keras.Input((SIZE, SIZE, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(image)
    return image, layers.Conv2D(16, 3, padding="same", activation="relu", name="inner")(x)


def regression():
    image, x = trunk()
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(1, name="number")(x), name="regression")


def several_labels():
    image, x = trunk()
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(3, activation="sigmoid", name="labels")(x)
    return keras.Model(image, x, name="several_labels")


def every_pixel():
    image, x = trunk()
    x = layers.Conv2D(3, 1, activation="softmax", name="classes")(x)
    return keras.Model(image, x, name="every_pixel")


def several_outputs():
    image, x = trunk()
    vector = layers.GlobalAveragePooling2D(name="pool")(x)
    number = layers.Dense(2, name="number")(vector)
    return keras.Model(image, [number, layers.Conv2D(1, 1, name="map")(x)], name="several_outputs")


def numbers(images):
    return images.mean((1, 2, 3))


PIXELS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CASES = {
    "regression": (regression, numbers, {"loss": "mse", "metrics": ["mae"]}),
    "several_labels": (
        several_labels,
        lambda images: (images[:, :3, 0, 0] > 0.5).astype(np.float32),
        {"loss": "binary_crossentropy", "metrics": ["binary_accuracy"]},
    ),
    "every_pixel": (
        every_pixel,
        lambda images: (images[..., 0] * 3).astype(np.int32),
        {"loss": PIXELS, "metrics": ["sparse_categorical_accuracy"]},
    ),
    "several_outputs": (
        several_outputs,
        lambda images: {"number": images[:, 0, :2, 0], "map": images},
        {
            "loss": "mse",
            "loss_weights": {"map": 0.5},
            "metrics": {"number": [keras.metrics.RootMeanSquaredError()], "map": ["mae"]},
        },
    ),
}


class Case:
    """A trained supernet with its data."""

    def __init__(self, name):
        keras.utils.set_random_seed(0)
        make, labels_of, self.options = CASES[name]
        self.name, self.model = name, make()
        self.images = np.random.default_rng(0).random((IMAGES, SIZE, SIZE, 1), np.float32)
        self.labels = labels_of(self.images)
        self.space = SearchSpace.from_model(self.model, weight_bits=(4, 8))
        self.net = QFASupernet.from_model(self.model, self.space)
        self.training = QFATraining(
            stages=(TrainingStage((4, 8)),), random_subnets=1, distillation="none"
        )
        self.net.compile(keras.optimizers.SGD(0.02), training=self.training, **self.options)
        self.dataset = tf.data.Dataset.from_tensor_slices((self.images, self.labels)).batch(8)
        self.history = self.net.fit(self.dataset, epochs=3, verbose=0).history


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(request.param)


def as_dict(outputs, names):
    return outputs if isinstance(outputs, dict) else {names[0]: outputs}


def test_the_loss_falls_in_one_trace(case):
    losses = case.history["loss"]
    assert losses[-1] < losses[0]
    assert set(case.net.trace_counts().values()) <= {0, 1}
    assert "largest_accuracy" not in case.history


def test_the_function_of_the_model_is_kept(case):
    fresh = QFASupernet.from_model(case.model, case.space)
    calibration = fresh.calibration_of_model()
    answers = fresh.answers_in_float(case.images, calibration.architecture, calibration)
    names = list(fresh.heads.shapes)
    expected = case.model(case.images)
    expected = dict(zip(names, tf.nest.flatten(expected), strict=True))
    for name, values in as_dict(answers, names).items():
        own = tf.nn.softmax(values) if case.name == "every_pixel" else values
        np.testing.assert_allclose(own, expected[name], atol=1e-4)


def test_metrics_are_those_of_keras(case):
    arch = case.space.sample(0)
    calibration = case.net.calibrate([case.images], arch)
    found = case.net.evaluate_architecture(arch, case.dataset, calibration)
    outputs = case.net(case.images, genome=arch, calibration=calibration)
    assert found["images"] == IMAGES
    if case.name == "regression":
        errors = outputs.numpy()[:, 0] - case.labels
        assert found["loss"] == pytest.approx(np.square(errors).mean(), rel=1e-4)
        assert found["mean_absolute_error"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    elif case.name == "several_labels":
        hits = (outputs.numpy() > 0.5) == (case.labels > 0.5)
        assert found["binary_accuracy"] == pytest.approx(hits.mean(), abs=1e-6)
    elif case.name == "every_pixel":
        hits = outputs.numpy().argmax(-1) == case.labels
        assert found["sparse_categorical_accuracy"] == pytest.approx(hits.mean(), abs=1e-6)
    else:
        number = outputs["number"].numpy() - case.labels["number"]
        own_map = outputs["map"].numpy() - case.labels["map"]
        loss = np.square(number).mean() + 0.5 * np.square(own_map).mean()
        assert found["loss"] == pytest.approx(loss, rel=1e-4)
        deviation = np.sqrt(np.square(number).mean())
        assert found["number_root_mean_squared_error"] == pytest.approx(deviation, rel=1e-4)
        assert found["map_mean_absolute_error"] == pytest.approx(np.abs(own_map).mean(), rel=1e-4)


def test_subnets_are_deployed_exactly(case):
    arch = case.space.sample(1)
    subnet = case.net.extract(arch, case.net.calibrate([case.images], arch))
    report = tflite_tools.verify(tflite_tools.convert(subnet), subnet, case.images[:4])
    assert report.mismatches == 0, str(report)


def test_validation_has_the_metrics_of_images(case):
    found = case.net.evaluate(case.dataset, verbose=0, return_dict=True)
    task = case.net.task
    assert isinstance(task, GivenTask)
    assert {f"largest_{name}" for name in ("loss", *task.figures)} <= set(found)


def test_a_teacher_takes_part_in_the_loss():
    """A subnet learns its own function back, without any help of the labels."""
    case = Case("several_outputs")
    training = QFATraining(
        stages=(TrainingStage((4, 8)),),
        random_subnets=0,
        distillation="external",
        clip_norm=1.0,
    )
    weightless = {"number": 0.0, "map": 1.0}
    case.net.compile(
        keras.optimizers.SGD(0.01), training=training, loss="mse", loss_weights=weightless
    )
    labels = {"number": np.zeros((IMAGES, 2), np.float32), "map": case.labels["map"]}
    case.net.start_from_model(case.model)
    rows = case.net.teacher(case.images)
    task, noise = case.net.task, rows + 0.1
    known = task.read(labels)
    alone = task.losses(known, noise, rows, 0.0, 0.0)
    taught = task.losses(known, noise, rows, 1.0, 0.0)
    split = case.net.heads.split(rows)
    share = 0.1**2 / np.mean(np.square(split["map"]))
    np.testing.assert_allclose(taught - alone, np.full(IMAGES, share), rtol=1e-3)
    history = case.net.fit(case.images, labels, batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(("metric", "minimize"), [("mean_absolute_error", True), ("loss", True)])
def test_a_search_minimises(metric, minimize):
    case = Case("regression")
    evaluator = MetricEvaluator(
        case.net, case.dataset, [case.images], metric=metric, minimize=minimize
    )
    cost = CostModel(case.space)
    strategy = ExactNSGA2(population=4, generations=2)
    result = search(case.space, cost, evaluator, strategy=strategy, objective="weight_bytes")
    values = {}
    for candidate in result.candidates:
        arch = case.space.decode(np.array(candidate.genome, np.int32))
        calibration = case.net.calibrate([case.images], arch)
        values[candidate.genome] = case.net.evaluate_architecture(arch, case.dataset, calibration)[
            metric
        ]
        value = evaluator.value(candidate.accuracy)
        assert value == pytest.approx(values[candidate.genome], rel=1e-5)
    chosen = result.chosen
    assert values[chosen.genome] == pytest.approx(min(values.values()), rel=1e-6)


def test_a_search_maximises():
    case = Case("every_pixel")
    metric = "sparse_categorical_accuracy"
    options = {"metric": metric, "minimize": False}
    evaluator = MetricEvaluator(case.net, case.dataset, [case.images], **options)
    low, high = evaluator.score(0.2), evaluator.score(0.7)
    assert 0 <= low < high <= 1
    assert evaluator.value(high) == pytest.approx(0.7)
    with pytest.raises(QFAError, match=r"metric must be one of \['loss', 'sparse_cat"):
        MetricEvaluator(case.net, case.dataset, [case.images], metric="accuracy")


@pytest.mark.parametrize(
    ("make", "options", "labels", "message"),
    [
        (regression, {"loss": "mse"}, np.zeros((IMAGES, 2)), "'number' has the shape"),
        (regression, {"loss": "no_such_loss"}, None, "loss must be a name"),
        (regression, {"loss": "mse", "metrics": ["accuracy"]}, None, "which accuracy is meant"),
        (regression, {"metrics": ["mae"]}, None, "compile needs loss="),
        (regression, {}, None, "compile needs loss=.*'number' is one number"),
        (several_labels, {}, None, "compile needs loss=.*ends with 'sigmoid'"),
        (every_pixel, {}, None, "compile needs loss=.*'classes' is a map"),
        (every_pixel, {"loss": PIXELS}, np.zeros((IMAGES, 4, 4), np.int32), "'classes' has the sh"),
        (several_outputs, {"loss": {"numbers": "mse"}}, None, r"names \['numbers'\], which are no"),
        (several_outputs, {"loss": "mse", "metrics": ["mae"]}, None, "metrics come by name"),
        (several_outputs, {"loss": "mse"}, {"number": np.zeros((IMAGES, 2))}, "Missing"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_step(make, options, labels, message):
    net = QFASupernet.from_model(make(), weight_bits=(4, 8))
    training = QFATraining(stages=(TrainingStage((4, 8)),), random_subnets=0)
    images = np.zeros((IMAGES, SIZE, SIZE, 1), np.float32)

    def train():
        net.compile("sgd", training=training, **options)
        net.fit(images, labels, batch_size=8, verbose=0)

    with pytest.raises(QFAError, match=message):
        train()
    assert not net.trace_counts()["train"]
