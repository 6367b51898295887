"""The costs of the QFA release: its known values, and a plain walk through a network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfa_tf.cost import METRICS, CostModel, UndefinedAccountingError
from qfa_tf.cost.official_entries import RESOLUTIONS, block_entry, outer_entry
from qfa_tf.space import Architecture, Block, SearchSpace

SPACE = SearchSpace.from_preset("mobilenet_v3_w1.2")
OFFICIAL = CostModel(SPACE, accounting="official")
WORKED = (132, 2, 0, 5, 4)
"""Resolution, stage, block, kernel size, expand ratio."""


def cost_of(arch, space=SPACE, cost=OFFICIAL):
    costs = cost.evaluate(space.encode(arch)[None])
    return {metric: values[0] for metric, values in costs.items()}


def uniform(resolution, depth, kernel_size, expand_ratio, bits):
    """An architecture with the same choices everywhere."""
    stages = ((Block(3, 1),), *((Block(kernel_size, expand_ratio),) * depth,) * 5)
    kept = {f"s{s}.b{b}" for s, blocks in enumerate(stages) for b in range(len(blocks))}
    fixed = {"stem": (32, 32), "classifier": (8, 8)}
    sites = tuple(
        (site.name, *fixed.get(site.name, (bits, bits)))
        for site in SPACE.sites
        if site.slot is None or site.slot in kept
    )
    return Architecture(SPACE.name, resolution, stages, sites)


def test_worked_block():
    entry = block_entry(*WORKED)
    assert entry == (6_465_660, 3_916_044, 912_720, 1_449_984)
    assert entry.rest == 186_912
    bits = (entry.expand * 3 * 3, entry.depthwise * 2 * 3, entry.project * 4 * 4)
    assert sum(bits) / 64 + entry.rest == 1_185_669.1875


def test_worked_network():
    arch = uniform(132, 2, 5, 4, bits=3)
    assert cost_of(arch)["mflops_8bit"] == 16.6322379375
    rows = OFFICIAL.per_site(arch)
    parts = {}
    for row in rows:
        part = row.site.partition(".")[0] if row.site.startswith("s") else row.site
        parts[part] = parts.get(part, 0) + row.mflops_8bit
    assert parts == pytest.approx(
        {
            "stem": 3.145032,
            "s0": 0.372438,
            "s1": 3.19267575,
            "s2": 1.7530306875 + 0.186912,
            "s3": 1.325376,
            "s4": 2.363688,
            "s5": 1.6977735,
            "head.expand": 0.502848,
            "head.mix": 0.249264,
            "classifier": 1.8432,
        },
        rel=1e-14,
    )


def test_extreme_networks():
    largest, smallest = SPACE.largest(bits=4), SPACE.smallest(bits=2)
    assert cost_of(largest)["mflops_8bit"] == 207.9924345
    assert cost_of(smallest)["mflops_8bit"] == 8.3572121875
    # In full, as if everything had 8 bits.
    assert cost_of(largest)["macs"] == 799_269_834
    assert cost_of(smallest)["macs"] == 61_707_715
    for extreme in (SPACE.largest(bits=32), uniform(224, 4, 7, 6, bits=32)):
        assert cost_of(extreme)["mflops_8bit"] == 799.269834
    assert cost_of(SPACE.smallest(bits=32))["mflops_8bit"] == 61.707715


def test_entries_outside_the_stages():
    assert outer_entry(132, "stem") == 66 * 66 * 19 * 38
    assert outer_entry(132, "head.expand") == 4 * 4 * 1152 * 194
    assert outer_entry(224, "head.expand") == 7 * 7 * 1152 * 194
    assert outer_entry(224, "head.mix") == 1536 * 1154
    assert outer_entry(128, "classifier") == 1536 * 1200


@pytest.mark.parametrize("stage", range(6))
def test_rests_stand_where_a_stride_meets_an_odd_size(stage):
    ratio = 4 if stage else 1
    rests = {r: block_entry(r, stage, 0, 3, ratio).rest for r in RESOLUTIONS}
    odd = [resolution for resolution, rest in rests.items() if rest]
    first = {2: 132, 3: 136, 5: 144}.get(stage)
    assert len(odd) == (0 if first is None else 12)
    assert odd[:1] == ([] if first is None else [first])
    assert min(rests.values()) == 0
    assert not any(block_entry(r, stage, 1, 3, ratio).rest for r in RESOLUTIONS)


def plain_cost(arch):
    """The cost in MFLOPs by walking through the network."""
    bits = {site: min(w, 8) * min(a, 8) / 64 for site, w, a in arch.bits}
    widths = [int(base * 1.2 + 0.5) for base in (16, 24, 40, 80, 112, 160)]
    size = (arch.resolution + 1) // 2
    cost = size**2 * widths[0] * 38
    width = widths[0]
    for s, blocks in enumerate(arch.stages):
        for b, block in enumerate(blocks):
            site = f"s{s}.b{b}."
            mid = int(width * block.expand_ratio + 0.5)
            if s > 0:
                cost += bits[site + "expand"] * size**2 * mid * (width + 2)
            inner = outer = size
            if b == 0 and s in (1, 2, 3, 5):
                inner, outer = (size + 1) // 2, size // 2
            depthwise = inner**2 * mid * (block.kernel_size**2 + 2)
            if s in (2, 4, 5):
                squeeze = (mid // 4 + 4) // 8 * 8
                squeeze += 8 if squeeze < 0.9 * (mid // 4) else 0
                depthwise += 2 * mid * squeeze + squeeze + mid
            cost += bits[site + "depthwise"] * depthwise
            width, size = widths[s], outer
            cost += (inner**2 - outer**2 * (1 - bits[site + "project"])) * width * (mid + 2)
    head = (arch.resolution // 32) ** 2 * 1152 * 194
    return (cost + bits["head.expand"] * head + bits["head.mix"] * 1536 * 1154 + 1536 * 1200) / 1e6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_a_plain_walk(seed):
    genomes = SPACE.sample_genomes(np.random.default_rng(seed), 10)
    costs = OFFICIAL.evaluate(genomes)
    exact = CostModel(SPACE).evaluate(genomes)
    archs = [SPACE.decode(genome) for genome in genomes]
    np.testing.assert_allclose(costs["mflops_8bit"], [plain_cost(a) for a in archs], rtol=1e-13)
    np.testing.assert_array_equal(costs["mflops_8bit"], costs["bitops"] / 64 / 1e6)
    for metric in ("params", "weight_bytes"):
        np.testing.assert_array_equal(costs[metric], exact[metric])


def test_every_entry_reaches_the_costs():
    # Costs of networks that are uniform but for one block, against the entries of that block.
    for resolution in RESOLUTIONS:
        base = SPACE.encode(uniform(resolution, 4, 3, 3, bits=4))
        slots = [(s, b, k, e) for s in range(1, 6) for b in range(4)
                 for k in (3, 5, 7) for e in (3, 4, 6)]  # fmt: skip
        genomes = np.repeat(base[None], len(slots), axis=0)
        expected = np.full(len(slots), OFFICIAL.evaluate(base[None])["macs"][0])
        for i, (s, b, k, e) in enumerate(slots):
            genomes[i, SPACE.gene_index[f"s{s}.b{b}.kernel_size"]] = k
            genomes[i, SPACE.gene_index[f"s{s}.b{b}.expand_ratio"]] = e
            expected[i] += block_entry(resolution, s, b, k, e).total
            expected[i] -= block_entry(resolution, s, b, 3, 3).total
        np.testing.assert_array_equal(OFFICIAL.evaluate(genomes)["macs"], expected)


def test_sites_add_up():
    for seed in range(10):
        arch = SPACE.sample(np.random.default_rng(seed))
        total, rows = cost_of(arch), OFFICIAL.per_site(arch)
        for metric in ("macs", "params", "weight_bytes"):
            assert sum(getattr(row, metric) for row in rows) == total[metric]
        assert sum(row.mflops_8bit for row in rows) == pytest.approx(total["mflops_8bit"])
        assert [row.site for row in rows] == [row.site for row in CostModel(SPACE).per_site(arch)]


def test_site_rows_of_the_worked_block():
    arch = uniform(132, 2, 5, 4, bits=3)
    rows = {row.site: row for row in OFFICIAL.per_site(arch)}
    parts = [rows[f"s2.b0.{part}"] for part in ("expand", "depthwise", "se", "project")]
    assert [row.output_size for row in parts] == [33, 17, 1, 16]
    assert [row.macs for row in parts] == [3_916_044, 905_148, 7_572, 1_449_984 + 186_912]
    # Squeeze-excite is stored in 8 bits but charged at those of the depthwise convolution.
    assert parts[2].weight_bits == 8
    assert parts[2].mflops_8bit == 7_572 * 9 / 64 / 1e6
    assert parts[3].mflops_8bit == (1_449_984 * 9 / 64 + 186_912) / 1e6


def test_bounds_hold_where_the_cost_falls_with_the_resolution():
    space = SearchSpace.mobilenet_v3(1.2, resolutions=(156, 160))
    cost = CostModel(space, accounting="official")
    smallest = np.repeat(space.encode(space.smallest(bits=2))[None], 2, axis=0)
    smallest[:, space.gene_index["resolution"]] = space.resolutions
    costs = cost.evaluate(smallest)
    assert costs["mflops_8bit"][1] < costs["mflops_8bit"][0]
    low, high = cost.bounds("mflops_8bit", space.restrict())
    assert low == costs["mflops_8bit"][1]
    assert high == cost_of(space.largest(bits=4), space, cost)["mflops_8bit"]
    sampled = cost.evaluate(space.sample_genomes(np.random.default_rng(0), 100))["mflops_8bit"]
    assert low < sampled.min() <= sampled.max() < high


def test_what_the_entries_do_not_depend_on():
    other = SearchSpace.mobilenet_v3(
        1.2,
        name=SPACE.name,
        depths=(1, 2),
        resolutions=(132, 224),
        weight_bits=(3, 4, 8),
        stem_bits=(8, 8),
        activation="relu6",
        input_channels=1,
        num_classes=10,
    )
    arch = uniform(132, 2, 5, 4, bits=3)
    fixed = {"stem": (8, 8)}
    arch = Architecture(
        arch.space, 132, arch.stages, tuple((s, *fixed.get(s, (w, a))) for s, w, a in arch.bits)
    )
    costs = cost_of(arch, other, CostModel(other, accounting="official"))
    assert costs["mflops_8bit"] == 16.6322379375
    assert tuple(costs) == METRICS


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (SearchSpace.from_preset("digits_tiny"), "the number of stages must be 6. Received: 3"),
        (SearchSpace.from_preset("mobilenet_v3_w1.0"), "stem.width must be 24. Received: 16"),
        (SearchSpace.mobilenet_v3(1.2, stem_stride=1), "stem.stride must be 2. Received: 1"),
        (
            SearchSpace.mobilenet_v3(1.2, squeeze_excite=False),
            r"stages\[2\].squeeze_excite must be True. Received: False",
        ),
        (
            SearchSpace.mobilenet_v3(1.2, depths=(2, 5)),
            r"out of \(1, 2, 3, 4\). Received: \(2, 5\)",
        ),
        (
            SearchSpace.mobilenet_v3(1.2, expand_ratios=(2, 3)),
            r"expand_ratios .*out of \(3, 4, 6\)",
        ),
        (SearchSpace.mobilenet_v3(1.2, resolutions=(96, 128)), r"resolutions .*\(96, 128\)"),
        (SearchSpace.mobilenet_v3(1.2, resolutions=(131,)), r"resolutions .*\(131,\)"),
    ],
)
def test_other_spaces_are_refused(space, message):
    with pytest.raises(UndefinedAccountingError, match=message) as caught:
        CostModel(space, accounting="official")
    assert repr(space.name) in str(caught.value)
    assert 'accounting="exact"' in str(caught.value)
