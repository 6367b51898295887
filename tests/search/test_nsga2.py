"""The search on a space that can be enumerated, its operators, kills and resumption."""

import subprocess
import sys

import numpy as np
import pytest
from planted import planted_accuracy
from pymoo.core.population import Population

from qfa_tf.cost import CostModel
from qfa_tf.search import (
    EvaluationStore,
    InfeasibleBudgetError,
    non_dominated,
    parse_constraints,
    search,
)
from qfa_tf.search.nsga2 import _Tournament
from qfa_tf.search.operators import GeneTable, sample_feasible, uniform_crossover
from qfa_tf.search.run import _Scorer
from qfa_tf.space import GenomeError, SearchSpace, Stage


def true_front(genomes, cost, budget=np.inf):
    accuracy = np.array([planted_accuracy(genome) for genome in genomes])
    costs = cost.evaluate(genomes)["mflops_8bit"]
    affordable = costs <= budget
    accuracy, costs = accuracy[affordable], costs[affordable]
    front = non_dominated(accuracy, costs)
    return list(zip(accuracy[front], costs[front], strict=True))


def found_front(result):
    return [(c.accuracy, c.costs["mflops_8bit"]) for c in result.front]


@pytest.mark.parametrize("budget", [None, 0.06])
def test_finds_the_true_front(space, cost, all_genomes, planted, budget):
    constraints = () if budget is None else f"mflops_8bit<={budget}"
    evaluator = planted()
    result = search(
        space, cost, evaluator, constraints=constraints, population=60, generations=30, seed=1
    )
    expected = true_front(all_genomes, cost, np.inf if budget is None else budget)
    assert found_front(result) == expected
    assert len(expected) > 5
    assert len(evaluator.seen) == len(set(evaluator.seen)) == len(result.candidates)
    assert result.chosen == result.front[-1]


def test_infeasible_candidates_are_never_evaluated(space, cost, planted):
    evaluator = planted()
    search(
        space, cost, evaluator, constraints=["mflops_8bit<=0.06", "params<700"], population=20,
        generations=10,
    )  # fmt: skip
    costs = cost.evaluate(np.array(evaluator.seen))
    assert (costs["mflops_8bit"] <= 0.06).all()
    assert (costs["params"] < 700).all()


def test_progress_and_hypervolume(space, cost, planted):
    log = []
    evaluator = planted()
    search(space, cost, evaluator, population=20, generations=8, seed=2, on_generation=log.append)
    assert [progress.generation for progress in log] == list(range(1, 9))
    assert log[-1].evaluated == len(evaluator.seen)
    volumes = [progress.hypervolume for progress in log]
    assert volumes == sorted(volumes)
    assert 0 < volumes[0] < volumes[-1] < 1


def test_candidates_that_miss_the_accuracy_are_not_chosen(space, cost, planted):
    log = []
    result = search(
        space, cost, planted(), constraints="accuracy>=0.6", population=20, generations=10,
        on_generation=log.append,
    )  # fmt: skip
    assert result.chosen.accuracy >= 0.6
    assert min(candidate.accuracy for candidate in result.candidates) < 0.6
    met = [c for c in result.front if c.accuracy >= 0.6]
    assert log[-1].front_size == len(met)
    hopeless = search(
        space, cost, planted(), constraints="accuracy>=0.9999", population=20, generations=3
    )
    assert hopeless.chosen is None
    assert hopeless.front


def test_the_seed_decides(space, cost, planted):
    def run(seed):
        return search(space, cost, planted(), population=12, generations=5, seed=seed)

    np.random.seed(7)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = run(4)
    assert run(4) == first
    assert run(5).candidates != first.candidates
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("limit", [0, 1, 17, 40])
def test_a_killed_search_resumes_with_nothing_evaluated_twice(
    space, cost, planted, tmp_path, limit
):
    arguments = {"population": 15, "generations": 5, "seed": 9, "constraints": "params<=800"}
    expected = search(space, cost, planted(), **arguments)
    killed, resumed = planted(limit=limit), planted()
    path = tmp_path / "evaluations.sqlite"
    with EvaluationStore(path, space) as store, pytest.raises(KeyboardInterrupt):
        search(space, cost, killed, store=store, **arguments)
    with EvaluationStore(path, space) as store:
        result = search(space, cost, resumed, store=store, **arguments)
    assert result == expected
    assert killed.seen + resumed.seen == [c.genome for c in expected.candidates]
    result.write_pareto_json(tmp_path / "resumed.json")
    expected.write_pareto_json(tmp_path / "expected.json")
    assert (tmp_path / "resumed.json").read_bytes() == (tmp_path / "expected.json").read_bytes()


def test_restricted_bits(space, cost, planted):
    result = search(space, cost, planted(), bits=(2, 8), population=15, generations=5)
    columns = [gene.column for gene in space.genes if gene.name.endswith("_bits")]
    genomes = np.array([candidate.genome for candidate in result.candidates])
    assert set(np.unique(genomes[:, columns])) == {0, 2, 8}


def test_a_larger_space_under_a_tight_budget(planted):
    space = SearchSpace.from_preset("digits_tiny")
    cost = CostModel(space)
    result = search(
        space, cost, planted(), constraints="mflops_8bit<=0.0185", population=12, generations=4
    )
    assert len(result.candidates) >= 12
    assert all(c.costs["mflops_8bit"] <= 0.0185 for c in result.candidates)


