"""A workdir notices that its images changed, and what was held out stays held out."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tiny_run

from qfa_tf.data import DATASETS, DataSplits, load
from qfa_tf.runs import ConfigError, Workdir, WorkdirError, train
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.data_record import DataRecord
from qfa_tf.runs.measurement import workdir_evaluator
from qfa_tf.runs.run_data import open_data

COUNT = 30


@pytest.fixture
def photos(tmp_path):
    """A folder with four classes of 30 images."""
    images = tiny_run.load_bright_corners(8)
    everything = images.train.source
    for place in range(4 * COUNT):
        label = int(everything.labels(np.array([place]))[0])
        path = tmp_path / "photos" / "abcd"[label] / f"{place:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.round(everything.images[place] * 255).astype(np.uint8)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    return tmp_path / "photos"


@pytest.fixture
def of_photos(config, photos):
    config.data.name = f"folder:{photos}"
    config.training.batch_size = 8
    config.data.calibration_batches = 2
    return complete_config(config)


@pytest.fixture
def workdir(of_photos, tmp_path):
    """Made, not trained."""
    made = Workdir(tmp_path / "run")
    made.claim(of_photos)
    return made


def held_out(data):
    return {
        name: set(getattr(data, name).content_ids().tolist())
        for name in ("search_validation", "test")
    }


def pretend_training(workdir):
    """A checkpoint, as far as the data is concerned."""
    workdir.checkpoints.mkdir()
    (workdir.checkpoints / "ckpt-3.index").write_bytes(b"")
    (workdir.checkpoints / "checkpoint").write_text('all_model_checkpoint_paths: "ckpt-3"\n')


def said(console):
    return console.file.getvalue()


def test_a_workdir_notes_its_images(workdir, of_photos, console):
    first = open_data(workdir, of_photos, console)
    assert said(console) == ""  # no bar where nobody watches, no line of it
    noted = json.loads(workdir.data_json.read_text())
    assert noted["images"]["search_validation"] == len(first.search_validation)
    assert noted["split_by"] == "images"
    assert noted["skipped_damaged"] == []
    assert DataRecord.read(workdir).members.fingerprint == noted["fingerprint"]
    content = workdir.data_images.read_bytes()
    again = open_data(workdir, of_photos, console)
    np.testing.assert_array_equal(again.train.indices, first.train.indices)
    assert workdir.data_images.read_bytes() == content


def test_other_images_are_said_and_refused(workdir, of_photos, photos, console):
    open_data(workdir, of_photos)
    (photos / "a" / "000.png").unlink()
    (photos / "b" / "001.png").rename(photos / "b" / "x.png")
    shutil.copy(photos / "c" / "002.png", photos / "d" / "007.png")
    shutil.copy(photos / "c" / "002.png", photos / "d" / "new.png")
    before = workdir.data_images.read_bytes()
    with pytest.raises(WorkdirError, match=r"1 added, 1 removed, 1 changed, 1 renamed.*=ok"):
        open_data(workdir, of_photos, console)
    assert workdir.data_images.read_bytes() == before
    with pytest.raises(WorkdirError, match="1 added"):
        workdir_evaluator_of(workdir)


def workdir_evaluator_of(workdir):
    pretend_training(workdir)
    (workdir.checkpoints / "ckpt-3.data-00000-of-00001").write_bytes(b"")
    return workdir_evaluator(workdir, tiny_run.tiny_space())


@pytest.mark.parametrize("sizes", [{}, {"search_validation": 20, "test": 20}])
def test_with_permission_known_images_keep_their_splits(workdir, of_photos, photos, console, sizes):
    for key, value in sizes.items():
        of_photos.data[key] = value
    first = open_data(workdir, of_photos)
    for name in ("a/000.png", "b/001.png", "c/002.png", "d/007.png", "a/004.png"):
        (photos / name).unlink()
    now = open_data(workdir, of_photos, console, changed_data=True)
    assert "0 added, 5 removed, 0 changed" in said(console)
    assert "keep their splits" in said(console)
    before, after = held_out(first), held_out(now)
    assert all(after[name] <= before[name] for name in before)
    trained = set(now.train.content_ids().tolist())
    assert trained <= set(first.train.content_ids().tolist())
    again = open_data(workdir, of_photos)  # now it is the set of the workdir
    np.testing.assert_array_equal(again.train.indices, now.train.indices)
    np.testing.assert_array_equal(again.calibration.indices, now.calibration.indices)


def test_workdirs_of_today_keep_their_splits_and_say_so(workdir, of_photos, photos, console):
    today = load(of_photos.data.name, 8, rule="positions")
    assert held_out(today) != held_out(load(of_photos.data.name, 8))
    pretend_training(workdir)
    kept = open_data(workdir, of_photos, console)
    assert "keeps its splits, which were drawn by position" in said(console)
    for name in ("train", "calibration", "search_validation", "test"):
        np.testing.assert_array_equal(getattr(kept, name).indices, getattr(today, name).indices)
    (photos / "a" / "000.png").unlink()
    with pytest.raises(WorkdirError, match="0 added, 1 removed"):
        open_data(workdir, of_photos)
    now = open_data(workdir, of_photos, changed_data=True)
    assert not set(now.train.content_ids()) & set().union(*held_out(today).values())


def test_published_sets_need_no_such_note(config, tmp_path, console):
    config = complete_config(config)
    config.data.name = "digits"
    workdir = Workdir(tmp_path / "digits")
    with pytest.raises(ConfigError, match="classes"):  # the tiny space has four
        open_data(workdir, config, console)
    assert not workdir.path.exists()


def test_images_of_other_channels_are_refused_with_the_key_that_fits(of_photos, tmp_path):
    config = type(of_photos)(of_photos.to_dict())
    config.space.input_channels = 3
    with pytest.raises(
        ConfigError, match=r"4 classes and 1 .* takes 4 and 3.*with --recipe.space.input_channels=1"
    ):
        open_data(Workdir(tmp_path / "run"), config)
    config.space.input_channels, config.space.num_classes = 1, 7
    with pytest.raises(ConfigError, match=r"train with --recipe.space.num_classes=4, or"):
        open_data(Workdir(tmp_path / "run"), config)


def test_a_training_from_a_workdir_keeps_what_is_held_out_there(workdir, of_photos, tmp_path):
    parent = open_data(workdir, of_photos)
    record = DataRecord.read(workdir)
    swapped = record.members.split.copy()
    swapped[record.members.split == 2] = 0
    swapped[np.flatnonzero(record.members.split <= 1)[:9]] = 2
    moved = type(record.members)(
        *(getattr(record.members, n) for n in ("content", "name", "label")), swapped
    )
    DataRecord(record.name, record.rule, moved).write(workdir)
    child_config = type(of_photos)(of_photos.to_dict())
    child_config.training.initial_checkpoint = str(workdir)
    child = Workdir(tmp_path / "child")
    child.claim(child_config)
    data = open_data(child, child_config)
    assert len(data.search_validation) == 9
    assert not set(data.train.content_ids()) & set(data.search_validation.content_ids())
    assert held_out(data) != held_out(parent)


def test_a_training_from_a_trained_workdir_draws_new_images_as_that_one(
    workdir, of_photos, photos, tmp_path, console
):
    parent = open_data(workdir, of_photos)
    pretend_training(workdir)
    child_config = type(of_photos)(of_photos.to_dict())
    child_config.training.initial_checkpoint = str(workdir)
    new = [tf.io.encode_png(np.full((8, 8, 1), value, np.uint8)).numpy() for value in range(40)]
    for number, content in enumerate(new):
        (photos / "a" / f"new{number:03}.png").write_bytes(content)
    child = Workdir(tmp_path / "child")
    child.claim(child_config)
    data = open_data(child, child_config, console)
    assert "by position" not in said(console)
    assert DataRecord.read(child).rule == DataRecord.read(workdir).rule == "images"
    drawn = held_out(load(of_photos.data.name, 8))  # by the images alone
    before, after = held_out(parent), held_out(data)
    assert all(after[name] == drawn[name] and before[name] < after[name] for name in before)


def test_damaged_images_are_left_out_on_request_and_noted(workdir, of_photos, photos, console):
    for name in ("a/000.png", "b/001.png"):
        (photos / name).write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"2 of the 120 image files.*--skip_damaged.*a/000.png"):
        open_data(workdir, of_photos, console)
    data = open_data(workdir, of_photos, console, skip_damaged=True)
    assert "Left out 2 damaged images of 120" in said(console)
    assert json.loads(workdir.data_json.read_text())["skipped_damaged"] == [
        "a/000.png",
        "b/001.png",
    ]
    again = open_data(workdir, of_photos)  # as a search does, which has no such flag
    np.testing.assert_array_equal(again.train.indices, data.train.indices)
    (photos / "c" / "002.png").write_bytes(b"")
    with pytest.raises(WorkdirError, match=r"1 image files are damaged that were not.*c/002.png"):
        open_data(workdir, of_photos)


def test_a_damaged_note_is_refused(workdir, of_photos):
    open_data(workdir, of_photos)
    workdir.data_images.write_bytes(workdir.data_images.read_bytes()[:99])
    with pytest.raises(WorkdirError, match=r"data_images.npz is damaged .*held out"):
        open_data(workdir, of_photos)


def test_images_of_a_loader_of_ones_own(config, tmp_path, monkeypatch):
    source = tiny_run.load_bright_corners(8).train.source
    places = np.arange(120)

    def mine(resolution):
        labels = source.labels(places)
        return DataSplits.from_arrays((source.images[places], labels), resolution=resolution)

    monkeypatch.setitem(DATASETS, "mine", mine)
    config.data.name = "mine"
    config = complete_config(config)
    workdir = Workdir(tmp_path / "run")
    workdir.claim(config)
    first = open_data(workdir, config)
    places = np.arange(3, 125)
    with pytest.raises(WorkdirError, match="5 added, 3 removed, 0 changed"):
        open_data(workdir, config)
    now = open_data(workdir, config, changed_data=True)
    assert not set(now.train.content_ids()) & set().union(*held_out(first).values())


def test_training_refuses_changed_images_and_goes_on_with_permission(
    of_photos, photos, tmp_path, console
):
    of_photos.training.stage_bits, of_photos.training.stage_steps = ((4, 8),), (2,)
    of_photos.training.warmup_steps = of_photos.training.probe_epochs = 0
    workdir = Workdir(tmp_path / "run")
    train(of_photos, workdir, console)
    first = open_data(workdir, of_photos)
    (photos / "a" / "000.png").unlink()
    with pytest.raises(WorkdirError, match="0 added, 1 removed"):  # though it is finished
        train(of_photos, workdir, console)
    with pytest.raises(WorkdirError, match="0 added, 1 removed"):
        workdir_evaluator(workdir, tiny_run.tiny_space())
    train(of_photos, workdir, console, changed_data=True)
    now = open_data(workdir, of_photos)
    assert not set(now.train.content_ids()) & set().union(*held_out(first).values())
    assert workdir_evaluator(workdir, tiny_run.tiny_space()).images == len(now.search_validation)


def test_a_training_without_usable_images_claims_nothing(workdir, of_photos, photos, console):
    broken = complete_config(of_photos)
    broken.data.name = f"folder:{photos}/none"
    new = Workdir(workdir.path.parent / "new")
    with pytest.raises(ConfigError):
        train(broken, new, console)
    assert "Loading" in console.file.getvalue()
    damaged = next(photos.rglob("*.png"))
    damaged.write_bytes(b"none")
    with pytest.raises(ConfigError, match="damaged"):
        train(of_photos, new, console)
    assert [path.name for path in new.path.iterdir()] == [new.lock_file.name]
    assert new.claim(broken) == broken  # another config may have it
