"""Checkpoints are restored wherever they stand; damage is refused, never overwritten."""

import csv
import shutil

import pytest
from file_limit import files_no_larger_than

from qfa_tf.runs import CheckpointError, Workdir, WorkdirError, restore, train
from qfa_tf.runs.building import build_net, build_optimizer, build_training
from qfa_tf.runs.checkpoints import TrainingState, newest
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.errors import CheckpointWriteError
from qfa_tf.runs.training.progress import Progress

pytestmark = pytest.mark.xdist_group("runs")


TIMES = ("seconds", "images_per_second")


def files_of(workdir):
    paths = sorted(path for path in workdir.path.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in paths}


def rows_of(path):
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def weights_of(workdir):
    net, key = restore(workdir)
    return [weight.numpy() for weight in net.weights], key


def test_finished_run_does_nothing(run_copy, config, console):
    before = files_of(run_copy)
    train(config, run_copy, console)
    assert "is finished: 8 steps" in console.file.getvalue()
    assert files_of(run_copy) == before


@pytest.mark.parametrize("damage", ["truncated data", "changed data", "truncated index", "no data"])
def test_damaged_checkpoint_is_named_and_kept(run_copy, damage):
    data = run_copy.checkpoints / "ckpt-8.data-00000-of-00001"
    index = run_copy.checkpoints / "ckpt-8.index"
    victim = index if damage == "truncated index" else data
    content = victim.read_bytes()
    if damage == "no data":
        victim.unlink()
    elif damage == "changed data":
        middle = len(content) // 2
        victim.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    else:
        victim.write_bytes(content[: len(content) // 2])
    before = files_of(run_copy)
    with pytest.raises(CheckpointError, match=r"left as it is; remove .*ckpt-8\.\*") as caught:
        restore(run_copy)
    assert victim.name.split("-0")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_of(run_copy) == before

    data.unlink(missing_ok=True)
    index.unlink()
    assert restore(run_copy)[1].startswith("step-4-")


def test_damaged_list_of_checkpoints(run_copy):
    state = run_copy.checkpoints / "checkpoint"
    state.write_text("")
    with pytest.raises(CheckpointError, match="remove it to continue with the newest"):
        restore(run_copy)
    state.unlink()
    assert newest(run_copy.checkpoints).name == "ckpt-8"
    (run_copy.checkpoints / "ckpt-8.index").write_bytes(b"half")
    assert newest(run_copy.checkpoints).name == "ckpt-4"


def test_full_disk_keeps_earlier_checkpoints(run_copy, config):
    config = complete_config(config)
    net = build_net(config)
    net.compile(optimizer=build_optimizer(config), training=build_training(config))
    net.optimizer.build(net.trainable_variables)
    state = TrainingState(run_copy.checkpoints, net)
    assert state.resume().step == 8
    with (
        pytest.raises(CheckpointWriteError, match=r"checkpoint of step 9 .*free some space"),
        files_no_larger_than(1024),
    ):
        state.save(Progress(9, 3, 2))
    assert newest(run_copy.checkpoints).name == "ckpt-8"
    assert restore(run_copy)[1].startswith("step-8-")


def test_moved_workdir_is_restored(run_copy, tmp_path):
    shutil.move(run_copy.path, tmp_path / "elsewhere")
    assert restore(Workdir(tmp_path / "elsewhere"))[1].startswith("step-8-")


def test_other_config_is_refused_before_anything(run_copy, config, console):
    config.training.seed = 4
    before = files_of(run_copy)
    with pytest.raises(WorkdirError, match=r"training\.seed is 3 there and 4 here"):
        train(config, run_copy, console)
    assert files_of(run_copy) == before


def test_no_checkpoint_names_the_training_command(tmp_path, config):
    workdir = Workdir(tmp_path / "new")
    workdir.claim(config)
    with pytest.raises(CheckpointError, match=r"Train first.*python apps/train\.py"):
        restore(workdir)
