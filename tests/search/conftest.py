"""A space small enough to enumerate."""

import itertools

import numpy as np
import pytest
from planted import PlantedEvaluator

from qfa_tf.cost import CostModel
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
