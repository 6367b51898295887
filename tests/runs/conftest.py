"""A tiny space, tiny synthetic data, and one trained run that many tests look at."""

import io
import shutil

import numpy as np
import pytest
import rich.console
from ml_collections import ConfigDict

from qfa_tf.space import Head, SearchSpace, Stage, Stem

CLASSES = 4


@pytest.fixture
def console():
    return rich.console.Console(file=io.StringIO(), width=100)


@pytest.fixture(scope="session")
def tiny_space():
    return SearchSpace(
        name="tiny",
        resolutions=(8,),
        stem=Stem(4, 3, 1, "relu6"),
        stages=(Stage(8, 2, (1,), (3,), (2, 3), "relu6"),),
        head=Head(16, None, "relu"),
        weight_bits=(4, 8),
        activation_bits=(4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=CLASSES,
        width_divisor=4,
    )


@pytest.fixture(scope="session")
def bright_corners():
    """Registers a data set whose class is the brightest quarter of the image."""
    from qfa_tf.data import DATASETS, DataSplits, Split

    def load(resolution):
        rng = np.random.default_rng(5)
        labels = np.arange(200, dtype=np.int32) % CLASSES
        images = rng.uniform(0, 0.5, (200, resolution, resolution, 1)).astype(np.float32)
        half = resolution // 2
        for image, label in zip(images, labels, strict=True):
            rows, columns = half * (label // 2), half * (label % 2)
            image[rows : rows + half, columns : columns + half] += 0.5
        everything = Split.from_arrays(images, labels)
        train, validation, test = np.split(np.arange(200), [96, 148])
        return DataSplits(
            name="bright_corners",
            num_classes=CLASSES,
            train=everything.take(train),
            calibration=everything.take(train[:64]),
            search_validation=everything.take(validation),
            test=everything.take(test),
        )

    DATASETS["bright_corners"] = load
    yield "bright_corners"
    del DATASETS["bright_corners"]


@pytest.fixture(scope="session")
def make_config(tiny_space, bright_corners):
    """Makes a new config: two epochs of four steps."""

    def make():
        return ConfigDict(
            {
                "space": ConfigDict(_fields(tiny_space)),
                "data": {"name": bright_corners, "max_shift": 1, "calibration_batches": 3},
                "training": {
                    "batch_size": 16,
                    "steps_per_epoch": 4,
                    "stage_bits": ((32,), (4, 8, 32), (4, 8)),
                    "stage_steps": (3, 2, 3),
                    "learning_rate": 0.05,
                    "warmup_steps": 2,
                    "momentum": 0.9,
                    "clip_norm": 5.0,
                    "weight_decay": 1e-4,
                    "random_subnets": 1,
                    "distillation": "in_place",
                    "label_smoothing": 0.1,
                    "seed": 3,
                },
                "search": {
                    "constraints": ("mflops_8bit<=0.03",),
                    "objective": "mflops_8bit",
                    "population": 4,
                    "generations": 2,
                    "max_bits": 8,
                    "seed": 1,
                },
            }
        )

    return make


@pytest.fixture
def config(make_config):
    return make_config()


@pytest.fixture(scope="session")
def finished_run(make_config, tmp_path_factory):
    """Path of an uninterrupted training. Do not modify it; take `run_copy` for that."""
    from qfa_tf.runs import Workdir, train

    path = tmp_path_factory.mktemp("finished") / "run"
    train(make_config(), Workdir(path), rich.console.Console(file=io.StringIO()))
    return path


@pytest.fixture
def run_copy(finished_run, tmp_path):
    """A workdir of one's own, after the training."""
    from qfa_tf.runs import Workdir

    shutil.copytree(finished_run, tmp_path / "copy")
    return Workdir(tmp_path / "copy")


def _fields(space):
    import json

    return json.loads(space.to_json())
