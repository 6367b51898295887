"""A tiny space, tiny synthetic data, and one trained run that many tests look at."""

import contextlib
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
def make_config():
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


@pytest.fixture(scope="session")
def sharing_the_net(_restored):
    """`with sharing_the_net():` all parts take one restored net, so that it is traced once."""
    import qfa_tf.runs.exporting.building
    import qfa_tf.runs.measurement

    runs = qfa_tf.runs

    @contextlib.contextmanager
    def shared():
        with pytest.MonkeyPatch.context() as patch:
            for module in (runs.measurement, runs.exporting.building):
                patch.setattr(module, "restore", lambda workdir: _restored)
            yield

    return shared


@pytest.fixture
def restored_once(sharing_the_net):
    """Gives all tests one restored net, so that it is traced once."""
    with sharing_the_net():
        yield
