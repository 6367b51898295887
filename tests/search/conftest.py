"""A space small enough to enumerate."""

import itertools

import numpy as np
import pytest
from planted import PlantedEvaluator, planted_accuracy

from qfa_tf.cost import CostModel
from qfa_tf.search import non_dominated
from qfa_tf.space import Head, SearchSpace, Stage, Stem


@pytest.fixture
def planted():
    return PlantedEvaluator


@pytest.fixture(scope="session")
def space():
    fixed = ("stem", "classifier", "s0.b0.expand", "s0.b1.expand", "s0.b1.project")
    return SearchSpace(
        name="enumerable",
        resolutions=(8, 12, 16),
        stem=Stem(4, 3, 1, "relu"),
        stages=(Stage(8, 2, (1, 2), (3, 5), (2, 3), "relu6"),),
        head=Head(16, None, "relu"),
        weight_bits=(2, 4, 8),
        activation_bits=(8,),
        fixed_bits=dict.fromkeys(fixed, (8, 8)),
        input_channels=1,
        num_classes=3,
        width_divisor=4,
    )


@pytest.fixture(scope="session")
def cost(space):
    return CostModel(space)


@pytest.fixture(scope="session")
def all_genomes(space):
    raw = np.array(list(itertools.product(*(gene.choices for gene in space.genes))), np.int32)
    genomes = np.unique(space.canonicalize(raw), axis=0)
    assert len(genomes) == space.size()
    return genomes


@pytest.fixture(scope="session")
def true_front(cost, all_genomes):
    """(accuracy, mflops_8bit) of the front of all genomes within a budget, cheapest first."""
    accuracy = np.array([planted_accuracy(genome) for genome in all_genomes])
    costs = cost.evaluate(all_genomes)["mflops_8bit"]

    def front(budget=np.inf):
        affordable = costs <= budget
        index = non_dominated(accuracy[affordable], costs[affordable])
        return list(zip(accuracy[affordable][index], costs[affordable][index], strict=True))

    return front


@pytest.fixture(scope="session")
def found_front():
    return lambda result: [(c.accuracy, c.costs["mflops_8bit"]) for c in result.front]
