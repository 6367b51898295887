"""A tiny space, tiny synthetic data, and one trained run that many tests look at."""

import io
import shutil

import pytest
import rich.console
import tiny_run


@pytest.fixture
def console():
    return rich.console.Console(file=io.StringIO(), width=100)


@pytest.fixture(scope="session")
def tiny_space():
    return tiny_run.tiny_space()


@pytest.fixture(scope="session")
def bright_corners():
    """Registers a data set whose class is the brightest quarter of the image."""
    from qfa_tf.data import DATASETS

    DATASETS[tiny_run.DATA] = tiny_run.load_bright_corners
    yield tiny_run.DATA
    del DATASETS[tiny_run.DATA]


@pytest.fixture(scope="session")
def make_config(bright_corners):
    """Makes a new config: two epochs of four steps."""
    return tiny_run.tiny_config


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


@pytest.fixture(scope="session")
def _restored(finished_run):
    from qfa_tf.runs import Workdir, restore

    return restore(Workdir(finished_run))


@pytest.fixture
def restored_once(_restored, monkeypatch):
    """Gives all tests one restored net, so that it is traced once."""
    import qfa_tf.runs.exporting.building
    import qfa_tf.runs.measurement

    runs = qfa_tf.runs
    for module in (runs.measurement, runs.exporting.building):
        monkeypatch.setattr(module, "restore", lambda workdir: _restored)
