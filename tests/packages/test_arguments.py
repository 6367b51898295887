"""What is no seed, count, name, path or part gets a sentence that says what is allowed."""

import dataclasses

import numpy as np
import pytest

import tflite_tools
from qfa_tf import Architecture, CostModel, QFASupernet, QFATraining, SearchSpace
from qfa_tf.data import batches, load, training_batches
from quantize_configs import BitPolicy, QFAError, load_model, quantize, sensitivity
from quantize_configs.keras_backend import keras

SPACE = SearchSpace.from_preset("digits_tiny")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def digits():
    return load("digits", 8)


@pytest.fixture(scope="module")
def net():
    return QFASupernet(SPACE)


@pytest.fixture(scope="module")
def float_model():
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, name="dense")]
    return keras.Sequential(layers)


SPACES = {
    "rng must be a numpy.random.Generator, or a seed": [
        lambda: SPACE.sample(-1),
        lambda: SPACE.sample("x"),
        lambda: SPACE.sample(1.5),
        lambda: SPACE.sample_genomes("x", 1),
    ],
    "the number of genomes, must be a whole number of at least 0": [
        lambda: SPACE.sample_genomes(RNG, -1),
        lambda: SPACE.sample_genomes(RNG, "x"),
        lambda: SPACE.sample_genomes(RNG, 1.5),
        lambda: SPACE.sample_genomes(RNG, True),
    ],
    "as space.restrict(bits) gives them": [
        lambda: SPACE.sample_genomes(RNG, 1, 5),
        lambda: SPACE.sample_genomes(RNG, 1, [[1]]),
        lambda: SPACE.sample_genomes(RNG, 1, [[]] * SPACE.n_genes),
        lambda: SPACE.sample_genomes(RNG, 1, [[99]] * SPACE.n_genes),
    ],
    "bits must be": [
        lambda: SPACE.restrict(4),
        lambda: SPACE.restrict("48"),
        lambda: SPACE.largest("4"),
        lambda: SPACE.smallest([4]),
    ],
    "An Architecture is needed": [
        lambda: SPACE.encode(None),
        lambda: SPACE.values("x"),
        lambda: SPACE.subnet(SPACE.encode(SPACE.sample(0))),
        lambda: SPACE.float_twin(3),
    ],
    "has no choice": [lambda: SPACE.lookup([])],
    "The presets are": [
        lambda name=name: SearchSpace.from_preset(name) for name in ("x", None, [])
    ],
    "must be JSON as written by": [
        lambda: SearchSpace.from_json(None),
        lambda: Architecture.from_json(3),
    ],
    "The family of a space must be one of": [
        lambda: SearchSpace.from_json('{"schema_version": 1, "family": []}')
    ],
    "The settings of MobileNetV3 must have the keys": [
        lambda: SearchSpace(),
        lambda: SearchSpace(name="x", colour=1),
    ],
    "space must be of the class SearchSpace": [lambda: CostModel("digits_tiny")],
    "layers must map names of layers": [lambda: BitPolicy((8, 8), ["conv"])],
}


@pytest.mark.parametrize("sentence", SPACES)
def test_spaces_name_what_they_take(sentence):
    for call in SPACES[sentence]:
        with pytest.raises(QFAError) as error:
            call()
        assert sentence in str(error.value)


@pytest.mark.parametrize("seed", [0, np.int64(7), None, [1, 2], np.random.default_rng(0)])
def test_what_numpy_takes_as_a_source_is_one(seed):
    SPACE.encode(SPACE.sample(seed))
    assert SPACE.sample_genomes(seed, 2).shape == (2, SPACE.n_genes)
    if isinstance(seed, int):
        assert SPACE.sample(seed) == SPACE.sample(np.random.default_rng(seed))


def test_data_names_what_it_takes(digits):
    split, count = digits.train, len(digits.train)
    calls = {
        "resolution must be a whole number of at least 1": [
            lambda: load("digits", 0),
            lambda: load("digits", "x"),
            lambda: load("digits", 8.5),
        ],
        "The data sets are": [lambda: load(None, 8), lambda: load(3, 8), lambda: load("x", 8)],
        "batch_size must be": [
            lambda: batches(split, 0),
            lambda: batches(split, "x"),
            lambda: training_batches(split, 1.5, seed=0),
            lambda: training_batches(split, count + 1, seed=0),
        ],
        "split must be of the class Split": [
            lambda: batches(digits, 4),
            lambda: training_batches(None, 4, seed=0),
        ],
        "seed must be a whole number": [lambda: training_batches(split, 4, seed="x")],
        "first_step must be": [lambda: training_batches(split, 4, seed=0, first_step=-1)],
        "augmentation must be": [lambda: training_batches(split, 4, seed=0, augmentation="x")],
        "shard must be": [lambda: training_batches(split, 4, seed=0, shard=3)],
        f"places of the {count} images": [lambda: split.take([count]), lambda: split.take("x")],
    }
    _check(calls)


def test_supernets_name_what_they_take(net):
    arch = SPACE.sample(0)
    calls = {
        "space must be a SearchSpace": [lambda: QFASupernet("digits_tiny")],
        "There is no trained supernet": [
            lambda: QFASupernet.from_pretrained(None),
            lambda: QFASupernet.from_pretrained(3),
            lambda: QFASupernet.from_pretrained("x"),
        ],
        "stages must be made of TrainingStage": [lambda: QFATraining(stages=3)],
        "calibration must be of the class Calibration": [
            lambda: net.extract(arch, None),
            lambda: net.evaluate_architecture(arch, [], "x"),
        ],
        "dataset must hold batches": [lambda: net.evaluate_architecture(arch, None, None)],
    }
    _check(calls)


def test_models_name_what_they_take(float_model, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    calls = {
        "policy must be of the class BitPolicy": [
            lambda: quantize(float_model, (8, 8)),
            lambda: quantize(float_model, "x"),
        ],
        "bits must be one or several of": [
            lambda bits=bits: sensitivity(float_model, [], bits=bits) for bits in (9, "x", None)
        ],
        "data must be images": [lambda: sensitivity(float_model, None)],
        "weight_bytes must be a number of at least 1": [
            lambda value=value: BitPolicy.from_budget(float_model, None, weight_bytes=value)
            for value in ("x", None, -1, float("nan"), True)
        ],
        "sensitivity must be of the class Sensitivity": [
            lambda: BitPolicy.from_budget(float_model, None, weight_bytes=100)
        ],
        "holds no quantized model": [lambda: load_model(file), lambda: load_model(tmp_path)],
        "There is no model at": [
            lambda: tflite_tools.inspect(tmp_path / "none.tflite"),
            lambda: tflite_tools.inspect(tmp_path),
            lambda: tflite_tools.benchmark(str(tmp_path / "none.tflite")),
        ],
        "given as the bytes of": [
            lambda: tflite_tools.inspect(None),
            lambda: tflite_tools.benchmark(3),
            lambda: tflite_tools.run(None, []),
            lambda: tflite_tools.with_metadata(None, {}),
        ],
    }
    _check(calls)


def test_numbers_of_a_benchmark_are_checked():
    for field in dataclasses.fields(tflite_tools.BenchmarkOptions):
        if field.name == "delegate":  # that of a device, which decides
            continue
        for value in ("x", -1, None):
            with pytest.raises(QFAError, match="Received"):
                tflite_tools.BenchmarkOptions(**{field.name: value})


def _check(calls):
    for sentence, each in calls.items():
        for call in each:
            with pytest.raises(QFAError) as error:
                call()
            assert sentence in str(error.value)
