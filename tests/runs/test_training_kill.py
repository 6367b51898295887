"""SIGTERM, kill -9 and a second training at once, with real processes."""

import json
import pathlib
import signal

import numpy as np
import pytest
from processes import finish, training, wait_for
from test_training_resume import rows_of, weights_of

from qfa_tf.runs import Workdir, WorkdirError, train
from qfa_tf.runs.checkpoints import newest

pytestmark = pytest.mark.xdist_group("runs")

EVERY_STEP = "training.checkpoint_minutes=0"


def test_stopped_and_killed_training_equals_the_uninterrupted_one(
    finished_run, config, tmp_path, console
):
    config.training.checkpoint_minutes = 0
    workdir = Workdir(tmp_path / "run")
    paused = pathlib.Path(f"{workdir}.paused")

    with training(workdir, "default", EVERY_STEP, PAUSE_AFTER=2) as process:
        wait_for(paused, process)
        before = newest(workdir.checkpoints)
        with pytest.raises(WorkdirError, match=f"trained by process {process.pid} on"):
            train(config, workdir, console)
        assert newest(workdir.checkpoints) == before
        process.send_signal(signal.SIGTERM)
        paused.unlink()
        status, output = finish(process)
    assert status == 128 + signal.SIGTERM
    assert "Stopped by SIGTERM at step 3 of 8; a checkpoint was saved." in output
    assert "Traceback" not in output
    assert newest(workdir.checkpoints).name == "ckpt-3"

    with training(workdir, "default", EVERY_STEP, PAUSE_BEFORE=4) as process:
        wait_for(paused, process)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
    paused.unlink()
    assert newest(workdir.checkpoints).name == "ckpt-3"
    assert [row["step"] for row in rows_of(workdir.training_csv)] == ["4"]  # of lost work

    train(config, workdir, console)
    assert "Resuming at step 3 of 8" in console.file.getvalue()
    straight = Workdir(finished_run)
    assert [row["step"] for row in rows_of(workdir.training_csv)] == ["4", "8"]
    for file in ("training_csv", "probes_csv", "quantizers_csv"):
        assert rows_of(getattr(workdir, file)) == rows_of(getattr(straight, file))
    for one, other in zip(weights_of(straight)[0], weights_of(workdir)[0], strict=True):
        np.testing.assert_array_equal(one, other)
    probes = [json.loads(run.probes_file.read_text())["accuracy"] for run in (straight, workdir)]
    assert probes[0] == probes[1]
    assert set(probes[0]) == {"4", "8"}