def test_a_space_smaller_than_the_population(space, cost, planted):
    one = space.replace(
        name="one", resolutions=(8,), weight_bits=(4,),
        stages=(Stage(8, 2, (1,), (3, 5), (2,), "relu"),),
        fixed_bits={},
    )  # fmt: skip
    result = search(one, CostModel(one), planted(), population=10, generations=5)
    assert len(result.candidates) == one.size() == 2


def test_impossible_requests_are_refused(space, cost, planted):
    other = SearchSpace.from_preset("digits_tiny")
    with pytest.raises(InfeasibleBudgetError, match="attainable minimum"):
        search(space, cost, planted(), constraints="macs<=1")
    with pytest.raises(InfeasibleBudgetError, match="meets all constraints together"):
        search(space, cost, planted(), constraints=["macs<=20000", "macs>=21000"])
    with pytest.raises(GenomeError, match="bits must be some of"):
        search(space, cost, planted(), bits=(3,))
    with pytest.raises(ValueError, match="objective must be one of"):
        search(space, cost, planted(), objective="latency")
    with pytest.raises(ValueError, match="population must be at least 2"):
        search(space, cost, planted(), population=1)
    with pytest.raises(ValueError, match="generations must be at least 1"):
        search(space, cost, planted(), generations=0)
    with pytest.raises(ValueError, match="cost must be the CostModel of space 'enumerable'"):
        search(space, CostModel(other), planted())


def test_a_store_of_another_space_is_refused(space, cost, planted, tmp_path):
    other = SearchSpace.from_preset("digits_tiny")
    with (
        EvaluationStore(tmp_path / "evaluations.sqlite", other) as store,
        pytest.raises(ValueError, match="store must be the EvaluationStore of space 'enumerable'"),
    ):
        search(space, cost, planted(), store=store)


def test_broken_budgets_rank_behind_missed_accuracies(space, cost, all_genomes, planted):
    terms = parse_constraints(["macs<=20000", "accuracy>=0.7"])
    scorer = _Scorer(space, cost, planted(), terms, "mflops_8bit", space.restrict())
    objectives, violation = scorer.score(all_genomes)
    broken = cost.evaluate(all_genomes)["macs"] > 20000
    accuracy = np.array([planted_accuracy(genome) for genome in all_genomes])
    missed = ~broken & (accuracy < 0.7)
    assert broken.any()
    assert missed.any()
    assert violation[broken].min() > violation[missed].max() > 0
    assert (violation[~broken & ~missed] == 0).all()
    np.testing.assert_allclose(objectives[~broken, 0], 1 - accuracy[~broken])
    assert (objectives[broken, 0] == 1).all()


@pytest.mark.parametrize("better", ["violation", "rank", "crowding"])
def test_the_better_one_of_a_duel_becomes_a_parent(better):
    pop = Population.new(X=np.arange(2)[:, None], G=np.zeros((2, 1)))
    pop.set("rank", [1, 1], "crowding", [0.5, 0.5])
    if better == "violation":
        pop.set("G", np.array([[0.5], [0.1]]))
    else:
        pop[1].set(better, {"rank": 0, "crowding": 0.9}[better])
    rng = np.random.default_rng(0)
    parents = _Tournament()._do(None, pop, 1000, 2, random_state=rng)
    assert parents.shape == (1000, 2)
    assert 0.7 < parents.mean() < 0.8


def test_mutation_gives_other_values_and_keeps_voids(space, all_genomes):
    table = GeneTable(space.restrict())
    rng = np.random.default_rng(0)
    mutated = table.mutate(rng, all_genomes, 1.0)
    assert ((mutated == 0) == (all_genomes == 0)).all()
    assert (mutated != all_genomes)[all_genomes != 0].all()
    np.testing.assert_array_equal(table.mutate(rng, all_genomes, 0.0), all_genomes)
    space.validate(space.canonicalize(table.fill(rng, mutated)))


def test_a_gene_restricted_to_one_value_does_not_mutate(space):
    table = GeneTable(space.restrict(bits=(4,)))
    genomes = table.random(np.random.default_rng(0), 50)
    mutated = table.mutate(np.random.default_rng(1), genomes, 1.0)
    bits = [gene.column for gene in space.genes if gene.name.endswith("_bits")]
    assert (mutated[:, bits] == 4).all()


def test_crossover_takes_each_gene_from_a_parent(all_genomes):
    rng = np.random.default_rng(0)
    first, second = all_genomes[:-1], all_genomes[1:]
    for child in uniform_crossover(rng, first, second):
        assert ((child == first) | (child == second)).all()
        assert ((child == 0) == ((first == 0) & (second == 0))).all()


def test_feasible_sampling_reaches_rare_genomes():
    space = SearchSpace.from_preset("digits_tiny")
    cost = CostModel(space)
    table = GeneTable(space.restrict())

    def feasible(genomes):
        return cost.evaluate(genomes)["bitops"] <= 1_300_000

    rng = np.random.default_rng(0)
    assert feasible(space.sample_genomes(rng, 5000)).mean() < 1e-3
    genomes = sample_feasible(rng, table, space.canonicalize, feasible, 30)
    assert len(np.unique(genomes, axis=0)) == 30
    assert feasible(genomes).all()
    space.validate(genomes)


def test_importing_needs_neither_tensorflow_nor_the_extras():
    program = """
import sys
import qfa_tf.space, qfa_tf.cost, qfa_tf.search
heavy = {"tensorflow", "tf_keras", "keras", "pymoo", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
