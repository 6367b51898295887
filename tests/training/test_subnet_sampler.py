"""Subnets of a step come from (seed, step) alone and follow the sandwich rule."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.training import QFATraining, TrainingStage
from qfa_tf.training.sampling import SubnetSampler

STAGES = ((32,), (2, 3, 4, 8, 32), (2, 3, 4))


@pytest.fixture(scope="module")
def draws(small_space):
    """genomes[stage][step] of 60 steps."""
    sampler = SubnetSampler(small_space, STAGES, random_subnets=3, seed=5)
    draw = tf.function(sampler.draw)
    result = {
        stage: np.stack(
            [draw(tf.constant(step, tf.int64), tf.constant(stage)) for step in range(60)]
        )
        for stage in range(len(STAGES))
    }
    assert draw.experimental_get_tracing_count() == 1
    return result


def columns(space, suffix):
    return [gene.column for gene in space.genes if gene.name.endswith(suffix)]


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_values_are_allowed(stage, draws, small_space):
    small_space.validate(draws[stage].reshape(-1, small_space.n_genes))
    bits = draws[stage][..., columns(small_space, "_bits")]
    assert set(np.unique(bits)) == set(STAGES[stage])


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_sandwich(stage, draws, small_space):
    genomes = draws[stage]
    for row, bound in ((0, min), (1, max)):
        for suffix in (".depth", ".expand_ratio", "resolution"):
            for column in columns(small_space, suffix):
                limit = bound(small_space.genes[column].choices)
                assert (genomes[:, row, column] == limit).all()
        for suffix in ("_bits", ".kernel_size"):
            values = genomes[:, row][:, columns(small_space, suffix)]
            assert (values == values[:, :1]).all()
            assert len(np.unique(values)) == len(
                np.unique(genomes[..., columns(small_space, suffix)])
            )


def test_weight_and_activation_are_float_together(draws, small_space):
    weights = draws[1][..., columns(small_space, ".weight_bits")]
    activations = draws[1][..., columns(small_space, ".activation_bits")]
    np.testing.assert_array_equal(weights == 32, activations == 32)
    # 1/25 both drawn float, plus a fifth of the 8/25 mixed draws.
    share = np.mean(weights[:, 2:] == 32)
    assert 0.06 < share < 0.15


def test_random_subnets_vary_and_cover_all_choices(draws, small_space):
    genomes = draws[2][:, 2:].reshape(-1, small_space.n_genes)
    for gene in small_space.genes:
        wanted = set(gene.choices) & (
            {2, 3, 4} if gene.name.endswith("_bits") else set(gene.choices)
        )
        assert set(np.unique(genomes[:, gene.column])) == wanted
    assert len(np.unique(genomes, axis=0)) == len(genomes)


def test_deterministic_in_seed_and_step(draws, small_space):
    again = SubnetSampler(small_space, STAGES, random_subnets=3, seed=5)
    other = SubnetSampler(small_space, STAGES, random_subnets=3, seed=6)
    step, stage = tf.constant(41, tf.int64), tf.constant(2)
    np.testing.assert_array_equal(again.draw(step, stage), draws[2][41])
    assert (other.draw(step, stage).numpy() != draws[2][41]).any()
    assert (draws[2][40] != draws[2][41]).any()


def test_stage_that_leaves_a_site_without_choice(small_space):
    space = small_space.replace(name="low", weight_bits=(2, 3))
    with pytest.raises(ValueError, match="leave every site a choice"):
        SubnetSampler(space, [(4, 8)], 1, 0)


def test_recipe_errors():
    with pytest.raises(ValueError, match="all but the last one need"):
        QFATraining(stages=(TrainingStage((2,)), TrainingStage((4,))))
    with pytest.raises(ValueError, match=r"num_bits must be.*\(1, 4\)"):
        TrainingStage((1, 4))
    with pytest.raises(ValueError, match="at least 1"):
        TrainingStage((2,), steps=0)
    with pytest.raises(ValueError, match="random_subnets"):
        QFATraining(random_subnets=-1)
    for seed in (-1, 2**40):
        with pytest.raises(ValueError, match="seed must be at"):
            QFATraining(seed=seed)
