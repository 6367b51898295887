"""The store of evaluations: reuse, refusal, kills and full disks."""

import math
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from planted import planted_accuracy

from qfa_tf.search import (
    Evaluation,
    EvaluationStore,
    StoredEvaluator,
    StoreError,
    StoreWriteError,
)

KEYS = ("step-100", "30x64-seed0", "search_validation")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "evaluations.sqlite"


def put(store, genome, accuracy=0.5, keys=KEYS, loss=1.0):
    store.put(genome, *keys, accuracy=accuracy, loss=loss, images=100, seconds=0.1)


def put_all(store, genomes):
    for genome in genomes:
        put(store, genome)


def test_results_survive_closing(path, space, all_genomes):
    with EvaluationStore(path, space) as store:
        put(store, all_genomes[3], 0.25)
        put(store, all_genomes[4], 0.75, loss=math.nan)
    with EvaluationStore(path, space) as store:
        assert len(store) == 2
        missing, first, second = store.get_many(all_genomes[2:5], *KEYS)
    assert missing is None
    assert (first.accuracy, first.loss, first.images, first.split) == (0.25, 1.0, 100, KEYS[2])
    assert first.seconds == 0.1
    assert first.created.endswith("+00:00")
    assert math.isnan(second.loss)


def test_every_key_counts(path, space, all_genomes):
    with EvaluationStore(path, space) as store:
        put(store, all_genomes[0])
        for i in range(3):
            other = tuple("other" if j == i else key for j, key in enumerate(KEYS))
            assert store.get_many(all_genomes[:1], *other) == [None]
        put(store, all_genomes[0], 0.9)
        assert len(store) == 1
        assert store.get_many(all_genomes[:1], *KEYS)[0].accuracy == 0.9


def test_a_store_of_another_space_is_refused_and_untouched(path, space, all_genomes):
    with EvaluationStore(path, space) as store:
        put(store, all_genomes[0])
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"holds evaluations of space 'enumerable'.*'other'"):
        EvaluationStore(path, space.replace(name="other"))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("keep", [10, 50, 2000, 5000])
def test_truncated_files_are_refused_and_untouched(path, space, all_genomes, keep):
    with EvaluationStore(path, space) as store:
        put_all(store, all_genomes[:200])
    content = path.read_bytes()[:keep]
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged or no evaluation store.*left as it is"):
        EvaluationStore(path, space)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_foreign_files_are_refused_and_untouched(path, space):
    path.parent.mkdir()
    path.write_text("accuracy,loss\n")
    with pytest.raises(StoreError, match="does not start like an SQLite file"):
        EvaluationStore(path, space)
    assert path.read_text() == "accuracy,loss\n"
    path.unlink()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    foreign.close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        EvaluationStore(path, space)
    assert path.read_bytes() == content


def test_other_schema_versions_are_refused(path, space):
    EvaluationStore(path, space).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StoreError, match="schema version 7; this program reads 1"):
        EvaluationStore(path, space)


def test_a_kill_before_the_tables_were_made_is_no_damage(path, space):
    path.parent.mkdir()
    path.touch()
    EvaluationStore(path, space).close()
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with EvaluationStore(path, space) as store:
        assert len(store) == 0


KILLED = """
import os, sys
import numpy as np
from qfa_tf.search import EvaluationStore
from qfa_tf.space import SearchSpace
store = EvaluationStore(sys.argv[1], SearchSpace.from_json(sys.argv[2]))
store.put(np.array(eval(sys.argv[3])), "c", "k", "s", accuracy=0.5, loss=1, images=1, seconds=1)
os._exit(9)
"""


def put_and_be_killed(path, space, genome):
    """Leaves the result in the write-ahead log."""
    arguments = [str(path), space.to_json(), str(genome.tolist())]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == 9
    assert path.with_name(path.name + "-wal").exists()


