"""What a training leaves for people: tables, TensorBoard files, a picture, warnings."""

import errno
import fcntl
import signal

import numpy as np
import pytest
from file_limit import files_no_larger_than
from test_training_resume import rows_of

from qfa_tf.runs import CheckpointError, Workdir, WorkdirError, restore
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.training.csv_table import CsvTable, read_rows
from qfa_tf.runs.training.lock import training_lock
from qfa_tf.runs.training.log import TrainingLog
from qfa_tf.runs.training.loop import TrainingLoop
from qfa_tf.runs.training.plot import plot_training
from qfa_tf.runs.training.progress import EpochTotals, Progress
from qfa_tf.runs.training.quantizer_table import quantizer_rows
from qfa_tf.runs.training.stop_signals import StopSignals
from quantize_configs.files import FileWriteError

pytestmark = pytest.mark.xdist_group("runs")


def scalars(workdir):
    """{tag: {step: value}} of the TensorBoard files, read as TensorBoard does."""
    import tensorflow as tf

    found = {}
    for path in workdir.logs.glob("events.out.tfevents.*"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, {})[event.step] = number
    return found


def test_epochs(finished_run):
    workdir = Workdir(finished_run)
    rows = rows_of(workdir.training_csv)
    assert [(row["epoch"], row["step"], row["stage"]) for row in rows] == [
        ("1", "4", "2"),
        ("2", "8", "3"),
    ]
    found = scalars(workdir)
    for row in rows:
        for column, tag in (
            ("smallest_loss", "loss/smallest"),
            ("random_accuracy", "accuracy/random"),
            ("gradient_norm", "gradient_norm"),
            ("learning_rate", "learning_rate"),
        ):
            assert float(row[column]) == pytest.approx(found[tag][int(row["step"])], rel=1e-5)
    assert all(float(row["images_per_second"]) > 0 for row in read_rows(workdir.training_csv))


def test_probes(finished_run):
    workdir = Workdir(finished_run)
    rows = rows_of(workdir.probes_csv)
    assert {(row["step"], row["subnet"], row["bits"]) for row in rows} == {
        ("8", subnet, bits) for subnet in ("smallest", "largest") for bits in ("4", "8")
    }
    found = scalars(workdir)
    for row in rows:
        tag = f"probe_accuracy/{row['subnet']}_{row['bits']}bit"
        assert float(row["accuracy"]) == pytest.approx(found[tag][8], abs=1e-6)


def test_quantizers(finished_run, tiny_space):
    workdir = Workdir(finished_run)
    net, _ = restore(workdir)
    rows = {(row["site"], row["bits"]): row for row in rows_of(workdir.quantizers_csv)}
    assert set(rows) == {
        (site.name, str(bits))
        for site in tiny_space.sites
        for bits in ((8,) if site.name in tiny_space.fixed_bits else (4, 8))
    }
    found = scalars(workdir)
    for (site, bits), row in rows.items():
        step = net.precision.weight_step(site, int(bits))
        theta, beta = net.precision.activation_parameters(site, int(bits))
        assert float(row["weight_step"]) == pytest.approx(step, rel=1e-5)
        assert float(row["gamma"]) == pytest.approx(np.log2(1 + 2**theta), rel=1e-5)
        assert float(row["beta"]) == pytest.approx(beta, rel=1e-5, abs=1e-12)
        assert float(row["range_low"]) <= 0 < float(row["range_high"])
        assert found[f"gamma/{site}_{bits}bit"][8] == pytest.approx(float(row["gamma"]), rel=1e-5)


def test_quantizers_of_several_kernels(small_space):
    from qfa_tf import QFASupernet

    net = QFASupernet(small_space)
    rows = list(quantizer_rows(net, {}))
    sizes = [row["kernel_size"] for row in rows if row["site"] == "s1.b1.depthwise"]
    assert sizes == [3, 3, 3, 3, 5, 5, 5, 5]
    for row in rows:
        if row["kernel_size"] != "":
            step = net.precision.weight_step(row["site"], row["bits"], row["kernel_size"])
            assert row["weight_step"] == pytest.approx(step)
        assert (row["range_low"], row["range_high"]) == ("", "")


