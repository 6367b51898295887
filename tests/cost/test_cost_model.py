"""Costs against hand computation and an independent plain-Python sum."""

import numpy as np
import pytest

from qfa_tf.cost import METRICS, CostModel, UnknownAccountingError
from qfa_tf.space import Block, GenomeError, Head, SearchSpace, Stage, Stem


def make_space():
    """Odd sizes, indivisible widths, kernel 7, a fixed block, a stage without elastic depth."""
    return SearchSpace(
        name="odd",
        resolutions=(17, 24, 33),
        stem=Stem(10, 3, 2, "relu6"),
        stages=(
            Stage(10, 1, (1, 2), (3, 5), (1,), "relu"),
            Stage(20, 2, (2,), (3, 5, 7), (3, 4, 6), "relu6"),
            Stage(20, 1, (1, 2, 3), (5,), (2,), "relu6"),
        ),
        head=Head(50, None, "relu6"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8), "s2.b1.project": (4, 4)},
        input_channels=3,
        num_classes=7,
    )


SPACES = {"digits_tiny": SearchSpace.from_preset("digits_tiny"), "odd": make_space()}


def half(size):
    return (size + 1) // 2


def plain_costs(space, arch):
    """The five costs by walking through the network, without any code of the cost model."""
    convolutions = []  # (site, MACs, weights, biases)
    size = half(arch.resolution) if space.stem.stride == 2 else arch.resolution
    width = space.stem.width
    weights = space.stem.kernel_size**2 * space.input_channels * width
    convolutions.append(("stem", size * size * weights, weights, width))
    for s, blocks in enumerate(arch.stages):
        for b, block in enumerate(blocks):
            out = space.stages[s].width
            mid = width
            if block.expand_ratio != 1:
                mid = max(8, int(width * block.expand_ratio + 4) // 8 * 8)
                mid += 8 if mid < 0.9 * width * block.expand_ratio else 0
                expand = width * mid
                convolutions.append((f"s{s}.b{b}.expand", size * size * expand, expand, mid))
            if b == 0 and space.stages[s].stride == 2:
                size = half(size)
            depthwise = block.kernel_size**2 * mid
            convolutions.append((f"s{s}.b{b}.depthwise", size * size * depthwise, depthwise, mid))
            project = mid * out
            convolutions.append((f"s{s}.b{b}.project", size * size * project, project, out))
            width = out
    head = space.head
    weights = width * head.expand_width
    convolutions.append(("head.expand", size * size * weights, weights, head.expand_width))
    width = head.expand_width
    if head.mix_width is not None:
        weights = width * head.mix_width
        convolutions.append(("head.mix", weights, weights, head.mix_width))
        width = head.mix_width
    weights = width * space.num_classes
    convolutions.append(("classifier", weights, weights, space.num_classes))
    bits = arch.site_bits
    assert [site for site, *_ in convolutions] == list(bits)
    bitops = sum(macs * bits[site][0] * bits[site][1] for site, macs, _, _ in convolutions)
    return {
        "macs": sum(macs for _, macs, _, _ in convolutions),
        "mflops_8bit": bitops / 64 / 1e6,
        "bitops": bitops,
        "params": sum(weights + biases for _, _, weights, biases in convolutions),
        "weight_bytes": sum(w * bits[site][0] / 8 + 4 * b for site, _, w, b in convolutions),
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


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_sites_add_up(space):
    cost = CostModel(space)
    for seed in range(20):
        arch = space.sample(np.random.default_rng(seed))
        total = cost.evaluate(space.encode(arch)[None])
        rows = cost.per_site(arch)
        assert [row.site for row in rows] == [site for site, _, _ in arch.bits]
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
    with pytest.raises(UnknownAccountingError, match=r"\['exact'\]. Received: 'official'"):
        CostModel(space, accounting="official")


def test_the_odd_space_is_decoded_as_meant():
    arch = SPACES["odd"].largest()
    assert arch.stages[1][0] == Block(7, 6)
