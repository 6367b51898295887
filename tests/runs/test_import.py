"""Making a workdir out of a file of the official release."""

import json
import pathlib

import numpy as np
import pytest

from qfa_tf.data import DATASETS, DataSplits, Split
from qfa_tf.interop import OfficialStateError, decode_gene, load_official, read_state
from qfa_tf.runs import (
    RunError,
    Workdir,
    WorkdirError,
    evaluate_selection,
    export_model,
    import_official,
    restore,
)
from qfa_tf.runs.building import build_space
from qfa_tf.space import Architecture
from qfa_tf.supernet import QFASupernet

VECTORS = pathlib.Path(__file__).parents[1] / "data" / "official_network_vectors.npz"
COLOURS = "colours"

pytestmark = pytest.mark.xdist_group("official")


def load_colours(resolution):
    """Ten classes of noisy colours."""
    rng = np.random.default_rng(0)
    labels = np.arange(240, dtype=np.int32) % 10
    images = rng.uniform(0, 1, (10, 1, 1, 3))[labels] + rng.normal(0, 0.1, (240, resolution, 1, 3))
    images = np.broadcast_to(np.clip(images, 0, 1), (240, resolution, resolution, 3))
    everything = Split.from_arrays(images.astype(np.float32), labels)
    train, validation, test = np.split(np.arange(240), [160, 200])
    return DataSplits(
        name=COLOURS,
        num_classes=10,
        train=everything.take(train),
        calibration=everything.take(train[:96]),
        search_validation=everything.take(validation),
        test=everything.take(test),
    )


@pytest.fixture
def release_config(config, monkeypatch):
    monkeypatch.setitem(DATASETS, COLOURS, load_colours)
    space = json.loads(config.space.to_json()) | {"resolutions": [64]}
    with config.ignore_type():
        config.space = type(config)(space)
    config.data.name = COLOURS
    return config


def import_narrow(config, path, file=VECTORS, **options):
    import_official(file, config, Workdir(path), width_mult=0.25, **options)


def test_import(release_config, tmp_path, capsys):
    genes = np.load(VECTORS)["net/genes"]
    (tmp_path / "genes.json").write_text(json.dumps(genes.tolist()))
    path = tmp_path / "imported"
    import_narrow(release_config, path, genes=tmp_path / "genes.json")
    assert "Next: python apps/search.py" in capsys.readouterr().out
    net, _ = restore(Workdir(path))
    assert (net.zero_point, net.padding, net.space.resolutions) == ("integer", "symmetric", (64,))
    expected = load_official(read_state(VECTORS), 0.25, 10, resolutions=(64,))
    for there, here in zip(expected.trainable_weights, net.trainable_weights, strict=True):
        np.testing.assert_array_equal(there, here)
    for index, gene in enumerate(genes):
        text = (path / "architectures" / f"gene-{index}.json").read_text()
        assert Architecture.from_json(text) == decode_gene(gene, net.space)

    files = sorted(path.rglob("*"))
    import_narrow(release_config, path)  # the same again
    assert "already" in capsys.readouterr().out
    assert sorted(path.rglob("*")) == files
    with pytest.raises(WorkdirError, match="another imported network"):
        import_narrow(release_config, path, zero_point="fractional")


def test_continues_after_a_kill_before_the_checkpoint(release_config, tmp_path, monkeypatch):
    from qfa_tf.runs.checkpoints import TrainingState

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_narrow(release_config, tmp_path / "imported")
    import_narrow(release_config, tmp_path / "imported")
    restore(Workdir(tmp_path / "imported"))


def test_trained_runs_are_left_alone(release_config, finished_run):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    with pytest.raises(WorkdirError, match="holds a training"):
        import_narrow(release_config, finished_run)
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")} == before


@pytest.mark.parametrize("text", ["no json", '[["a"]]', "[[1, 2], [3]]"])
def test_unreadable_genes(release_config, tmp_path, text):
    (tmp_path / "genes.json").write_text(text)
    with pytest.raises(RunError, match=r"genes\.json"):
        import_narrow(release_config, tmp_path / "new", genes=tmp_path / "genes.json")
    assert not (tmp_path / "new").exists()


def test_other_files_leave_nothing_behind(release_config, tmp_path):
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    with pytest.raises(OfficialStateError, match="official"):
        import_narrow(release_config, tmp_path / "new", file=tmp_path / "other.npz")
    with pytest.raises(OfficialStateError, match="width_mult"):
        import_official(VECTORS, release_config, Workdir(tmp_path / "new"), width_mult=0.5)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_imported_subnet_is_exported(release_config, tmp_path):
    """A random subnet of the imported network, integer for integer."""
    path = tmp_path / "imported"
    import_narrow(release_config, path)
    workdir = Workdir(path)
    space = build_space(workdir.config())
    architecture = space.sample(np.random.default_rng(0))
    (tmp_path / "mine.json").write_text(architecture.to_json())
    evaluate_selection(workdir, architecture_file=tmp_path / "mine.json")
    record = export_model(workdir, architecture_file=tmp_path / "mine.json", name="mine")
    assert record.verification["mismatches"] == 0
    assert isinstance(restore(workdir)[0], QFASupernet)
