"""Costs against hand computation and an independent plain-Python sum."""

import dataclasses

import numpy as np
import pytest

from qfa_tf.cost import METRICS, CostModel, UnknownAccountingError
from qfa_tf.space import Block, GenomeError, Head, SearchSpace, Stage, Stem


def make_space():
    """Odd sizes and widths, kernel 7, a fixed block, fixed depth, squeeze-excite, float sites."""
    return SearchSpace(
        name="odd",
        resolutions=(17, 24, 33),
        stem=Stem(10, 3, 2, "relu6"),
        stages=(
            Stage(10, 1, (1, 2), (3, 5), (1,), "relu"),
            Stage(20, 2, (2,), (3, 5, 7), (3, 4, 6), "relu6", squeeze_excite=True),
            Stage(20, 1, (1, 2, 3), (5,), (2,), "hard_swish", squeeze_excite=True),
        ),
        head=Head(50, None, "relu6"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(4, 8),
        fixed_bits={"stem": (32, 32), "classifier": (8, 8), "s2.b1.project": (32, 4)},
        input_channels=3,
        num_classes=7,
    )


SPACES = {
    "digits_tiny": SearchSpace.from_preset("digits_tiny"),
    "odd": make_space(),
    "narrow": SearchSpace.mobilenet_v3(0.25, resolutions=(60, 64), num_classes=10),
}


def multiple_of_8(value):
    """The rule of MobileNet: to the nearest multiple, at least 8, at most a tenth downwards."""
    below = int(value) // 8 * 8
    nearest = max(8, below if value - below < 4 else below + 8)
    return nearest if nearest >= 0.9 * value else nearest + 8


def half(size):
    return (size + 1) // 2


def plain_costs(space, arch):
    """The five costs by walking through the network, without any code of the cost model."""
    bits = {site: (min(w, 8), min(a, 8)) for site, w, a in arch.bits}
    convolutions = []  # (MACs, weights, biases, (weight bits, activation bits))
    sites = []

    def add(site, area, weights, biases):
        sites.append(site)
        convolutions.append((area * weights, weights, biases, bits[site]))

    size = half(arch.resolution) if space.stem.stride == 2 else arch.resolution
    width = space.stem.width
    add("stem", size * size, space.stem.kernel_size**2 * space.input_channels * width, width)
    for s, blocks in enumerate(arch.stages):
        for b, block in enumerate(blocks):
            stage = space.stages[s]
            mid = width
            if block.expand_ratio != 1:
                mid = multiple_of_8(width * block.expand_ratio)
                add(f"s{s}.b{b}.expand", size * size, width * mid, mid)
            if b == 0 and stage.stride == 2:
                size = half(size)
            add(f"s{s}.b{b}.depthwise", size * size, block.kernel_size**2 * mid, mid)
            if stage.squeeze_excite:
                squeeze = multiple_of_8(mid // 4)
                convolutions.append((mid * squeeze, mid * squeeze, squeeze, (8, 8)))
                convolutions.append((squeeze * mid, squeeze * mid, mid, (8, 8)))
            add(f"s{s}.b{b}.project", size * size, mid * stage.width, stage.width)
            width = stage.width
    head = space.head
    add("head.expand", size * size, width * head.expand_width, head.expand_width)
    width = head.expand_width
    if head.mix_width is not None:
        add("head.mix", 1, width * head.mix_width, head.mix_width)
        width = head.mix_width
    add("classifier", 1, width * space.num_classes, space.num_classes)
    assert sites == list(bits)
    bitops = sum(macs * w * a for macs, _, _, (w, a) in convolutions)
    return {
        "macs": sum(macs for macs, *_ in convolutions),
        "mflops_8bit": bitops / 64 / 1e6,
        "bitops": bitops,
        "params": sum(weights + biases for _, weights, biases, _ in convolutions),
        "weight_bytes": sum(
            weights * w / 8 + 4 * biases for _, weights, biases, (w, _) in convolutions
        ),
    }


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_equals_a_plain_sum_over_the_decoded_architectures(space):
    genomes = space.sample_genomes(np.random.default_rng(0), 700)
    genomes = np.concatenate([genomes, space.encode(space.largest(bits=32))[None]])
    costs = CostModel(space).evaluate(genomes)
    assert tuple(costs) == METRICS
    expected = [plain_costs(space, space.decode(genome)) for genome in genomes]
    for metric in METRICS:
        assert costs[metric].dtype == np.float64
        np.testing.assert_array_equal(costs[metric], [row[metric] for row in expected])


def test_hand_computed_network():
    # 24 px -> stem 12 x 12 -> stage 1 at 6 x 6 -> stage 2 at 3 x 3.
    space = SPACES["digits_tiny"]
    arch = space.smallest(bits=2)
    macs = {
        "stem": 12 * 12 * 9 * 8,  # 10368
        "s0.b0.depthwise": 12 * 12 * 9 * 8,  # 10368
        "s0.b0.project": 12 * 12 * 8 * 8,  # 9216
        "s1.b0.expand": 12 * 12 * 8 * 16,  # 18432
        "s1.b0.depthwise": 6 * 6 * 9 * 16,  # 5184
        "s1.b0.project": 6 * 6 * 16 * 16,  # 9216
        "s2.b0.expand": 6 * 6 * 16 * 32,  # 18432
        "s2.b0.depthwise": 3 * 3 * 9 * 32,  # 2592
        "s2.b0.project": 3 * 3 * 32 * 24,  # 6912
        "head.expand": 3 * 3 * 24 * 96,  # 20736
        "head.mix": 96 * 64,  # 6144
        "classifier": 64 * 10,  # 640
    }
    rows = CostModel(space).per_site(arch)
    assert {row.site: row.macs for row in rows} == macs
    costs = CostModel(space).evaluate(space.encode(arch)[None])
    assert costs["macs"][0] == 118240
    # Stem and classifier at 8 x 8 bits, everything else at 2 x 2.
    assert costs["bitops"][0] == (10368 + 640) * 64 + (118240 - 11008) * 4
    biases = 8 + 8 + 8 + 16 + 16 + 16 + 32 + 32 + 24 + 96 + 64 + 10
    weights = 72 + 72 + 64 + 128 + 144 + 256 + 512 + 288 + 768 + 2304 + 6144 + 640
    assert costs["params"][0] == weights + biases
    assert costs["weight_bytes"][0] == (72 + 640) + (weights - 712) / 4 + 4 * biases


def test_hand_computed_squeeze_excite():
    # 20 channels at ratio 3: 60, a multiple of 8 is 64; a quarter, 16, in the middle.
    space = SPACES["odd"]
    rows = {row.site: row for row in CostModel(space).per_site(space.smallest(bits=8))}
    assert list(rows)[3:8] == [
        "s1.b0.expand",
        "s1.b0.depthwise",
        "s1.b0.se",
        "s1.b0.project",
        "s1.b1.expand",
    ]
    row = rows["s1.b1.se"]
    assert (row.output_size, row.weight_bits, row.activation_bits) == (1, 8, 8)
    assert row.macs == 2 * 64 * 16
    assert row.params == row.macs + 16 + 64
    assert row.weight_bytes == row.macs + 4 * (16 + 64)
    assert row.mflops_8bit == row.macs / 1e6
    assert "s0.b0.se" not in rows


def test_float_is_charged_as_8_bits():
    fields = {"resolutions": (32,), "num_classes": 10}
    as_float = SearchSpace.mobilenet_v3(0.25, stem_bits=(32, 32), **fields)
    as_integer = SearchSpace.mobilenet_v3(0.25, stem_bits=(8, 8), **fields)
    genomes = as_float.sample_genomes(np.random.default_rng(0), 50)
    costs = [CostModel(space).evaluate(genomes) for space in (as_float, as_integer)]
    stems = [CostModel(space).per_site(space.largest())[0] for space in (as_float, as_integer)]
    for metric in METRICS:
        np.testing.assert_array_equal(costs[0][metric], costs[1][metric])
    assert stems[0] == stems[1]
    # Weights alone in float: 8 x activation bits.
    space = SPACES["digits_tiny"]
    arch = space.largest(bits=4)
    bits = tuple((site, 32, a) if site == "head.mix" else (site, w, a) for site, w, a in arch.bits)
    row = CostModel(space).per_site(dataclasses.replace(arch, bits=bits))[-2]
    assert (row.site, row.weight_bits, row.activation_bits) == ("head.mix", 8, 4)
    assert row.mflops_8bit == 96 * 64 * 8 * 4 / 64 / 1e6


def test_largest_paper_network():
    # The convention of the QFA paper applied to its largest network at W4A4 and 224 px.
    space = SearchSpace.from_preset("mobilenet_v3_w1.2")
    arch = space.largest(bits=4)
    costs = CostModel(space).evaluate(space.encode(arch)[None])
    assert round(costs["mflops_8bit"][0], 2) == 220.77
    assert costs == plain_costs(space, arch)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_sites_add_up(space):
    cost = CostModel(space)
    for seed in range(20):
        arch = space.sample(np.random.default_rng(seed))
        total = cost.evaluate(space.encode(arch)[None])
        rows = cost.per_site(arch)
        sites = [row.site for row in rows if not row.site.endswith(".se")]
        assert sites == [site for site, _, _ in arch.bits]
        for metric in ("macs", "params", "weight_bytes"):
            assert sum(getattr(row, metric) for row in rows) == total[metric][0]
        assert sum(row.mflops_8bit for row in rows) == pytest.approx(total["mflops_8bit"][0])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_no_cost_falls_when_a_gene_rises(space):
    rng = np.random.default_rng(1)
    cost = CostModel(space)
    for gene in space.genes:
        genomes = np.array([[choice.choices[0] for choice in space.genes]] * 20, np.int32)
        for column, choice in enumerate(space.genes):
            genomes[:, column] = rng.choice(choice.choices, size=20)
        before = None
        for value in gene.choices:
            genomes[:, gene.column] = value
            costs = cost.evaluate(space.canonicalize(genomes))
            if before is not None:
                assert all((costs[metric] >= before[metric]).all() for metric in METRICS), gene
            before = costs


def test_genes_of_skipped_blocks_do_not_count():
    space = SPACES["odd"]
    raw = np.array([[gene.choices[-1] for gene in space.genes]], np.int32)
    raw[:, space.gene_index["s0.depth"]] = 1
    cost = CostModel(space)
    assert cost.evaluate(raw) == cost.evaluate(space.canonicalize(raw))


def test_chunks_do_not_show():
    space = SPACES["digits_tiny"]
    genomes = space.sample_genomes(np.random.default_rng(0), 1500)
    cost = CostModel(space)
    whole, reverse = cost.evaluate(genomes), cost.evaluate(genomes[::-1])
    for metric in METRICS:
        np.testing.assert_array_equal(whole[metric], reverse[metric][::-1])
        assert cost.evaluate(genomes[:0])[metric].shape == (0,)


def test_wrong_input_is_refused():
    space = SPACES["digits_tiny"]
    cost = CostModel(space)
    genome = space.encode(space.largest())[None]
    genome[0, 0] = 4
    with pytest.raises(GenomeError, match=r"s1.b0.kernel_size.*Received: 4"):
        cost.evaluate(genome)
    with pytest.raises(GenomeError, match="another space"):
        cost.evaluate(genome[:, :5])
    with pytest.raises(UnknownAccountingError, match=r"\['exact', 'official'\]. Received: 'flops'"):
        CostModel(space, accounting="flops")


def test_the_odd_space_is_decoded_as_meant():
    arch = SPACES["odd"].largest()
    assert arch.stages[1][0] == Block(7, 6)
