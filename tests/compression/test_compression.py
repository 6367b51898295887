"""A model, data and a budget in one call; again, and what is refused."""

import numpy as np
import pytest
from rich.console import Console

import qfa_tf
from qfa_tf import CostModel, SearchSpace
from qfa_tf.compression import parse_budget
from qfa_tf.compression.budget import SPARE_BYTES, USED, constraints_of
from qfa_tf.compression.compress import _fitting
from qfa_tf.errors import QFAError
from qfa_tf.latency.measurement import TableSettings
from qfa_tf.runs.recipes import load_recipe
from qfa_tf.search import Subspace
from quantize_configs.keras_backend import keras

layers = keras.layers
SIZE = 8
QUIET = Console(quiet=True)


def tiny_model():
    x = inputs = keras.Input((SIZE, SIZE, 1), name="picture")
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="stem")(x)
    y = layers.Conv2D(16, 3, padding="same", use_bias=False, name="inner")(x)
    y = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(y))
    x = layers.Add(name="sum")([layers.Conv2D(8, 1, name="outer")(y), x])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="answer")(x), name="tiny")


def pictures(count=160):
    """Bright stripes at one of three places."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.random((count, SIZE, SIZE, 1), np.float32) * 0.3
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += 0.6
    return images, labels


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("2 MB", (2e6, None)),
        ("300kB and 4 ms", (3e5, 4.0)),
        ("1.5 KiB", (1536.0, None)),
        ("8 ms", (None, 8.0)),
    ],
)
def test_budgets(budget, expected):
    assert parse_budget(budget) == expected


@pytest.mark.parametrize("budget", ["", "2", "2 MB and 3 MB", "fast", "-1 MB", "8 ms or 2 MB"])
def test_budgets_that_say_nothing_are_refused(budget):
    with pytest.raises(QFAError, match="A budget is a size, a latency"):
        parse_budget(budget)


def test_a_budget_that_no_subnet_keeps_is_refused_before_any_work(tmp_path):
    with pytest.raises(QFAError, match=r"No subnet has 100 bytes: they have from [\d,]+ to"):
        qfa_tf.compress(
            tiny_model(), pictures(), budget="100 B", steps=4, workdir=tmp_path, console=QUIET
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.1, 0.6, 1.5])
@pytest.mark.parametrize(("metric", "spare"), [("weight_bytes", 0), ("tflite_bytes", SPARE_BYTES)])
def test_a_search_is_told_to_use_the_budget(metric, spare, share):
    cost = CostModel(SearchSpace.from_preset("mobilenet_v3_w1.0"))
    low, high = Subspace(cost.space).bounds(cost, metric)
    most = low + share * (high - low)
    upper, lower = constraints_of(cost, {metric: most})
    assert upper == f"{metric}<={most}".removesuffix(".0")
    least = float(lower.removeprefix(f"{metric}>="))
    assert least == pytest.approx(USED * min(most, high) - spare, rel=0.005)


def test_a_budget_that_cannot_be_used_up_is_only_kept():
    options = {"weight_bits": (8,), "activation_bits": (8,), "width_ratios": (1.0,)}
    cost = CostModel(SearchSpace.from_model(tiny_model(), optional_blocks=False, **options))
    assert constraints_of(cost, {"weight_bytes": 1e6}) == ["weight_bytes<=1000000"]
    cost = CostModel(SearchSpace.from_preset("mobilenet_v3_w1.0"))
    smallest, _ = Subspace(cost.space).bounds(cost, "weight_bytes")
    assert constraints_of(cost, {"weight_bytes": 1.05 * smallest}) == [
        f"weight_bytes<={1.05 * smallest}".removesuffix(".0")
    ]
    both = {"weight_bytes": 1e6, "macs": 1e9}
    assert constraints_of(cost, both) == ["weight_bytes<=1000000", "macs<=1000000000"]


def test_a_latency_that_no_subnet_has_is_refused_before_training(tmp_path):
    with pytest.raises(QFAError, match=r"No subnet has 1e-06 ms: they have from [\d.e-]+ to"):
        qfa_tf.compress(
            tiny_model(),
            pictures(),
            budget="0.000001 ms",
            steps=4,
            workdir=tmp_path,
            table=TableSettings(passes=1, networks=0, checked=0),
            console=QUIET,
        )
    assert not list(tmp_path.glob("**/checkpoints"))


ZEROS = np.zeros((4, SIZE, SIZE, 1), np.float32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.zeros((4, SIZE, SIZE, 3)), np.arange(4)), r"reads images \[N, height, width, 1"),
        ((ZEROS, np.arange(4)), "3 outputs.*labels from 0 to 3"),
        ((ZEROS, np.arange(4) % 2), "3 outputs.*labels from 0 to 1"),
        ((ZEROS, np.zeros((4, 2))), "integer labels.*or one-hot rows .*Received: float64"),
        ((ZEROS, np.arange(3)), "integer labels .*Received: int64"),
        ((ZEROS, np.full((4, 3), 1 / 3)), "must be one-hot.*compile"),
        ((ZEROS, np.eye(4)[:, :3]), "must be one-hot.*row 3 is"),
        ((ZEROS, np.arange(4) / 3), "must be integers.*compile"),
        ((ZEROS + 255, np.arange(4) % 3), r"must be in \[0, 1\]"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused_before_any_work(data, message, tmp_path):
    with pytest.raises(QFAError, match=message):
        qfa_tf.compress(tiny_model(), data, budget="8 kB", steps=4, workdir=tmp_path, console=QUIET)
    assert not list(tmp_path.iterdir())


def test_labels_may_be_a_column_or_one_hot():
    model = tiny_model()
    images, labels = pictures(12)
    for given in (labels[:, None], np.eye(3)[labels], np.eye(3, dtype=np.uint8)[labels]):
        _, found = _fitting(SearchSpace.from_model(model), (images, given))
        np.testing.assert_array_equal(found, labels)


OTHER_HEADS = {
    "has the outputs": lambda tiny: [*tiny.outputs, layers.Dense(2)(pooled(tiny))],
    "'pixels' is a map": lambda tiny: layers.Conv2D(3, 1, name="pixels")(
        tiny.get_layer("sum").output
    ),
    "'number' is one number": lambda tiny: layers.Dense(1, name="number")(pooled(tiny)),
    "ends with 'sigmoid'": lambda tiny: layers.Dense(3, activation="sigmoid")(pooled(tiny)),
}
"""By what is said of them, outputs of models that do not classify."""


def pooled(model):
    return model.layers[-2].output


def model_with(head):
    tiny = tiny_model()
    return keras.Model(tiny.input, head(tiny))


@pytest.mark.parametrize("data", ["digits", None])
@pytest.mark.parametrize("why", OTHER_HEADS)
def test_models_that_do_not_classify_are_refused(why, data, tmp_path):
    options = {"budget": "8 kB", "steps": 4, "workdir": tmp_path, "console": QUIET}
    with pytest.raises(QFAError, match=f"train classifiers of images; .*{why}"):
        qfa_tf.compress(model_with(OTHER_HEADS[why]), data or pictures(), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("why", OTHER_HEADS)
def test_programs_refuse_them_before_any_work(why, tmp_path):
    config = load_recipe("digits")
    with config.ignore_type():
        config.space = SearchSpace.from_model(model_with(OTHER_HEADS[why]), weight_bits=(4, 8))
    with pytest.raises(QFAError, match=f"train classifiers of images; .*{why}"):
        qfa_tf.train(tmp_path, config, console=QUIET)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_tuning_that_is_none_is_refused(share, tmp_path):
    options = {"budget": "8 kB", "steps": 4, "workdir": tmp_path, "console": QUIET}
    with pytest.raises(QFAError, match="tuning_share is a part of the steps"):
        qfa_tf.compress(tiny_model(), pictures(), tuning_share=share, **options)


def test_compression_in_one_call_and_again(tmp_path):
    keras.utils.set_random_seed(0)
    model, data = tiny_model(), pictures()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data, epochs=2, verbose=0)
    options = {
        "budget": "6 kB and 50 ms",
        "table": TableSettings(passes=1, networks=2, checked=0),
        "steps": 24,
        "workdir": tmp_path,
        "batch_size": 16,
        "population": 4,
        "generations": 1,
        "overrides": {"random_subnets": 1, "calibration_batches": 2, "probe_epochs": 0},
        "console": QUIET,
    }
    found = qfa_tf.compress(model, data, **options)
    names = [row.name for row in found.comparison.rows]
    assert names[:2] == ["float model", "TFLite, 8 bits"]
    is_tuned = "without tuning" in names
    assert (found.workdir.path.parent == tmp_path / "run" / "finetuned") is is_tuned
    assert list(tmp_path.glob("run/finetuned/*/checkpoints"))
    assert found.record.file_bytes <= 6000
    measured = {term.constraint: term.measured for term in found.record.budget}
    assert measured["tflite_bytes<=6000"] == found.record.file_bytes
    found.record.check_file(found.workdir)
    equal = found.record.accuracy["equal_answers"]
    assert found.record.verification["equal_answers"] == equal
    assert 1 / 3 < equal <= 1
    assert found.record.verification["mismatches"] == 0
    terms = {term.constraint: term.predicted for term in found.record.budget}
    assert terms["tflite_bytes<=6000"] <= 6000
    assert 0 < terms["latency_ms@host<=50"] <= 50
    assert set(found.record.architecture.site_bits) >= {"stem", "answer"}
    own = found.comparison.rows[-1]
    assert (own.name, own.file_bytes) == (found.record.name, found.record.file_bytes)
    assert own.accuracy == found.record.accuracy["litert"]
    for row in found.comparison.rows:
        assert 0.0 <= row.accuracy <= 1.0
        assert (row.latency_ms is None) is (row.file_bytes is None)
    assert found.comparison.row("float model").file_bytes > 0
    assert (tmp_path / "comparison.md").read_text() == f"{found}\n"
    again = qfa_tf.compress(model, data, **options)
    assert again.record.file_sha256 == found.record.file_sha256
    assert again.comparison == found.comparison  # nothing is measured twice
    (tmp_path / "comparison.json").write_text("{")
    repeated = qfa_tf.compress(model, data, **options)
    assert [row.accuracy for row in repeated.comparison.rows] == [
        row.accuracy for row in found.comparison.rows
    ]
    model.layers[1].bias.assign_add(np.ones(8))
    with pytest.raises(QFAError, match="made from another model"):
        qfa_tf.compress(model, data, **options)
