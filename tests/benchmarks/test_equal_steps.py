"""The recipe of the comparison with the official release, without training anything."""

import math

import equal_steps
import pytest

from qfa_tf import SearchSpace


@pytest.mark.parametrize("step", [0, 50, 99, 100, 249, 250, 300, 349, 500, 749])
def test_rate(step):
    """Each stage warms up over 100 steps and falls as a cosine over all of its own."""
    first = step < 250
    rate, done, steps = (0.08, step, 250) if first else (0.04, step - 250, 500)
    expected = rate * min(1, (done + 1) / 100) * (1 + math.cos(math.pi * done / steps)) / 2
    assert float(equal_steps.Rate()(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert float(equal_steps.Rate(2.0)(step)) == pytest.approx(2 * expected, rel=1e-5, abs=1e-8)


def test_summary_is_that_of_the_official_rows():
    found = {
        f"{name}_{bits}": 70.0 + bits for bits in (2, 3, 4) for name in ("smallest", "largest")
    }
    found |= {f"random_{index}": 60.0 + index for index in range(10)}
    row = equal_steps.summary(found)
    assert set(row) == {*equal_steps.OFFICIAL[0], "lowest"}
    assert (row["random_lowest"], row["random_median"], row["random_highest"]) == (60.0, 64.5, 69.0)
    assert row["mean"] == pytest.approx((2 * (72 + 73 + 74) + sum(range(60, 70))) / 16, abs=0.01)
    assert (row["median"], row["lowest"]) == (67.5, 60.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_probes(seed):
    """Kernel 5 in the smallest and the largest at each bit-width, and ten random subnets."""
    space = SearchSpace.mobilenet_v3(0.25, resolutions=(64,), num_classes=10)
    probes = equal_steps.probes(space, seed)
    assert len(probes) == 16
    for name, depth, ratio in (("smallest", 2, 3), ("largest", 4, 6)):
        for bits in (2, 3, 4):
            probe = probes[f"{name}_{bits}"]
            elastic = probe.stages[1:]
            assert {len(blocks) for blocks in elastic} == {depth}
            kernels = {(block.kernel_size, block.expand_ratio) for b in elastic for block in b}
            assert kernels == {(5, ratio)}
            assert probe.site_bits["head.expand"] == (bits, bits)
    assert len({space.encode(probes[f"random_{index}"]).tobytes() for index in range(10)}) == 10


def test_variants_are_options():
    """Every variant names options that exist, with values that are allowed."""
    import dataclasses

    from training_ideas import TrainingIdea

    from qfa_tf.supernet.options import SupernetOptions

    assert equal_steps.VARIANTS["base"] == dataclasses.replace(
        equal_steps.VARIANTS["base"], supernet={}, training={}, optimizer={}
    )
    for variant in equal_steps.VARIANTS.values():
        SupernetOptions(**variant.supernet)
        TrainingIdea(**{"distillation": "none", **variant.training})
        assert (variant.trained_as or "base") in equal_steps.VARIANTS
