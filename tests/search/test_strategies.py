"""Every strategy on a space that can be enumerated: the true front, kills, seeds, budgets."""

import functools

import numpy as np
import pytest
from planted import PlantedEvaluator, planted_accuracy

from qfa_tf.search import (
    STRATEGIES,
    EvaluationStore,
    ExactNSGA2,
    IterativeRefinement,
    PredictedFront,
    PredictingEvaluator,
    PredictorGuided,
    RandomSearch,
    Subspace,
    fit_predictor,
    hypervolume,
    load_pareto_json,
    search,
)

SMALL = {
    "nsga2": ExactNSGA2(population=12, generations=None),
    "predictor": PredictorGuided(population=40, generations=15),
    "refine": IterativeRefinement(population=30, generations=8, predictor="gp", round_share=0.2),
    "random": RandomSearch(),
}
"""Cheap settings for what holds whatever the settings."""

THOROUGH = {
    "nsga2": (ExactNSGA2(population=60, generations=None), 1500),
    "predictor": (PredictorGuided(population=200, generations=25, predictor="gp"), 500),
    "refine": (IterativeRefinement(population=200, generations=20, predictor="gp"), 300),
    "random": (RandomSearch(), 4212),
}
"""Settings and evaluations that suffice for the true front among 4212 subnets."""


def run(space, cost, evaluator, name, evaluations=60, **arguments):
    arguments = {"seed": 3, "strategy": SMALL[name], **arguments}
    return search(space, cost, evaluator, evaluations=evaluations, **arguments)


@pytest.fixture(scope="module")
def expected(space, cost):
    """The result of an uninterrupted search, by strategy."""
    return functools.cache(lambda name: run(space, cost, PlantedEvaluator(), name))


def test_all_strategies_are_here():
    assert set(SMALL) == set(THOROUGH) == set(STRATEGIES)


@pytest.mark.parametrize("name", THOROUGH)
def test_the_true_front_is_found(space, cost, planted, true_front, found_front, name):
    strategy, evaluations = THOROUGH[name]
    evaluator = planted()
    result = search(space, cost, evaluator, strategy=strategy, evaluations=evaluations, seed=1)
    assert found_front(result) == true_front()
    assert result.spent <= evaluations
    assert len(evaluator.seen) == len(set(evaluator.seen))


@pytest.mark.parametrize("name", SMALL)
def test_the_budget_is_kept_and_hypervolume_never_falls(space, cost, planted, name):
    evaluator, log = planted(), []
    result = run(
        space, cost, evaluator, name, on_progress=log.append, constraints="mflops_8bit<=0.06"
    )
    assert [c.genome for c in result.candidates] == evaluator.seen
    assert 50 < result.spent <= 60
    assert result.abandoned == len(evaluator.abandoned)
    assert all(c.costs["mflops_8bit"] <= 0.06 for c in result.candidates)
    volumes = [progress.hypervolume for progress in log]
    assert volumes == sorted(volumes)
    assert log[-1].evaluated == len(result.candidates)
    assert (result.quality is not None) == (name in ("predictor", "refine"))


@pytest.mark.parametrize(
    ("name", "limit"),
    [("nsga2", 0), ("nsga2", 29), ("predictor", 17), ("predictor", 47), ("refine", 44),
     ("random", 31)],
)  # fmt: skip
def test_a_killed_search_ends_with_the_same_result(
    space, cost, planted, tmp_path, expected, name, limit
):
    killed, resumed = planted(limit=limit), planted()
    path = tmp_path / "evaluations.sqlite"
    with EvaluationStore(path, space) as store, pytest.raises(KeyboardInterrupt):
        run(space, cost, killed, name, store=store)
    with EvaluationStore(path, space) as store:
        result = run(space, cost, resumed, name, store=store)
    assert result == expected(name)
    measured = [killed.seen + resumed.seen, killed.abandoned + resumed.abandoned]
    assert measured[0] == [c.genome for c in expected(name).candidates]
    assert len(measured[1]) == len(set(measured[1])) == expected(name).abandoned
    result.write_pareto_json(tmp_path / "resumed.json")
    assert load_pareto_json(tmp_path / "resumed.json") == result


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides(space, cost, planted, expected, name):
    assert run(space, cost, planted(), name) == expected(name)
    other = run(space, cost, planted(), name, seed=4, evaluations=20)
    assert other.candidates[:10] != expected(name).candidates[:10]


@pytest.mark.parametrize("name", ["predictor", "refine"])
def test_predictors_beat_chance(space, cost, expected, name):
    guided, chance = expected(name), expected("random")
    assert best_within(guided, cost, space) > best_within(chance, cost, space)
    assert guided.quality.kendall_tau > 0.5


def best_within(result, cost, space):
    limit = Subspace(space).bounds(cost, "mflops_8bit")[1]
    accuracy = np.array([c.accuracy for c in result.candidates])
    return hypervolume(accuracy, [c.costs["mflops_8bit"] for c in result.candidates], limit)


def test_samples_on_fewer_images_cost_less_and_never_become_candidates(space, cost, planted):
    strategy = PredictorGuided(population=40, generations=10, sample_images=250)
    evaluator = planted()
    result = run(space, cost, evaluator, "predictor", strategy=strategy)
    partly = len(evaluator.seen) - len(result.candidates)
    assert partly == int(0.6 * 60 / 0.25)
    assert result.spent <= 60
    assert all(c.images == 1000 for c in result.candidates)
    measured = evaluator.seen[partly:]
    assert [c.genome for c in result.candidates] == measured


def test_abandoned_candidates_were_dominated(space, cost, planted):
    evaluator = planted()
    strategy = PredictorGuided(population=200, generations=20)
    result = run(space, cost, evaluator, "predictor", strategy=strategy, evaluations=150)
    assert evaluator.abandoned
    front = {c.accuracy: c.costs["mflops_8bit"] for c in result.front}
    costs = cost.evaluate(np.array(evaluator.abandoned))["mflops_8bit"]
    for genome, figure in zip(evaluator.abandoned, costs, strict=True):
        accuracy = planted_accuracy(np.array(genome))
        assert any(a > accuracy and c <= figure for a, c in front.items())


def test_a_search_on_predictions_alone(space, cost, planted, all_genomes):
    genomes = all_genomes[::20]
    accuracy = np.array([planted_accuracy(genome) for genome in genomes])
    facts = {"checkpoint_key": "c", "calibration_key": "k", "split": "v", "images": 1000}
    predictor = fit_predictor("gp", space, genomes, accuracy, seed=0, facts=facts)
    result = search(
        space, cost, PredictingEvaluator(predictor), strategy=PredictedFront(predictor, 50, 20),
        constraints="mflops_8bit<=0.06",
    )  # fmt: skip
    assert result.split == "v, predicted"
    assert len(result.front) == len(result.candidates) > 3
    predicted = predictor.predict(np.array([c.genome for c in result.candidates]))
    assert [c.accuracy for c in result.candidates] == predicted.tolist()
    errors = [abs(planted_accuracy(np.array(c.genome)) - c.accuracy) for c in result.candidates]
    assert np.mean(errors) < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (functools.partial(PredictorGuided, predictor="tree"), "one of .*'mlp', 'gp'.*'tree'"),
        (functools.partial(PredictorGuided, sample_share=1.0), "sample_share must be between"),
        (functools.partial(IterativeRefinement, patience=0), "patience at least 1"),
        (functools.partial(PredictorGuided, population=1), "population must be at least 2"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
