"""Workers on a local Ray cluster, one of which is killed in mid-run."""

import functools
import os
import pathlib
import sys

import pytest
from logging_evaluator import LoggingEvaluator, finished
from planted import PlantedEvaluator, planted_accuracy

from qfa_tf.search import EvaluationStore, ExactNSGA2, StoredEvaluator, search

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    folders = os.pathsep.join([str(pathlib.Path(__file__).parent), *sys.path])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": folders}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def make_pool(tmp_path):
    from qfa_tf.search.ray_pool import RayPool

    pools = []

    def make(**options):
        factory = functools.partial(LoggingEvaluator, str(tmp_path), **options)
        pools.append(RayPool(factory, 2, PlantedEvaluator()))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def test_a_killed_worker_loses_and_repeats_nothing(make_pool, space, all_genomes, tmp_path):
    pool = make_pool(deadly={tuple(all_genomes[7].tolist()): 1}, seconds=0.02)
    with EvaluationStore(tmp_path / "run" / "evaluations.sqlite", space) as store:
        results = StoredEvaluator(pool, store).evaluate(all_genomes[:20])
        assert len(store) == 20
    assert [r.accuracy for r in results] == [planted_accuracy(g) for g in all_genomes[:20]]
    assert len(list(tmp_path.glob("died-*"))) == 1
    assert len(finished(tmp_path)) == 20
    assert set(finished(tmp_path).values()) == {1}
    assert len(list(tmp_path.glob("log-*"))) == 3  # two workers and the one that replaced one
    assert os.getpid() not in pool.process_ids


def test_a_search_ends_as_without_ray_and_errors_come_through(
    make_pool, space, cost, all_genomes, planted
):
    arguments = {"strategy": ExactNSGA2(10, 3), "seed": 2}
    expected = search(space, cost, planted(), **arguments)
    looked_at = {candidate.genome for candidate in expected.candidates}
    other = next(g for g in all_genomes if tuple(g.tolist()) not in looked_at)
    pool = make_pool(failing=(tuple(other.tolist()),))
    assert search(space, cost, pool, **arguments) == expected
    with pytest.raises(ValueError, match="no such subnet"):
        pool.evaluate(other[None])
    from qfa_tf.search.evaluator_pool import WorkerDeathError

    deadly = make_pool(deadly={tuple(all_genomes[3].tolist()): 99})
    pool.close()
    with pytest.raises(WorkerDeathError, match="3 Ray workers died"):
        deadly.evaluate(all_genomes[:4])