def test_picture(run_copy):
    picture = run_copy.training_png.read_bytes()
    assert picture.startswith(b"\x89PNG")
    run_copy.training_png.unlink()
    assert plot_training(run_copy)
    assert run_copy.training_png.stat().st_size > 10_000
    run_copy.training_csv.unlink()
    assert not plot_training(run_copy)


def test_table_is_cut_back_and_grows_columns(tmp_path):
    path = tmp_path / "table.csv"
    CsvTable(path, 0).append([{"step": 1, "a": 0.5}, {"step": 2, "a": 1.0}])
    table = CsvTable(path, 1)
    table.append([{"step": 2, "b": "x"}])
    assert read_rows(path) == [{"step": "1", "a": "0.5", "b": ""}, {"step": "2", "a": "", "b": "x"}]
    path.write_text("step,a\n1\n")
    with pytest.raises(WorkdirError, match=r"table\.csv is damaged.*move it away"):
        CsvTable(path, 1)
    assert path.read_text() == "step,a\n1\n"


def test_events_that_cannot_be_written_are_said(tmp_path):
    scalars = [{"subnet": "largest", "bits": bits, "accuracy": 1.0, "loss": 0.5} for bits in "248"]
    log = TrainingLog(Workdir(tmp_path), 0)
    log.write_probes(1, scalars)
    with (
        pytest.raises(FileWriteError, match=r"events for TensorBoard in .*logs: File too large\."),
        files_no_larger_than(200),
    ):
        log._write_scalars(2, {f"a/{number}": 1.0 for number in range(50)})
    with (
        pytest.raises(FileWriteError, match="TensorBoard"),
        files_no_larger_than(0),
    ):
        TrainingLog(Workdir(tmp_path / "other"), 0)


def test_progress_is_exact():
    epoch = EpochTotals()
    values = np.random.default_rng(0).normal(size=7).tolist()
    for value in values:
        epoch.add({"loss": value}, 0.1)
    epoch.add({"other": 3.0}, 0.1)  # a metric of another stage
    again = Progress.from_json(Progress(8, 1, 2, epoch).to_json())
    assert (again.step, again.seed, again.stage) == (8, 1, 2)
    again.epoch.add({"loss": 1.0 / 3}, 0.1)
    epoch.add({"loss": 1.0 / 3}, 0.1)
    assert again.epoch.means() == epoch.means()
    assert again.epoch.means()["other"] == 3.0
    for text in ("{", "[]", '{"schema_version": 9}', '{"schema_version": 1, "step": 1}'):
        with pytest.raises(CheckpointError, match="no progress that this release reads"):
            Progress.from_json(text)


@pytest.mark.parametrize(
    ("before", "now", "warns"), [("0.9", 0.26, True), ("0.9", 0.8, False), ("0.3", 0.26, False)]
)
@pytest.mark.parametrize("role", ["largest", "subnet"])
def test_collapse_is_reported(console, config, role, before, now, warns):
    key = f"{role}_accuracy"

    class Log:
        epochs = ({"step": "1", key: ""}, {key: before})

    class Data:
        num_classes = 4

    loop = TrainingLoop.__new__(TrainingLoop)
    loop._config = complete_config(config)
    loop._config.training.architecture = "{}" * (role == "subnet")
    loop._log, loop._data = Log, Data
    loop._warn_of_collapse(console, {key: now})
    assert ("collapsed to 0.260" in console.file.getvalue()) == warns


@pytest.fixture
def interrupting():
    """Python's own handler of SIGINT, which a shell's background jobs start without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupting")
def test_second_signal_acts_as_always():
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopSignals() as signals:
        assert signals.received is None
        signal.raise_signal(signal.SIGINT)
        assert signals.received is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_lock(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path / "run")
    with training_lock(workdir) as held:
        assert held
        with pytest.raises(WorkdirError, match="is being trained by process"):
            training_lock(workdir).__enter__()
    assert workdir.lock_file.read_text() == ""
    with files_no_larger_than(0), training_lock(workdir) as held:  # as on a full disk
        assert held
        with pytest.raises(WorkdirError, match="is being trained by another process"):
            training_lock(workdir).__enter__()

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with training_lock(workdir) as held:
        assert not held
