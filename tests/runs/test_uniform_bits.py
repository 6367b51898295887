"""Which bit-widths the probes and references of a run show."""

import pytest

from qfa_tf.runs.training.final_table import uniform_bits, uniform_genomes
from qfa_tf.space import SearchSpace


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "expected"),
    [
        ((2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)),
        ((2, 3, 4, 8), (8,), (2, 3, 4, 8)),  # activations have no choice
        ((8,), (4, 8), (4, 8)),
        ((2, 4), (4, 8), (4,)),
        ((8,), (8,), (8,)),
    ],
)
def test_every_bit_width_that_is_a_choice_is_shown(weight_bits, activation_bits, expected):
    space = SearchSpace.from_preset("digits_tiny").replace(
        weight_bits=weight_bits, activation_bits=activation_bits
    )
    assert uniform_bits(space) == expected
    assert len(uniform_genomes(space)) == len(expected)
