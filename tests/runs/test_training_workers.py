"""Several replicas train like one: real processes over loopback, and logical devices."""

import contextlib
import json
import pathlib
import signal
import socket

import numpy as np
import pytest
from processes import finish, training, wait_for
from test_training_resume import rows_of

from qfa_tf.runs import ConfigError, Workdir
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.training.workers import Workers, cluster_task

pytestmark = pytest.mark.xdist_group("runs")


NO_PROBES = "training.probe_epochs=0"


def cluster(count=2):
    """TF_CONFIG of each process, on free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


@contextlib.contextmanager
def two_processes(workdir, *changes, **environment):
    """Starts both; the first one, which writes, has the additional environment."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                training(
                    workdir,
                    "multi_worker",
                    NO_PROBES,
                    *changes,
                    TF_CONFIG=text,
                    DUMP_WEIGHTS=f"{workdir}.{index}.npz",
                    **(environment if index == 0 else {}),
                )
            )
            for index, text in enumerate(cluster())
        ]


def weights(path):
    with np.load(path) as file:
        return [file[name] for name in file.files]


def assert_same_training(path, mirrored):
    """Both processes have the same weights, and those of one process with two devices."""
    first, second = weights(f"{path}.0.npz"), weights(f"{path}.1.npz")
    for one, other, expected in zip(first, second, weights(f"{mirrored}.npz"), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
    losses = [
        [float(row["random_loss"]) for row in rows_of(Workdir(run).training_csv)]
        for run in (path, mirrored)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """One process with two devices, uninterrupted."""
    path = tmp_path_factory.mktemp("mirrored") / "run"
    dump = f"{path}.npz"
    with training(path, "mirrored", NO_PROBES, MIRRORED_CPUS=2, DUMP_WEIGHTS=dump) as process:
        yield path, process


def test_two_processes_equal_two_devices(mirrored, tmp_path):
    path = tmp_path / "run"
    with two_processes(path) as processes:
        for process in (*processes, mirrored[1]):
            status, output = finish(process)
            assert status == 0, output
    assert_same_training(path, mirrored[0])
    assert len(list(Workdir(path).logs.glob("events.*"))) == 1  # only one of them writes


@pytest.mark.slow
def test_stopped_processes_resume(mirrored, tmp_path):
    path = tmp_path / "run"
    changes = ("training.checkpoint_minutes=0",)
    with two_processes(path, *changes, PAUSE_AFTER=2) as processes:
        paused = pathlib.Path(f"{path}.paused")
        wait_for(paused, processes[0])
        processes[1].send_signal(signal.SIGTERM)  # only one of them
        paused.unlink()
        ends = [finish(process) for process in processes]
    assert [status for status, _ in ends] == [128 + signal.SIGTERM] * 2
    assert "Stopped by SIGTERM at step" in ends[1][1]
    assert "a signal to another process" in ends[0][1]
    assert newest(Workdir(path).checkpoints).name in ("ckpt-3", "ckpt-4")
    with two_processes(path, *changes) as processes:
        for process in processes:
            status, output = finish(process)
            assert status == 0, output
    mirrored[1].wait()
    assert_same_training(path, mirrored[0])


@pytest.mark.slow
def test_lost_process_is_reported(tmp_path):
    path = tmp_path / "run"
    with two_processes(path, "training.checkpoint_minutes=0", PAUSE_AFTER=2) as processes:
        paused = pathlib.Path(f"{path}.paused")
        wait_for(paused, processes[0])
        processes[1].kill()
        paused.unlink()
        status, output = finish(processes[0])
    assert status == 1
    assert "Process 1 of 2 lost another one" in output
    assert newest(Workdir(path).checkpoints).name in ("ckpt-2", "ckpt-3")


@pytest.mark.parametrize("text", ["", "{", '{"cluster": {}}', '{"cluster": {}, "task": {}}'])
def test_wrong_cluster_is_explained(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=r"needs TF_CONFIG .*host1:2222"):
        cluster_task("multi_worker")
    assert cluster_task("default").is_chief


def test_places_of_processes(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, place in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        content = {"cluster": cluster, "task": {"type": kind, "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(content))
        assert cluster_task("multi_worker") == (place, 3)


def test_replicas_must_share_the_batch():
    workers = Workers()
    workers.check_batch_size(7)
    workers.replicas = 4
    with pytest.raises(ConfigError, match="multiple of the 4 replicas"):
        workers.check_batch_size(7)
    with pytest.raises(ConfigError, match="strategy must be one of"):
        Workers("mirror")
