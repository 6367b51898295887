"""The search on a space that can be enumerated, its operators, kills and resumption."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import planted_accuracy

from qfa_tf.cost import CostModel, CostUnavailableError
from qfa_tf.search import (
    EvaluationStore,
    ExactNSGA2,
    InfeasibleBudgetError,
    SearchProblem,
    Subspace,
    parse_constraints,
    search,
)
from qfa_tf.search.nsga2 import Population, select_parents, survivors
from qfa_tf.search.operators import GeneTable, uniform_crossover
from qfa_tf.search.sampling import RecipeDraw, sample_feasible
from qfa_tf.space import GenomeError, SearchSpace, Stage


@pytest.mark.parametrize("budget", [None, 0.06])
def test_finds_the_true_front(space, cost, planted, true_front, found_front, budget):
    constraints = () if budget is None else f"mflops_8bit<={budget}"
    evaluator = planted()
    result = search(
        space, cost, evaluator, constraints=constraints, strategy=ExactNSGA2(60, 30), seed=1
    )
    expected = true_front(np.inf if budget is None else budget)
    assert found_front(result) == expected
    assert len(expected) > 5
    assert len(evaluator.seen) == len(set(evaluator.seen)) == len(result.candidates)
    assert result.chosen == result.front[-1]


def test_infeasible_candidates_are_never_evaluated(space, cost, planted):
    evaluator = planted()
    search(
        space, cost, evaluator, constraints=["mflops_8bit<=0.06", "params<700"],
        strategy=ExactNSGA2(20, 10),
    )  # fmt: skip
    costs = cost.evaluate(np.array(evaluator.seen))
    assert (costs["mflops_8bit"] <= 0.06).all()
    assert (costs["params"] < 700).all()


def test_progress_and_hypervolume(space, cost, planted):
    log = []
    evaluator = planted()
    search(space, cost, evaluator, strategy=ExactNSGA2(20, 8), seed=2, on_progress=log.append)
    generations = [progress for progress in log if progress.phase == "generation"]
    assert [progress.step for progress in generations] == list(range(1, 9))
    assert all(progress.spent == progress.evaluated for progress in log)
    assert log[-1].evaluated == len(evaluator.seen)
    volumes = [progress.hypervolume for progress in log]
    assert volumes == sorted(volumes)
    assert 0 < volumes[0] < volumes[-1] < 1


def test_candidates_that_miss_the_accuracy_are_not_chosen(space, cost, planted):
    log = []
    result = search(
        space, cost, planted(), constraints="accuracy>=0.6", strategy=ExactNSGA2(20, 10),
        on_progress=log.append,
    )  # fmt: skip
    assert result.chosen.accuracy >= 0.6
    assert min(candidate.accuracy for candidate in result.candidates) < 0.6
    met = [c for c in result.front if c.accuracy >= 0.6]
    assert log[-1].front_size == len(met)
    hopeless = search(
        space, cost, planted(), constraints="accuracy>=0.9999", strategy=ExactNSGA2(20, 3)
    )
    assert hopeless.chosen is None
    assert hopeless.front


def test_the_seed_decides(space, cost, planted):
    def run(seed):
        return search(space, cost, planted(), strategy=ExactNSGA2(12, 5), seed=seed)

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
    arguments = {"strategy": ExactNSGA2(15, 5), "seed": 9, "constraints": "params<=800"}
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
    result = search(space, cost, planted(), bits=(2, 8), strategy=ExactNSGA2(15, 5))
    columns = [gene.column for gene in space.genes if gene.name.endswith("_bits")]
    genomes = np.array([candidate.genome for candidate in result.candidates])
    assert set(np.unique(genomes[:, columns])) == {0, 2, 8}


def test_a_larger_space_under_a_tight_budget(planted):
    space = SearchSpace.from_preset("digits_tiny")
    cost = CostModel(space)
    result = search(
        space, cost, planted(), constraints="mflops_8bit<=0.0185", strategy=ExactNSGA2(12, 4)
    )
    assert len(result.candidates) >= 12
    assert all(c.costs["mflops_8bit"] <= 0.0185 for c in result.candidates)


def test_a_space_smaller_than_the_population(space, cost, planted):
    one = space.replace(
        name="one", resolutions=(8,), weight_bits=(4,),
        stages=(Stage(8, 2, (1,), (3, 5), (2,), "relu"),),
        fixed_bits={},
    )  # fmt: skip
    result = search(one, CostModel(one), planted(), strategy=ExactNSGA2(10, 5))
    assert len(result.candidates) == one.size() == 2


def test_impossible_requests_are_refused(space, cost, planted):
    other = SearchSpace.from_preset("digits_tiny")
    with pytest.raises(InfeasibleBudgetError, match="attainable minimum"):
        search(space, cost, planted(), constraints="macs<=1")
    with pytest.raises(InfeasibleBudgetError, match="meets all constraints together"):
        search(space, cost, planted(), constraints=["macs<=20000", "macs>=21000"])
    with pytest.raises(GenomeError, match="bits must be some of"):
        search(space, cost, planted(), bits=(3,))
    with pytest.raises(CostUnavailableError, match="There is no cost 'speed'"):
        search(space, cost, planted(), objective="speed")
    with pytest.raises(ValueError, match="population must be at least 2"):
        ExactNSGA2(population=1)
    with pytest.raises(ValueError, match="generations must be at least 1"):
        ExactNSGA2(generations=0)
    with pytest.raises(ValueError, match="evaluations must be at least 1"):
        search(space, cost, planted(), evaluations=0)
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
    problem = SearchProblem(Subspace(space), cost, planted(), terms, "mflops_8bit", 10_000, 0)
    objectives, violation = problem.score(all_genomes, problem.measure)
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
    fields = {"violation": [0.5, 0.5], "rank": [1, 1], "crowding": [0.5, 0.5]}
    fields[better][1] = {"violation": 0.1, "rank": 0, "crowding": 0.9}[better]
    current = Population(
        np.arange(2)[:, None], np.zeros((2, 2)), **{k: np.array(v) for k, v in fields.items()}
    )
    parents = select_parents(current, 1000, np.random.default_rng(0))
    assert parents.shape == (1000, 2)
    assert 0.7 < parents.mean() < 0.8


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(-1, 2)), min_size=1, max_size=30
    ),
    st.integers(1, 30),
)
def test_survivors_are_the_best_fronts(rows, n):
    objectives = np.array([row[:2] for row in rows], float)
    violation = np.maximum([row[2] for row in rows], 0.0)
    kept = survivors(np.arange(len(rows))[:, None], objectives, violation, n)
    index = kept.genomes[:, 0]
    assert len(index) == len(set(index)) == min(n, len(rows))
    lost = np.setdiff1d(np.arange(len(rows)), index)
    if len(lost):
        assert violation[index].max() <= violation[lost].min()
    met = index[violation[index] == 0]
    for i in lost[violation[lost] == 0]:
        # What was cut never dominates what was kept.
        better = (objectives[i] <= objectives[met]).all(1) & (objectives[i] < objectives[met]).any(
            1
        )
        assert not better.any()
    front_of = [
        not any((o <= objectives[i]).all() and (o < objectives[i]).any() for o in objectives[met])
        for i in met
    ]
    np.testing.assert_array_equal(kept.rank[: len(met)] == 0, front_of)


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

    def feasible(genomes):
        return cost.evaluate(genomes)["bitops"] <= 1_300_000

    rng = np.random.default_rng(0)
    assert feasible(space.sample_genomes(rng, 5000)).mean() < 1e-3
    genomes = sample_feasible(rng, Subspace(space), feasible, 30)
    assert len(np.unique(genomes, axis=0)) == 30
    assert feasible(genomes).all()
    space.validate(genomes)


@pytest.mark.parametrize("uniform_bits", [False, True])
@pytest.mark.parametrize(
    ("preset", "bits"), [("digits_tiny", (2, 3, 4, 8)), ("mobilenet_v3_w1.0", (2, 3, 4))]
)
def test_a_search_starts_from_the_nets_that_have_a_name(preset, bits, uniform_bits):
    space = SearchSpace.from_preset(preset)
    named = {
        space.encode(getattr(space, size)(bits=width)).tobytes()
        for width in bits
        for size in ("smallest", "largest")
    }
    subspace = Subspace(space, uniform_bits=uniform_bits)
    anchors = subspace.anchors()
    assert {genome.tobytes() for genome in anchors} == named
    assert len(anchors) == 2 * len(bits)
    genomes = sample_feasible(
        np.random.default_rng(0), subspace, lambda genomes: np.ones(len(genomes), bool), 20
    )
    np.testing.assert_array_equal(genomes[: len(anchors)], anchors)
    assert len(genomes) == 20


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_feasible_sampling_between_two_bounds(share):
    space = SearchSpace.from_preset("mobilenet_v3_w1.0")
    cost = CostModel(space)
    low, high = cost.bounds("weight_bytes", space.restrict())
    most = low + share * (high - low)

    def feasible(genomes):
        found = cost.evaluate(genomes)["weight_bytes"]
        return (found <= most) & (found >= 0.95 * most)

    rng = np.random.default_rng(0)
    genomes = sample_feasible(rng, Subspace(space), feasible, 30)
    assert len(np.unique(genomes, axis=0)) == 30
    assert feasible(genomes).all()


def test_samples_follow_the_recipe():
    space = SearchSpace.from_preset("digits_tiny")
    subspace = Subspace(space, bits=(2, 3, 4))
    genomes = RecipeDraw(subspace)(np.random.default_rng(0), 4000)
    bits = genomes[:, [g.column for g in space.genes if g.name.endswith("_bits")]]
    depths = genomes[:, [g.column for g in space.genes if g.name.endswith(".depth")]]
    largest = genomes[:, space.gene_index["resolution"]] == 32
    assert set(np.unique(bits)) == {2, 3, 4}
    assert largest.mean() == pytest.approx(0.4 + 0.6 / 3, abs=0.03)
    assert (depths == 2).all(axis=1).mean() == pytest.approx(0.3 + 0.7 / 4, abs=0.03)
    assert (bits == bits[:, :1]).all(axis=1).mean() == pytest.approx(0.3, abs=0.03)


def test_uniform_bits(space, cost, planted):
    result = search(space, cost, planted(), uniform_bits=True, strategy=ExactNSGA2(15, 5))
    columns = [gene.column for gene in space.genes if gene.name.endswith("_bits")]
    bits = np.array([candidate.genome for candidate in result.candidates])[:, columns]
    present = np.where(bits == 0, bits.max(axis=1, keepdims=True), bits)
    assert (present == present[:, :1]).all()
    assert set(np.unique(present)) == {2, 4, 8}
    budget = f"mflops_8bit<={Subspace(space).bounds(cost, 'mflops_8bit')[0]}"
    with pytest.raises(InfeasibleBudgetError, match="attainable minimum"):
        search(space, cost, planted(), uniform_bits=True, bits=(8,), constraints=budget)


def test_the_cheapest_that_is_accurate_enough(space, cost, planted):
    result = search(
        space, cost, planted(), constraints="accuracy>=0.6", objective="weight_bytes",
        minimize=True, strategy=ExactNSGA2(30, 10),
    )  # fmt: skip
    met = [c for c in result.candidates if c.accuracy >= 0.6]
    assert result.chosen.costs["weight_bytes"] == min(c.costs["weight_bytes"] for c in met)
    assert result.chosen.accuracy < max(c.accuracy for c in met)


def test_importing_needs_neither_tensorflow_nor_the_extras():
    program = """
import sys
import qfa_tf.space, qfa_tf.cost, qfa_tf.search
heavy = {"tensorflow", "tf_keras", "keras", "pymoo", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
