"""HARD_SWISH on any floats, not only on those of a grid."""

from fractions import Fraction

import numpy as np
import pytest

from tflite_tools.arithmetic.rounding import plus_half
from tflite_tools.integer_graph.graph import DataType, IntegerGraph
from tflite_tools.operators.functions import HardSwish
from tflite_tools.verification.integers import compare_integers


def hard_swish_graph():
    graph = IntegerGraph()
    x = graph.add_input("x", (1, 50_000), DataType.FLOAT32)
    y = graph.add_tensor("y", (1, 50_000), DataType.FLOAT32)
    graph.add_operation("y", HardSwish(), [x], [y])
    graph.outputs.append(y)
    return graph


@pytest.mark.parametrize("scale", [1e-6, 0.03, 2.0, 300.0])
def test_equal_to_all_kernel_sets(scale):
    values = np.random.default_rng(0).normal(0, scale, (8, 50_000)).astype(np.float32)
    report = compare_integers(hard_swish_graph(), [values])
    assert len(report.kernel_sets) == 3
    assert report.mismatches == 0, str(report)


def test_sums_are_rounded_once():
    """float32 of the sum is that of the exact sum, also where float64 lies between two of them."""
    rng = np.random.default_rng(1)
    halfway = np.ldexp(2 * rng.integers(0, 2**22, 2000) + 1, -25)  # between two float32 above 1/2
    tiny = np.ldexp(rng.choice((-1.0, 1.0), 2000), rng.integers(-70, -54, 2000))
    products = halfway + tiny
    products = np.concatenate([products, rng.uniform(-0.5, 0.5, 2000)])
    assert np.any((products + 0.5).astype(np.float32) != plus_half(products).astype(np.float32))
    for product, total in zip(products, plus_half(products).astype(np.float32), strict=True):
        exact = Fraction(product) + Fraction(1, 2)
        distances = [
            abs(Fraction(float(near)) - exact)
            for near in (
                np.nextafter(total, np.float32(-9)),
                total,
                np.nextafter(total, np.float32(9)),
            )
        ]
        assert distances[1] == min(distances)
