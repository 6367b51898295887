"""A subnet trained further from its supernet: what it starts from, resuming, and its gain."""

import numpy as np
import pytest

import qfa_tf
from qfa_tf.runs import RunError, Workdir, export_model, finetune
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.finetuning_run import FineTuning, tuning_config
from qfa_tf.search import Evaluation

pytestmark = pytest.mark.xdist_group("runs")


def test_a_tuned_subnet_is_measured_and_exported(run_copy, tiny_space, tmp_path, console):
    path = tmp_path / "mine.json"
    path.write_text(tiny_space.smallest(bits=4).to_json())
    found = finetune(run_copy, architecture_file=path, name="tuned", epochs=1, console=console)
    assert found.workdir.path == run_copy.path / "finetuned" / "tuned"
    assert newest(found.workdir.checkpoints).name == "ckpt-4"
    assert found.before.images == found.after.images == 52
    assert found.gain == found.after.accuracy - found.before.accuracy
    assert 0 <= found.p_value <= 1
    told = console.file.getvalue().replace("\n", " ")
    assert "Without retraining" in told
    assert "points on the same 52 search-validation images" in told
    assert "points on the same 52 test images, by which nothing was chosen" in told
    assert [one.images for one in found.unseen] == [52, 52]
    assert f"Next: python apps/export.py --workdir={found.workdir}" in told

    # The same call finds everything done; another schedule under that name is refused.
    before = newest(found.workdir.checkpoints).with_suffix(".index").stat().st_mtime_ns
    again = qfa_tf.finetune(str(run_copy.path), architecture_file=path, name="tuned", epochs=1)
    assert (again.before, again.after) == (found.before, found.after)
    assert newest(found.workdir.checkpoints).with_suffix(".index").stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"belongs to another config: training\.stage_steps"):
        finetune(run_copy, architecture_file=path, name="tuned", epochs=2, console=console)

    record = export_model(found.workdir, console=console)
    assert record.architecture == tiny_space.smallest(bits=4)
    assert record.verification["mismatches"] == 0
    with pytest.raises(RunError, match="holds one subnet that was trained alone"):
        finetune(found.workdir, console=console)


def test_the_schedule_is_the_last_stage_at_a_tenth_of_the_rate(config):
    tuned = tuning_config(config, Workdir("w"), "{}", 5, None).training
    assert tuned.stage_bits == ((4, 8),)
    assert (tuned.stage_steps, tuned.warmup_steps) == ((20,), 2)
    assert tuned.learning_rate == pytest.approx(0.005)
    assert tuned.batch_size == config.training.batch_size
    config.training.learning_rate = 0.05
    with config.ignore_type():
        config.training.learning_rate = (0.1, 0.2, 0.4)
    assert tuning_config(
        config, Workdir("w"), "{}", 1, None
    ).training.learning_rate == pytest.approx(0.04)
    assert tuning_config(config, Workdir("w"), "{}", 1, 0.3).training.learning_rate == 0.3


def test_a_gain_within_noise_is_said_to_be():
    def evaluation(wrong):
        right = np.ones(300, np.uint8)
        right[:wrong] = 0
        return Evaluation(1 - wrong / 300, 0.1, 300, right.tobytes())

    on = "points on the same 300 search-validation images"
    small = FineTuning(Workdir("w"), evaluation(10), evaluation(9))
    assert f"+0.33 {on}: what noise can explain (p = 1)" in str(small)
    large = FineTuning(Workdir("w"), evaluation(30), evaluation(9))
    assert f"+7.00 {on}: beyond noise (p = 9.5e-07)" in str(large)


def test_nothing_begins_with_a_wrong_argument(run_copy, console):
    with pytest.raises(RunError, match="epochs must be at least 1"):
        finetune(run_copy, epochs=0, console=console)
    assert not (run_copy.path / "finetuned").exists()
