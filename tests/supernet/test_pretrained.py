"""Trained supernets that come along: their files, what they know, and workdirs made of them."""

import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from qfa_tf import QFASupernet
from qfa_tf.runs import Workdir, WorkdirError, start_from_pretrained
from qfa_tf.runs.building import build_space
from qfa_tf.runs.measurement import SEARCH_SPLIT, workdir_evaluator
from qfa_tf.supernet import pretrained
from qfa_tf.supernet.pretrained import PretrainedError, read_pretrained, write_pretrained
from quantize_configs.errors import InvalidInputError

ROOT = pathlib.Path(__file__).parents[2]
NAMES = pretrained.pretrained_names()
LARGEST = 10_000_000
"""Bytes of all files together."""


@pytest.fixture
def console():
    return rich.console.Console(file=io.StringIO(), width=100)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A workdir of the supernet of digits."""
    workdir = Workdir(tmp_path_factory.mktemp("pretrained") / "run")
    start_from_pretrained("digits", workdir, console=rich.console.Console(file=io.StringIO()))
    return workdir


def test_there_are_some_and_they_are_small():
    assert "digits" in NAMES
    assert QFASupernet.pretrained() == NAMES
    assert sum(path.stat().st_size for path in pretrained.FOLDER.glob("*.*")) < LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_files_say_what_they_are(name):
    found = read_pretrained(name)
    facts = found.facts
    assert (found.name, facts["name"]) == (name, name)
    assert {"licence", "made", "recipe", "options", "versions", "checkpoint"} <= set(facts)
    assert facts["data"]["licence"]
    assert facts["weights"]["values"] == sum(array.size for array in found.arrays)
    assert all(np.isfinite(array).all() for array in found.arrays)
    for split in (SEARCH_SPLIT, "test"):
        accuracies = dict(facts["accuracy"][split])
        assert accuracies.pop("images") == facts["data"]["images"][split]
        assert all(0.5 < value <= 1 for value in accuracies.values())


def test_the_table_of_the_docs_is_of_these_files():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/write_pretrained_table.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_workdir_of_it_measures_what_the_files_say(digits, console):
    space = build_space(digits.config())
    evaluator = workdir_evaluator(digits, space)
    genome = space.encode(space.largest(bits=2))
    wanted = read_pretrained("digits").facts["accuracy"][SEARCH_SPLIT]["largest, 2 bits"]
    (found,) = evaluator.evaluate(genome[None])
    # The kernels of another processor may round a code of some image the other way.
    assert found.accuracy == pytest.approx(wanted, abs=0.02)
    before = sorted(path.name for path in digits.checkpoints.iterdir())
    start_from_pretrained("digits", digits, console=console)
    assert "holds this supernet already" in console.file.getvalue()
    assert sorted(path.name for path in digits.checkpoints.iterdir()) == before


def test_other_images_and_other_supernets_are_refused(digits, tmp_path, console):
    copy = Workdir(tmp_path / "copy")
    shutil.copytree(digits.path, copy.path)
    source = json.loads(copy.import_file.read_text())
    copy.data_images.unlink(missing_ok=True)
    copy.import_file.write_text(json.dumps(source | {"data_fingerprint": "0" * 12}))
    with pytest.raises(WorkdirError, match="was trained on other images"):
        workdir_evaluator(copy, build_space(copy.config()))
    with pytest.raises(WorkdirError, match="holds another imported network"):
        start_from_pretrained("digits", copy, console=console)
    copy.import_file.unlink()
    with pytest.raises(WorkdirError, match="holds a training"):
        start_from_pretrained("digits", copy, console=console)


@pytest.mark.parametrize("small", [10, 250_000], ids=["halved", "exact"])
def test_files_from_anywhere(small_space, small, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_SMALL", small)
    net = QFASupernet(small_space)
    facts = {
        "name": "mine",
        "space": json.loads(small_space.to_json()),
        "options": {key: value for key, value in net.get_config().items() if key != "space"},
    }
    path = write_pretrained(tmp_path, "mine", pretrained.stored_weights(net), facts)
    again = QFASupernet.from_pretrained(str(path))
    for one, other in zip(net.weights, again.weights, strict=True):
        exact = small > 10 or one.shape.rank < 2 or one.shape.num_elements() < 1024
        np.testing.assert_allclose(
            one, other, rtol=0 if exact else 2**-11, atol=0 if exact else 1e-7
        )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(PretrainedError, match="is damaged"):
        read_pretrained(path)
    few = write_pretrained(tmp_path, "few", pretrained.stored_weights(net)[1:], facts)
    with pytest.raises(PretrainedError, match="made by another version"):
        QFASupernet.from_pretrained(few)
    facts = json.loads(few.with_suffix(".json").read_text())
    few.with_suffix(".json").write_text(json.dumps(facts | {"schema_version": 9}))
    with pytest.raises(PretrainedError, match="schema version 9"):
        read_pretrained(few)
    few.write_bytes(b"")
    digest = hashlib.sha256(b"").hexdigest()
    few.with_suffix(".json").write_text(json.dumps(facts | {"weights": {"sha256": digest}}))
    with pytest.raises(PretrainedError, match="is damaged"):
        read_pretrained(few)


def test_unknown_names_are_sentences(tmp_path):
    with pytest.raises(InvalidInputError, match="There is no trained supernet"):
        QFASupernet.from_pretrained("digitz")
    with pytest.raises(InvalidInputError, match=r"There is no file .*none\.npz"):
        QFASupernet.from_pretrained(str(tmp_path / "none.npz"))
