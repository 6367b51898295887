"""A supernet is fitted, evaluated, saved and shown as any Keras model."""

import keras as keras_3
import numpy as np
import pytest
import tensorflow as tf
from small_recipe import small_space

from qfa_tf import OQATraining, QFASupernet, QFATraining, TrainingStage
from qfa_tf.supernet.epoch_means import StepMeans
from qfa_tf.supernet.validation import validated_subnets
from qfa_tf.training import DivergedError
from quantize_configs.errors import InvalidInputError, InvalidTypeError, StateError
from quantize_configs.keras_backend import keras

CLASSES = 4
SPACE = small_space(CLASSES, "habits")
RECIPE = QFATraining(random_subnets=1, distillation="none")


def bright_quarters(count, seed):
    """Images whose class is their brightest quarter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.uniform(0, 0.3, (count, 8, 8, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        rows, columns = 4 * (label // 2), 4 * (label % 2)
        image[rows : rows + 4, columns : columns + 4] += 0.6
    return images, labels


IMAGES, LABELS = bright_quarters(64, seed=0)
HELD_OUT = bright_quarters(40, seed=1)


def compiled(rate=0.05, training=RECIPE):
    keras.utils.set_random_seed(0)
    net = QFASupernet(SPACE)
    net.compile(keras.optimizers.SGD(rate), training=training)
    return net


@pytest.fixture(scope="module")
def shared():
    """A net and the values that it started with."""
    net = compiled()
    net.optimizer.build(net.trainable_variables)
    variables = [*net.variables, *net.optimizer.variables]
    return net, [(variable, variable.numpy().copy()) for variable in variables]


@pytest.fixture
def restart(shared):
    """Gives the shared net its first values; making another one takes seconds."""

    def give():
        net, start = shared
        for variable, value in start:
            variable.assign(value)
        return net

    return give


@pytest.fixture
def net(restart):
    return restart()


@pytest.fixture
def losses(restart):
    """Of a first training with these data."""
    return lambda labels, images=IMAGES, **options: fit(restart(), images, labels, **options)[
        "loss"
    ]


def fit(net, *args, **kwargs):
    return net.fit(*args, **{"batch_size": 16, "verbose": 0, "shuffle": False, **kwargs}).history


def batches():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(16)


class Batches(keras.utils.Sequence):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(16 * index, 16 * index + 16)
        return IMAGES[part], LABELS[part]


def endless():
    while True:
        yield from (Batches()[index] for index in range(4))


def test_the_history_has_the_means_of_the_epoch(net, monkeypatch):
    seen = []
    add = StepMeans.add

    def watching(means, logs):
        seen.append({key: float(value) for key, value in logs.items()})
        return add(means, logs)

    monkeypatch.setattr(StepMeans, "add", watching)
    history = fit(net, IMAGES, LABELS, epochs=2)
    assert len(seen) == 8
    for key, values in history.items():
        if key in ("loss", "accuracy"):
            roles = [f"{role}_{key}" for role in ("smallest", "largest", "random")]
            expected = np.mean([[step[role] for role in roles] for step in seen], 1)
        else:
            expected = np.array([step[key] for step in seen])
        np.testing.assert_allclose(values, expected.reshape(2, 4).mean(1), rtol=1e-5)


@pytest.mark.usefixtures("eager_functions")
def test_subnets_at_rest_are_not_in_the_means():
    stages = (TrainingStage((32,), 2, "largest"), TrainingStage((4, 8)))
    net = compiled(training=QFATraining(stages=stages, random_subnets=1))
    history = fit(net, IMAGES[:32], LABELS[:32], epochs=2)
    assert np.isnan(history["smallest_loss"][0])
    assert history["loss"][0] == history["largest_loss"][0]
    assert np.isfinite([values[1] for values in history.values()]).all()


def test_callbacks_have_something_to_watch(net, tmp_path):
    callbacks = [
        keras.callbacks.EarlyStopping(patience=0, min_delta=100.0),  # no loss falls by so much
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=100.0),
        keras.callbacks.ModelCheckpoint(f"{tmp_path}/best.keras", save_best_only=True),
        keras.callbacks.ModelCheckpoint(
            f"{tmp_path}/{{epoch}}.weights.h5", "val_smallest_accuracy", save_weights_only=True
        ),
        keras.callbacks.TensorBoard(tmp_path / "board"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    history = fit(net, IMAGES, LABELS, epochs=9, validation_data=HELD_OUT, callbacks=callbacks[1:])
    assert history["lr"][0] == pytest.approx(0.05)
    assert history["lr"][-1] < 0.05
    history = fit(net, IMAGES, LABELS, epochs=9, validation_data=HELD_OUT, callbacks=callbacks[:1])
    assert len(history["val_loss"]) == 2  # Keras never stops after the first one
    assert (tmp_path / "best.keras").is_file()
    assert (tmp_path / "9.weights.h5").is_file()
    assert list((tmp_path / "board").rglob("events.*"))
    assert "val_largest_accuracy" in (tmp_path / "log.csv").read_text()


def test_validation_is_what_calibration_and_evaluation_of_each_subnet_give(net):
    history = fit(net, IMAGES, LABELS, epochs=3, validation_data=HELD_OUT)
    spread = [IMAGES[first::4] for first in range(4)]  # as fit spreads its calibration images
    subnets = validated_subnets(net, 0)
    assert subnets["smallest"] == SPACE.smallest(bits=4)
    assert subnets["largest"] == SPACE.largest(bits=8)
    held_out = [HELD_OUT]
    for role, subnet in subnets.items():
        calibration = net.calibrate(spread, subnet)
        measured = net.evaluate_architecture(subnet, held_out, calibration)
        assert history[f"val_{role}_accuracy"][-1] == pytest.approx(measured["accuracy"], abs=0.05)
        assert history[f"val_{role}_loss"][-1] == pytest.approx(measured["loss"], rel=1e-3)
    means = [history[f"val_{role}_loss"] for role in subnets]
    np.testing.assert_allclose(history["val_loss"], np.mean(means, 0), rtol=1e-5)
    results = net.evaluate(*HELD_OUT, batch_size=7, verbose=0)
    assert net.metrics_names[:2] == ["loss", "accuracy"]
    for name, value in zip(net.metrics_names, results, strict=True):
        assert value == pytest.approx(history[f"val_{name}"][-1], rel=1e-3, abs=1e-6)
    assert all(count <= 1 for count in net.trace_counts().values())


def test_float_stages_validate_in_float():
    stages = (TrainingStage((32,), 4), TrainingStage((4,)))
    training = QFATraining(stages=stages, random_subnets=0)
    net = compiled(training=training)
    assert validated_subnets(net, 0)["largest"] == SPACE.largest(bits=32)
    assert validated_subnets(net, 1)["largest"] == SPACE.largest(bits=4)
    assert validated_subnets(net, 1) == validated_subnets(net, 1)
    alone = QFATraining(stages=stages, architecture=SPACE.largest(bits=8))
    assert validated_subnets(compiled(training=alone), 1) == {"subnet": SPACE.largest(bits=8)}


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ((IMAGES, LABELS), {"validation_split": 0.25}),
        ((tf.constant(IMAGES), tf.constant(LABELS)), {"validation_data": HELD_OUT}),
        ((IMAGES, LABELS), {"validation_data": (*HELD_OUT, np.ones(40))}),
        ((batches(),), {"validation_data": batches(), "batch_size": None}),
        ((Batches(),), {"validation_data": Batches(), "batch_size": None}),
        (
            (endless(),),
            {"validation_data": HELD_OUT, "steps_per_epoch": 4, "batch_size": None, "epochs": 2},
        ),
    ],
    ids=["split", "tensors", "weights", "dataset", "sequence", "generator"],
)
def test_every_form_of_data(net, data, options):
    history = fit(net, *data, **options)
    assert np.isfinite(history["val_loss"]).all()
    assert np.isfinite(history["loss"]).all()


def test_one_hot_labels_columns_and_bytes_are_the_same_data(losses):
    expected = losses(LABELS)
    np.testing.assert_allclose(losses(np.eye(CLASSES, dtype=np.float32)[LABELS]), expected, 1e-5)
    np.testing.assert_allclose(losses(np.eye(CLASSES, dtype=int)[LABELS]), expected, 1e-5)
    np.testing.assert_allclose(losses(LABELS[:, None]), expected, 1e-6)
    levels = np.round(IMAGES * 255)
    scaled = (levels / 255).astype(np.float32)
    np.testing.assert_allclose(
        losses(LABELS, levels.astype(np.uint8)), losses(LABELS, scaled), 1e-6
    )


def test_labels_of_all_shapes_one_after_the_other(net):
    for labels in (LABELS, LABELS[:, None], np.eye(CLASSES, dtype=int)[LABELS], LABELS[:, None]):
        assert np.isfinite(fit(net, IMAGES, labels)["loss"]).all()
    with pytest.raises(InvalidInputError, match=r"from 0 to 3. Received: 1 to 4\.$"):
        fit(net, IMAGES, LABELS[:, None] + 1)


def test_weights_weigh(losses):
    halves = np.where(LABELS == 1, 0.5, 1.0)
    weighted = losses(LABELS, sample_weight=halves)
    by_class = losses(LABELS, class_weight={0: 1.0, 1: 0.5, 2: 1.0, 3: 1.0})
    np.testing.assert_allclose(weighted, by_class, 1e-6)
    assert weighted[0] < losses(LABELS)[0]
    np.testing.assert_allclose(losses(LABELS, sample_weight=np.ones(64)), losses(LABELS), 1e-5)
    mixed = 0.7 * np.eye(CLASSES)[LABELS] + 0.3 * np.eye(CLASSES)[LABELS[::-1]]
    assert losses(mixed.astype(np.float32))[0] != losses(LABELS)[0]


def test_an_image_without_weight_teaches_nothing(restart):
    labels = LABELS.copy()
    labels[5] = (labels[5] + 1) % CLASSES
    weights = np.ones(64)
    weights[5] = 0
    trained = []
    for truth in (LABELS, labels):
        net = restart()
        fit(net, IMAGES, truth, sample_weight=weights)
        trained.append([weight.numpy() for weight in net.weights])
    for first, second in zip(*trained, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.repeat(IMAGES, 3, -1), LABELS, r"\[N, height, width, 1\].*\[64, 8, 8, 3\].*channels=1"),
        (IMAGES[..., 0], LABELS, r"images\[\.\.\., None\]"),
        (IMAGES.astype(np.int32), LABELS, r"or uint8.*int32"),
        (IMAGES * 255, LABELS, r"about 0 to 1, or uint8; divide those of 0 to 255 by 255"),
        (IMAGES, LABELS + 1, r"from 0 to 3. Received: 1 to 4\.$"),
        (IMAGES, LABELS - 1, r"from 0 to 3. Received: -1 to 2\.$"),
        (IMAGES, LABELS.astype(np.float32), r"integers \[N\], or one-hot.*astype\('int32'\)"),
        (IMAGES, np.eye(5)[LABELS], r"one-hot \[N, 4\].*\[64, 5\]"),
        (IMAGES, np.full((64, 4), 0.5), r"rows that sum to 1. Received rows that sum to 2"),
        (IMAGES, None, r"Give labels, too"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(net, images, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        fit(net, images, labels)


def test_validation_labels_out_of_range(net):
    with pytest.raises(InvalidInputError, match=r"from 0 to 3. Received: 2 to 5\.$"):
        fit(net, IMAGES, LABELS, validation_data=(HELD_OUT[0], HELD_OUT[1] + 2))


def test_measuring_refuses_what_training_refuses(net):
    subnet = SPACE.sample(0)
    calibration = net.calibrate([IMAGES], subnet)
    unscaled = r"about 0 to 1, or uint8; divide those of 0 to 255 by 255.*up to 229.466\."
    for wrong in (
        lambda: net.calibrate([IMAGES * 255], subnet),
        lambda: net(IMAGES * 255, genome=subnet),
        lambda: net.evaluate_architecture(subnet, [(IMAGES * 255, LABELS)], calibration),
    ):
        with pytest.raises(InvalidInputError, match=unscaled):
            wrong()
    for labels, message in (
        (LABELS + 1, r"from 0 to 3. Received: 1 to 4\.$"),
        (LABELS.astype(np.float32), r"integers \[N\], or one-hot"),
        (np.full((64, 4), 0.5), r"Received rows that sum to 2 to 2\.$"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            net.evaluate_architecture(subnet, [(IMAGES, labels)], calibration)


def test_labels_of_all_shapes_are_measured_alike(net):
    subnet = SPACE.sample(0)
    calibration = net.calibrate([IMAGES], subnet)
    first, *others = (
        net.evaluate_architecture(subnet, [(IMAGES, labels)], calibration)
        for labels in (LABELS, LABELS[:, None], np.eye(CLASSES)[LABELS])
    )
    assert 0 < first["accuracy"] <= 1
    assert [other["accuracy"] for other in others] == [first["accuracy"]] * 2
    np.testing.assert_allclose([other["loss"] for other in others], first["loss"], 1e-5)


def test_bytes_everywhere(net):
    levels = np.round(IMAGES * 255)
    scaled = (levels / 255).astype(np.float32)
    subnet = SPACE.sample(0)
    one, other = (net.calibrate([images], subnet) for images in (levels.astype(np.uint8), scaled))
    np.testing.assert_array_equal(one.statistics, other.statistics)
    np.testing.assert_array_equal(
        net(levels.astype(np.uint8), genome=subnet), net(scaled, genome=subnet)
    )


def test_seeds_may_be_ints():
    assert SPACE.sample(3) == SPACE.sample(np.random.default_rng(3))
    assert len({SPACE.encode(SPACE.sample(seed)).tobytes() for seed in range(8)}) > 1


def test_compile_as_in_keras():
    net = QFASupernet(SPACE)
    net.compile("adam", training=RECIPE)
    assert isinstance(net.optimizer, keras.optimizers.Adam)
    with pytest.raises(InvalidInputError, match=r"compile\('sgd', training=QFATraining\(\)\)"):
        net.compile("sgd")
    with pytest.raises(InvalidInputError, match=r"makes its steps.*Received: weighted_metrics"):
        net.compile("sgd", training=RECIPE, weighted_metrics=["mae"])
    with pytest.raises(InvalidInputError, match="compile needs loss= for metrics"):
        net.compile("sgd", training=RECIPE, metrics=["mae"])
    with pytest.raises(InvalidTypeError, match="Keras 3"):
        net.compile(keras_3.optimizers.SGD(), training=RECIPE)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_the_global_policy_changes_nothing(policy):
    """What a supernet computes in is an option of its training."""

    def trained_and_extracted():
        net = compiled()
        history = net.fit(IMAGES, LABELS, batch_size=32, verbose=0).history
        architecture = SPACE.largest(bits=4)
        calibration = net.calibrate([(IMAGES, LABELS)], architecture)
        measured = net.evaluate_architecture(architecture, [HELD_OUT], calibration)
        model = net.extract(architecture, calibration)
        return history, measured, model(HELD_OUT[0], training=False)

    expected = trained_and_extracted()
    keras.mixed_precision.set_global_policy(policy)
    try:
        found = trained_and_extracted()
    finally:
        keras.mixed_precision.set_global_policy(None)
    assert found[:2] == expected[:2]
    assert found[2].dtype == tf.float32
    np.testing.assert_array_equal(found[2], expected[2])


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -0.1])
def test_rates_that_cannot_be_are_refused(rate):
    with pytest.raises(InvalidInputError, match="learning rate of the optimizer must be finite"):
        QFASupernet(SPACE).compile(keras.optimizers.SGD(rate), training=RECIPE)


def test_a_rate_that_becomes_no_number_is_not_applied(net):
    """Loss and gradient are finite in the step before; the weights would not be behind it."""
    kernels = [variable.numpy() for variable in net.trainable_variables]
    net.optimizer.learning_rate = float("nan")
    try:
        with pytest.raises(DivergedError):
            net.fit(IMAGES, LABELS, batch_size=8, verbose=0)
    finally:
        net.optimizer.learning_rate = 0.05
    for before, variable in zip(kernels, net.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)


def test_a_single_image_is_a_batch():
    """Alone, or as the last one of an epoch; with a teacher in place, too."""
    net = compiled(training=QFATraining(random_subnets=1))
    assert np.isfinite(net.train_on_batch(IMAGES[:1], LABELS[:1], return_dict=True)["largest_loss"])
    history = net.fit(IMAGES[:5], LABELS[:5], batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.usefixtures("eager_functions")
def test_calls_that_come_too_early():
    net = QFASupernet(SPACE)
    with pytest.raises(StateError, match="Call compile"):
        net.fit(IMAGES, LABELS)
    with pytest.raises(StateError, match="Call compile"):
        net.evaluate(IMAGES, LABELS)
    for ask in (net.predict, net.predict_on_batch):
        with pytest.raises(InvalidInputError, match=r"net\.extract\(arch, .*\.predict\(images\)"):
            ask(IMAGES)
    net = compiled()
    with pytest.raises(InvalidInputError, match="calibration_data=images"):
        net.evaluate(IMAGES, LABELS, verbose=0)
    result = net.evaluate(*HELD_OUT, calibration_data=IMAGES, verbose=0, return_dict=True)
    assert set(result) == set(net.metrics_names)


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize(
    "training",
    [
        RECIPE,
        QFATraining(
            stages=(TrainingStage((32,), 3), TrainingStage((4,))), architecture=SPACE.largest(4)
        ),
    ],
)
def test_saved_and_loaded(tmp_path, training):
    net = compiled(training=training)
    fit(net, IMAGES, LABELS)
    path = tmp_path / "net.keras"
    net.save(path)
    again = keras.models.load_model(path)
    assert again.training_method.recipe == training
    subnet = SPACE.sample(1)
    np.testing.assert_array_equal(net(IMAGES, genome=subnet), again(IMAGES, genome=subnet))
    np.testing.assert_allclose(fit(net, IMAGES, LABELS)["loss"], fit(again, IMAGES, LABELS)["loss"])
    for name in ("net.weights.h5", "weights"):
        net.save_weights(tmp_path / name)
        fresh = compiled()
        fresh.load_weights(tmp_path / name)
        np.testing.assert_array_equal(net(IMAGES, genome=subnet), fresh(IMAGES, genome=subnet))


def test_recipes_become_plain_values():
    training = OQATraining(stages=(TrainingStage((4,)),), inheritance="keep_range", seed=3)
    config = keras.saving.serialize_keras_object(training)
    assert keras.saving.deserialize_keras_object(config) == training


@pytest.mark.parametrize("name", ["net", "net.h5", "net.tf"])
def test_files_that_could_not_be_loaded_are_refused_at_save(net, tmp_path, name):
    with pytest.raises(InvalidInputError, match=r"ends in '\.keras'.*save_weights.*Received"):
        net.save(tmp_path / name)
    with pytest.raises(InvalidInputError, match=r"ends in '\.keras'"):
        fit(net, IMAGES, LABELS, callbacks=[keras.callbacks.ModelCheckpoint(f"{tmp_path}/{name}")])
    assert not list(tmp_path.iterdir())


def test_a_net_with_a_teacher_is_saved_without_its_recipe(tmp_path):
    teacher = QFATraining(distillation="external", teacher=lambda images: tf.zeros([16, CLASSES]))
    net = compiled(training=teacher)
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert again.training_method is None


def test_the_summary_tells_what_a_supernet_is(net):
    lines = []
    net.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for part in (
        "'habits'",
        "weight bits 4, 8",
        "smallest, 4 bits",
        "largest, 8 bits",
        "QFATraining",
    ):
        assert part in text


def test_the_progress_bar_shows_what_matters(net, capsys):
    fit(net, IMAGES, LABELS, verbose=2, validation_data=HELD_OUT)
    shown = capsys.readouterr().out
    for part in ("loss: ", "smallest: ", "largest: ", "val_loss: ", "val_random: "):
        assert part in shown
    assert "gradient_norm" not in shown
    assert "teacher" not in shown
    fit(net, IMAGES, LABELS)
    assert not capsys.readouterr().out


def test_the_loop_of_a_run_sees_single_steps(net):
    """What `make_train_function` gives outside `fit` is the step itself."""
    fit(net, IMAGES, LABELS)
    iterator = iter(batches().repeat())
    function = net.make_train_function()
    first, second = function(iterator), function(iterator)
    assert "loss" not in first
    assert float(first["largest_loss"]) != float(second["largest_loss"])
