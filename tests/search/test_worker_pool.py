"""Several evaluating processes: order, errors, deaths."""

import functools
import os
import signal

import numpy as np
import pytest
from logging_evaluator import LoggingEvaluator, finished
from planted import PlantedEvaluator, planted_accuracy

from qfa_tf.search import EvaluationStore, ExactNSGA2, StoredEvaluator, search
from qfa_tf.search.evaluator_pool import WorkerDeathError
from qfa_tf.search.worker_pool import WorkerPool


@pytest.fixture
def make_pool(tmp_path):
    pools = []

    def make(workers=2, **options):
        factory = functools.partial(LoggingEvaluator, str(tmp_path), **options)
        pools.append(WorkerPool(factory, workers, PlantedEvaluator()))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def test_results_come_in_order_and_processes_start_when_needed(make_pool, all_genomes, tmp_path):
    pool = make_pool()
    assert pool.process_ids == []
    results = pool.evaluate(all_genomes[:25])
    assert [r.accuracy for r in results] == [planted_accuracy(g) for g in all_genomes[:25]]
    assert len(pool.process_ids) == 2
    first = pool.process_ids
    (partly,) = pool.evaluate(all_genomes[[700]], images=300)
    (hopeless,) = pool.evaluate(all_genomes[[700]], to_beat=np.array([1.0]))
    assert partly.images == 300
    assert hopeless.images < 1000
    assert pool.process_ids == first
    assert os.getpid() not in first
    for process in pool.process_ids:
        os.kill(process, signal.SIGKILL)
    results = pool.evaluate(all_genomes[30:36])
    assert [r.accuracy for r in results] == [planted_accuracy(g) for g in all_genomes[30:36]]
    assert set(pool.process_ids).isdisjoint(first)
    assert len(finished(tmp_path)) == 25 + 1 + 6


def test_a_search_does_not_depend_on_the_number_of_workers(make_pool, space, cost, planted):
    arguments = {"strategy": ExactNSGA2(10, 3), "seed": 2}
    expected = search(space, cost, planted(), **arguments)
    assert search(space, cost, make_pool(3), **arguments) == expected


def test_a_dead_worker_is_replaced_and_errors_come_through(make_pool, space, all_genomes, tmp_path):
    deadly = {tuple(all_genomes[5].tolist()): 1, tuple(all_genomes[11].tolist()): 2}
    pool = make_pool(deadly=deadly, failing=(tuple(all_genomes[30].tolist()),))
    with EvaluationStore(tmp_path / "run" / "evaluations.sqlite", space) as store:
        results = StoredEvaluator(pool, store).evaluate(all_genomes[:20])
        assert len(store) == 20
    assert [r.accuracy for r in results] == [planted_accuracy(g) for g in all_genomes[:20]]
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert set(finished(tmp_path).values()) == {1}
    assert len(finished(tmp_path)) == 20
    with pytest.raises(ValueError, match="no such subnet"):
        pool.evaluate(all_genomes[28:32])
    assert pool.evaluate(all_genomes[:1])[0] == results[0]
    with pytest.raises(ValueError, match="workers must be at least 1"):
        make_pool(workers=0)


def test_a_genome_that_kills_every_worker_is_given_up(make_pool, space, all_genomes, tmp_path):
    pool = make_pool(1, deadly={tuple(all_genomes[3].tolist()): 99})
    with EvaluationStore(tmp_path / "run" / "evaluations.sqlite", space) as store:
        evaluator = StoredEvaluator(pool, store)
        with pytest.raises(WorkerDeathError, match=r"3 worker processes died.*fewer --workers"):
            evaluator.evaluate(all_genomes[:4])
        assert len(store) == 3
    assert pool.process_ids == []
