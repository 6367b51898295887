"""Intervals, paired tests and ties: noise is not taken for a difference."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from qfa_tf.search import Evaluation, EvaluationStore, StoredEvaluator, parse_constraints
from qfa_tf.search.intervals import mcnemar, wilson, with_interval
from qfa_tf.search.result import Candidate, load_pareto_json
from qfa_tf.search.sensitivity import sensitivity
from qfa_tf.search.store import packed, unpacked

IMAGES = 300


def answers(wrong):
    """Of a network that is wrong on these images."""
    right = np.ones(IMAGES, np.uint8)
    right[list(wrong)] = 0
    return right.tobytes()


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_is_that_of_scipy(correct, more):
    images = correct + more
    expected = scipy.stats.binomtest(correct, images).proportion_ci(method="wilson")
    assert wilson(correct / images, images) == pytest.approx((expected.low, expected.high))


def test_an_interval_in_words():
    assert with_interval(0.975, 200) == "97.50 % (94.3 to 98.9)"
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)
    assert wilson(0.0, 10)[0] == pytest.approx(0.0, abs=1e-12)


@given(st.binary(min_size=20, max_size=60), st.integers(0, 2**32 - 1))
def test_mcnemar_is_the_binomial_test_of_what_differs(bits, seed):
    first = np.frombuffer(bits, np.uint8) & 1
    second = np.random.default_rng(seed).integers(0, 2, len(first), np.uint8)
    one, other = int((first > second).sum()), int((second > first).sum())
    expected = 1.0
    if one + other:
        expected = scipy.stats.binomtest(one, one + other).pvalue
    assert mcnemar(first.tobytes(), second.tobytes()) == pytest.approx(expected)
    assert mcnemar(second.tobytes(), first.tobytes()) == pytest.approx(expected)


def test_networks_are_compared_on_the_same_images():
    with pytest.raises(ValueError, match=r"the same images\. Received: 3 and 4"):
        mcnemar(b"\1\1\1", b"\1\1\1\1")


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_answers_fit_into_bits(right):
    bits = np.array(right, np.uint8).tobytes()
    assert unpacked(packed(bits), len(right)) == bits


def candidate(genome, wrong, cost, kept=True):
    wrong = list(wrong)
    return Candidate(
        genome=tuple(genome),
        accuracy=1 - len(wrong) / IMAGES,
        loss=0.1,
        images=IMAGES,
        costs={"macs": cost * 1.0, "mflops_8bit": cost * 1.0},
        generation=1,
        answers=answers(wrong) if kept else None,
    )


@pytest.fixture
def front(space, cost):
    """A front of three: the cheapest is worse beyond noise, the second within it."""
    from qfa_tf.search import ExactNSGA2, search

    class One:
        checkpoint_key, calibration_key, split = "c", "k", "search_validation"
        images, calibration_images = IMAGES, 1

        def evaluate(self, genomes, **limits):
            return [Evaluation(0.5, 0.5, IMAGES) for _ in genomes]

    found = search(space, cost, One(), strategy=ExactNSGA2(3, 1))
    genomes = [one.genome for one in found.candidates[:3]]
    members = (
        candidate(genomes[0], range(30), 1),
        candidate(genomes[1], [1, 2, 3, 4, 5, 40], 2),
        candidate(genomes[2], [1, 2, 3, 50], 3),
    )
    return dataclasses.replace(found, candidates=members)


def _losing(front, count):
    """The second of the front, wrong where the best one is, and on `count` images more."""
    wrong = [1, 2, 3, 50, *range(60, 60 + count)]
    return candidate(front.candidates[1].genome, wrong, 2)


def test_ties_go_to_the_cheaper(front):
    assert front.front_indices == (0, 1, 2)
    assert mcnemar(front.front[0].answers, front.front[2].answers) < 0.05
    assert mcnemar(front.front[1].answers, front.front[2].answers) > 0.5
    assert (front.best_index, front.tied_indices, front.chosen_index) == (2, {1, 2}, 1)
    order = sorted(range(3), key=front.preference)
    assert order == [1, 2, 0]
    # On as few images a test tells less: five against none is nothing to it, but two errors.
    wide = dataclasses.replace(
        front, candidates=(*front.candidates[:1], _losing(front, 5), front.candidates[2])
    )
    assert (wide.tied_indices, wide.near_indices, wide.chosen_index) == ({1, 2}, {2}, 2)
    # Only among those within the constraints.
    bound = parse_constraints("accuracy>=0.985")
    assert dataclasses.replace(front, constraints=bound).chosen_index == 2
    assert dataclasses.replace(front, minimize=True).chosen_index == 0


def test_without_answers_the_most_accurate_is_chosen(front):
    bare = tuple(dataclasses.replace(one, answers=None) for one in front.candidates)
    bare = dataclasses.replace(front, candidates=bare)
    assert (bare.chosen_index, bare.tied_indices) == (2, {2})


def test_answers_and_choice_are_in_the_file(front, tmp_path):
    front.write_pareto_json(tmp_path / "pareto.json")
    again = load_pareto_json(tmp_path / "pareto.json")
    assert again == front
    assert again.chosen_index == 1


def test_the_store_keeps_answers_and_old_stores_get_the_table(space, tmp_path, all_genomes):
    path, keys = tmp_path / "e.sqlite", ("c", "k", "s")
    with EvaluationStore(path, space) as store:
        fields = {"accuracy": 0.5, "loss": 1.0, "images": 4, "seconds": 0.1}
        store.put(all_genomes[0], *keys, **fields, answers=b"\1\0\0\1")
        store.put(all_genomes[1], *keys, **fields)
        found = store.get_many(all_genomes[:2], *keys)
        assert [one.answers for one in found] == [b"\1\0\0\1", None]
        store.put(all_genomes[0], *keys, **fields)  # a result without answers has none of another
        assert store.get_many(all_genomes[:1], *keys)[0].answers is None
        store._connection.execute("DROP TABLE answers")  # as an earlier release made it
    with EvaluationStore(path, space) as store:
        assert [one.accuracy for one in store.get_many(all_genomes[:2], *keys)] == [0.5, 0.5]


def test_a_search_keeps_the_answers_of_its_front(space, cost, tmp_path):
    from qfa_tf.search import ExactNSGA2, search

    class Answering:
        checkpoint_key, calibration_key, split = "c", "k", "search_validation"
        images, calibration_images = 40, 1

        def evaluate(self, genomes, **limits):
            results = []
            for genome in genomes:
                right = np.random.default_rng(genome).random(40) < 0.8
                answers = right.astype(np.uint8).tobytes()
                results.append(Evaluation(right.mean(), 0.5, 40, answers))
            return results

    with EvaluationStore(tmp_path / "e.sqlite", space) as store:
        results = [
            search(space, cost, StoredEvaluator(Answering(), store), strategy=ExactNSGA2(8, 3))
            for _ in range(2)
        ]
    assert results[0] == results[1]  # the second was answered by the store
    front = set(results[0].front_indices)
    for i, one in enumerate(results[0].candidates):
        assert (one.answers is not None) == (i in front)
        if one.answers is not None:
            assert sum(one.answers) / 40 == one.accuracy


def test_a_change_of_one_image_is_not_real(front, cost):
    """One image of 300 more or less is what chance does."""
    chosen = front.candidates[1]

    def evaluate(genomes):
        wrong = [[1, 2, 3, 4, 5], range(40)]
        return [
            Evaluation(1 - len(wrong[i % 2]) / IMAGES, 0.1, IMAGES, answers(wrong[i % 2]))
            for i in range(len(genomes))
        ]

    changes = sensitivity(chosen, cost, "mflops_8bit", evaluate)
    assert [change.is_real for change in changes[:2]] == [False, True]