def test_results_survive_a_kill(path, space, all_genomes):
    put_and_be_killed(path, space, all_genomes[0])
    with EvaluationStore(path, space) as store:
        assert store.get_many(all_genomes[:1], "c", "k", "s")[0].accuracy == 0.5


def test_the_store_of_another_space_is_untouched_after_a_kill_too(path, space, all_genomes):
    put_and_be_killed(path, space, all_genomes[0])
    log = path.with_name(path.name + "-wal")
    before = path.read_bytes(), log.read_bytes()
    with pytest.raises(StoreError, match="holds evaluations of space 'enumerable'"):
        EvaluationStore(path, space.replace(name="other"))
    assert (path.read_bytes(), log.read_bytes()) == before


def test_a_full_disk_is_reported_and_keeps_earlier_results(path, space, all_genomes):
    with EvaluationStore(path, space) as store:
        put(store, all_genomes[0])
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreWriteError, match=r"disk is full.*Earlier results are kept"):
            put_all(store, all_genomes[1:])
        assert store.get_many(all_genomes[:1], *KEYS)[0].accuracy == 0.5


def test_an_impossible_path_is_reported(tmp_path, space):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match="Could not write"):
        EvaluationStore(tmp_path / "file" / "evaluations.sqlite", space)


def test_nothing_is_evaluated_twice(path, space, all_genomes, planted):
    inner = planted()
    with EvaluationStore(path, space) as store:
        evaluator = StoredEvaluator(inner, store)
        first = evaluator.evaluate(all_genomes[[5, 6, 5]])
        assert first[0] == first[2]
        assert (evaluator.hits, evaluator.misses, len(inner.seen)) == (0, 2, 2)
        assert evaluator.evaluate(all_genomes[[6, 7]])[0] == first[1]
        assert (evaluator.hits, evaluator.misses, len(inner.seen)) == (1, 3, 3)
        assert evaluator.split == "search_validation"


def test_a_kill_loses_nothing_that_was_finished(path, space, all_genomes, planted):
    with (
        EvaluationStore(path, space) as store,
        pytest.raises(KeyboardInterrupt),
    ):
        StoredEvaluator(planted(limit=8), store).evaluate(all_genomes[:20])
    with EvaluationStore(path, space) as store:
        assert len(store) == 8


def test_full_partial_and_abandoned_measurements_are_kept_apart(path, space, all_genomes, planted):
    genome = all_genomes[[700]]
    accuracy = planted_accuracy(genome[0])
    assert accuracy < 0.9
    inner = planted()
    with EvaluationStore(path, space) as store:
        evaluator = StoredEvaluator(inner, store)
        (partly,) = evaluator.evaluate(genome, images=300)
        (hopeless,) = evaluator.evaluate(genome, to_beat=np.array([1.0]))
        assert (partly.images, inner.abandoned) == (300, [tuple(genome[0])])
        assert hopeless.images < 1000
        # The same rival, or a better one: answered without measuring.
        assert evaluator.evaluate(genome, to_beat=np.array([1.0])) == [hopeless]
        assert (evaluator.hits, evaluator.misses) == (1, 2)
        # A weaker rival, or none: the abandoned measurement does not answer.
        (full,) = evaluator.evaluate(genome, to_beat=np.array([accuracy]))
        assert full.images == 1000
        assert evaluator.evaluate(genome) == [full]
        assert evaluator.evaluate(genome, to_beat=np.array([1.0])) == [full]
        assert evaluator.evaluate(genome, images=300) == [partly]
        assert evaluator.evaluate(genome, images=1000) == [full]
        assert evaluator.misses == 3
        assert len(store) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [((1.5, 0.0, 1), "fraction"), ((math.nan, 0.0, 1), "fraction"), ((0.5, 0.0, 0), "one image")],
)
def test_impossible_evaluations_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(*values)


def test_evaluations_become_plain_numbers():
    evaluation = Evaluation(np.float32(0.5), np.inf, np.int64(3))
    assert type(evaluation.accuracy) is float
    assert type(evaluation.images) is int
    assert math.isnan(evaluation.loss)
