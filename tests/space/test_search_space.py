"""Genes, sites, geometry, size and files of search spaces."""

import dataclasses
import itertools
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfa_tf.space import (
    Fixed,
    Gene,
    GenomeError,
    Head,
    InvalidSpaceError,
    SearchSpace,
    Stage,
    Stem,
    make_divisible,
)


@pytest.fixture(scope="module")
def space():
    return SearchSpace.from_preset("digits_tiny")


def tiny_space(**changes):
    """A space small enough to enumerate: 2 resolutions, one elastic stage, elastic weight bits."""
    fields = {
        "name": "tiny",
        "resolutions": (8, 12),
        "stem": Stem(4, 3, 1, "relu"),
        "stages": (Stage(8, 2, (1, 2), (3, 5), (2,), "relu6"),),
        "head": Head(16, None, "relu"),
        "weight_bits": (2, 8),
        "activation_bits": (8,),
        "fixed_bits": {
            "stem": (8, 8),
            "classifier": (8, 8),
            "head.expand": (4, 4),
            "s0.b0.expand": (8, 8),
            "s0.b1.expand": (8, 8),
            "s0.b1.project": (4, 8),
        },
        "input_channels": 1,
        "num_classes": 3,
        "width_divisor": 4,
    }
    return SearchSpace(**{**fields, **changes})


def every_raw_genome(space):
    return np.array(list(itertools.product(*(gene.choices for gene in space.genes))), np.int32)


@st.composite
def spaces(draw):
    def subset(values):
        return tuple(sorted(draw(st.sets(st.sampled_from(values), min_size=1, max_size=3))))

    stages = tuple(
        Stage(
            draw(st.integers(1, 20)),
            draw(st.sampled_from((1, 2))),
            subset((1, 2, 3)),
            subset((3, 5, 7)),
            draw(st.sampled_from(((1,), (2,), (2, 3), (3, 4, 6)))),
            draw(st.sampled_from(("relu", "relu6", "hard_swish"))),
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 3)))
    )
    return SearchSpace(
        name="drawn",
        resolutions=subset((17, 24, 33)),
        stem=Stem(draw(st.integers(1, 9)), 3, 2, "relu"),
        stages=stages,
        head=Head(draw(st.integers(1, 30)), draw(st.none() | st.integers(1, 30)), "relu6"),
        weight_bits=subset((2, 3, 4, 8)),
        activation_bits=subset((2, 3, 4, 8)),
        fixed_bits=draw(
            st.sampled_from(({}, {"stem": (8, 8)}, {"classifier": (8, 4), "stem": (32, 32)}))
        ),
        input_channels=1,
        num_classes=10,
        width_divisor=draw(st.sampled_from((1, 4, 8))),
    )


def test_a_family_stands_alone(space):
    assert SearchSpace(space.family) == space
    for wrong in (("drawn", {}), (space.family, {"name": "other"})):
        with pytest.raises(InvalidSpaceError, match="takes the settings of a family alone"):
            SearchSpace(wrong[0], **wrong[1])


def test_genes_come_in_the_documented_order(space):
    names = [gene.name for gene in space.genes]
    assert names[:5] == [
        "s1.b0.kernel_size",
        "s1.b1.kernel_size",
        "s2.b0.kernel_size",
        "s2.b1.kernel_size",
        "s1.b0.expand_ratio",
    ]
    assert names[8:13] == [
        "s1.depth",
        "s2.depth",
        "resolution",
        "s0.b0.depthwise.weight_bits",
        "s0.b0.depthwise.activation_bits",
    ]
    assert names[-2:] == ["head.mix.weight_bits", "head.mix.activation_bits"]
    assert space.gene_index == {gene.name: i for i, gene in enumerate(space.genes)}
    assert all(len(gene.choices) > 1 for gene in space.genes)


def test_lookup_reads_genes_and_fixed_choices_alike(space):
    genomes = space.sample_genomes(np.random.default_rng(0), 5)
    gene = space.lookup("resolution")
    assert isinstance(gene, Gene)
    np.testing.assert_array_equal(gene.read(genomes), genomes[:, space.gene_index["resolution"]])
    fixed = space.lookup("s0.b0.kernel_size")
    assert isinstance(fixed, Fixed)
    assert fixed.read(genomes) == 3
    assert space.lookup("classifier.weight_bits").choices == (8,)
    with pytest.raises(GenomeError, match=r"no choice 's0.b0.expand.weight_bits'"):
        space.lookup("s0.b0.expand.weight_bits")


def test_sites(space):
    names = [site.name for site in space.sites]
    assert names == [
        "stem",
        "s0.b0.depthwise",
        "s0.b0.project",
        *(f"s{s}.b{b}.{part}" for s in (1, 2) for b in (0, 1) for part in PARTS),
        "head.expand",
        "head.mix",
        "classifier",
    ]
    kinds = {site.name: site.kind for site in space.sites}
    assert kinds["stem"] == "convolution"
    assert kinds["s1.b1.depthwise"] == "depthwise"
    assert kinds["s1.b1.project"] == kinds["head.mix"] == "pointwise"
    assert kinds["classifier"] == "dense"
    assert space.sites[0].weight_bits == (8,)
    assert [site.slot for site in space.sites[:2]] == [None, "s0.b0"]


PARTS = ("expand", "depthwise", "project")


def test_head_mix_can_be_left_out(space):
    head = dataclasses.replace(space.head, mix_width=None)
    assert "head.mix" not in [site.name for site in space.replace(head=head).sites]


def test_geometry(space):
    assert [space.block_stride(1, block) for block in (0, 1)] == [2, 1]
    assert space.block_input_width(0, 0) == 8
    assert space.block_input_width(2, 0) == 16
    assert space.block_input_width(2, 1) == 24
    assert space.mid_width(0, 0, 1) == 8
    assert space.mid_width(2, 0, 3) == 48
    assert space.max_mid_width(2, 1) == 96
    assert [space.has_residual(0, 0), space.has_residual(1, 0), space.has_residual(1, 1)] == [
        True,
        False,
        True,
    ]
    assert space.feature_size(25, -1) == 13
    assert space.feature_size(25, 0) == 13
    assert space.feature_size(25, 1) == 7
    assert space.feature_size(25) == 4
    np.testing.assert_array_equal(space.feature_size(np.array([24, 28, 32])), [3, 4, 4])


def test_squeeze_width(space):
    # A quarter rounded down, then to a multiple of the divisor that is not much smaller.
    pairs = {8: 8, 48: 16, 64: 16, 72: 24, 120: 32, 144: 40, 288: 72, 1152: 288}
    assert {mid: space.squeeze_width(mid) for mid in pairs} == pairs
    assert tiny_space().squeeze_width(24) == 8


def test_ratio_one_keeps_an_indivisible_width():
    stages = (Stage(8, 1, (1,), (3,), (1,), "relu"),)
    space = tiny_space(stem=Stem(5, 3, 1, "relu"), stages=stages, fixed_bits={})
    assert space.mid_width(0, 0, 1) == 5


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 8), (11, 16), (12, 16), (28.8, 32), (48, 48), (57.6, 56), (10, 16)]
)
def test_make_divisible(value, expected):
    assert make_divisible(value, 8) == expected


def test_size_counts_the_distinct_canonical_genomes():
    space = tiny_space()
    canonical = space.canonicalize(every_raw_genome(space))
    assert space.size() == len(np.unique(canonical, axis=0))
    assert space.size() < len(canonical)


def test_canonicalize_voids_exactly_the_genes_of_skipped_blocks(space):
    raw = np.array([[gene.choices[0] for gene in space.genes]], np.int32)
    canonical = space.canonicalize(raw)[0]
    for gene in space.genes:
        skipped = gene.name.startswith(("s1.b1.", "s2.b1."))
        assert canonical[gene.column] == (0 if skipped else gene.choices[0])
    np.testing.assert_array_equal(raw, [[gene.choices[0] for gene in space.genes]])


@settings(max_examples=60, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_round_trips(space, seed):
    genomes = space.sample_genomes(np.random.default_rng(seed), 4)
    assert genomes.dtype == np.int32
    space.validate(genomes)
    np.testing.assert_array_equal(space.canonicalize(genomes), genomes)
    for genome in genomes:
        np.testing.assert_array_equal(space.encode(space.decode(genome)), genome)
    for arch in (space.largest(), space.smallest(), space.sample(np.random.default_rng(seed))):
        assert space.decode(space.encode(arch)) == arch
    again = SearchSpace.from_json(space.to_json())
    assert again == space
    assert hash(again) == hash(space)
    assert again.fingerprint == space.fingerprint


def test_decode_accepts_values_in_the_genes_of_skipped_blocks(space):
    raw = np.array([gene.choices[0] for gene in space.genes], np.int32)
    assert space.decode(raw) == space.decode(space.canonicalize(raw[None])[0]) == space.smallest()


def test_sampling_uses_only_its_generator(space):
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = space.sample_genomes(np.random.default_rng(3), 10)
    np.testing.assert_array_equal(first, space.sample_genomes(np.random.default_rng(3), 10))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_float_is_valid_but_never_sampled(space):
    genome = space.encode(space.largest(bits=32))
    space.validate(genome[None])
    bits = space.decode(genome).site_bits
    assert bits["s1.b0.expand"] == (32, 32)
    assert bits["stem"] == (8, 8)
    assert not (space.sample_genomes(np.random.default_rng(0), 500) == 32)[:, 11:].any()


def test_extremes_take_one_bit_width(space):
    bits = space.smallest(bits=4).site_bits
    assert {pair for site, pair in bits.items() if site not in space.fixed_bits} == {(4, 4)}
    with pytest.raises(GenomeError, match=r"must be one of \[2, 3, 4, 8, 32\].*Received: 5"):
        space.largest(bits=5)
    mixed = tiny_space(fixed_bits={}, activation_bits=(4, 8))
    with pytest.raises(GenomeError, match=r"must be one of \[8, 32\]"):
        mixed.largest(bits=4)


def test_restrict_keeps_the_encoding(space):
    choices = space.restrict(bits=(2, 4))
    assert len(choices) == space.n_genes
    assert choices[space.gene_index["head.mix.weight_bits"]] == (2, 4)
    assert choices[space.gene_index["resolution"]] == (24, 28, 32)
    genomes = space.sample_genomes(np.random.default_rng(0), 200, choices)
    assert set(np.unique(genomes[:, 11:])) == {0, 2, 4}
    with pytest.raises(GenomeError, match=r"some of \[2, 3, 4, 8\].*Received: \[5\]"):
        space.restrict(bits=(5,))
    mixed = tiny_space(fixed_bits={}, activation_bits=(3, 4))
    with pytest.raises(GenomeError, match=r"'stem.weight_bits' must keep one of \[2, 8\]"):
        mixed.restrict(bits=(3, 4))


@pytest.mark.parametrize("value", [7, 0, -1, 10**6, -(2**31)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_validate_names_gene_value_and_allowed(space, value, dtype):
    genomes = space.sample_genomes(np.random.default_rng(0), 1100).astype(dtype)
    column = space.gene_index["s1.b0.kernel_size"]
    genomes[1050, column] = value
    with pytest.raises(
        GenomeError, match=rf"'s1.b0.kernel_size' \(column 0\) of genome 1050 .* {value}$"
    ) as caught:
        space.validate(genomes)
    assert "[3, 5]" in str(caught.value)


def test_validate_wants_genes_of_active_blocks(space):
    genome = space.encode(space.largest())
    genome[space.gene_index["s2.b1.expand_ratio"]] = 0
    with pytest.raises(GenomeError, match=r"s2.b1.expand_ratio.*0 where the block is skipped"):
        space.validate(genome[None])


@pytest.mark.parametrize(
    ("genomes", "message"),
    [
        (np.zeros((2, 5), np.int32), "genome of another space"),
        (np.zeros(43, np.int32), r"genome\[None\]"),
        (np.zeros((2, 43)), "must be integers"),
    ],
)
def test_wrong_arrays_are_refused(space, genomes, message):
    for method in (space.validate, space.canonicalize):
        with pytest.raises(GenomeError, match=message):
            method(genomes)


def test_narrow_integers_are_read_right():
    space = tiny_space(resolutions=(8, 300))
    genomes = space.canonicalize(np.array([[g.choices[0] for g in space.genes]], np.int8))
    space.validate(genomes.astype(np.int8))


def test_no_genomes(space):
    none = np.zeros((0, space.n_genes), np.int32)
    space.validate(none)
    assert space.canonicalize(none).shape == none.shape


def test_a_space_without_genes():
    space = tiny_space(
        resolutions=(8,), weight_bits=(4,), stages=(Stage(8, 1, (1,), (3,), (2,), "relu"),),
        fixed_bits={},
    )  # fmt: skip
    assert (space.n_genes, space.size()) == (0, 1)
    assert space.encode(space.largest()).shape == (0,)
    assert space.sample(np.random.default_rng(0)) == space.smallest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutions": ()}, "resolutions must be a non-empty sequence"),
        ({"resolutions": (12, 8)}, r"ascending, \(8, 12\) here"),
        ({"weight_bits": (2, 5)}, r"weight_bits must be one of \[2, 3, 4, 8\]. Received: 5"),
        ({"weight_bits": (2, 32)}, "Received: 32"),
        ({"fixed_bits": {"s9.b0.expand": (8, 8)}}, r"does not have: \['s9.b0.expand'\]"),
        ({"fixed_bits": {"stem": (8, 7)}}, r"fixed_bits\['stem'\] must be one of"),
        ({"fixed_bits": {"stem": 8}}, r"must be \(weight bits, activation bits\)"),
        ({"fixed_bits": None}, "fixed_bits must map sites"),
        ({"stages": ()}, "one Stage or more"),
        ({"stages": ("a",)}, r"stages\[0\] must be a Stage"),
        ({"stem": None}, "stem must be a Stem"),
        ({"num_classes": 0}, "num_classes must be an int >= 1"),
        ({"input_channels": True}, "input_channels must be an int >= 1. Received: True"),
        ({"name": ""}, "name must be"),
    ],
)
def test_invalid_spaces_are_refused(change, message):
    with pytest.raises(InvalidSpaceError, match=message):
        tiny_space(**change)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: Stem(8, 4, 1, "relu"), r"stem.kernel_size must be one of \[3, 5, 7\]"),
        (lambda: Stem(8, 3, 3, "relu"), "stem.stride"),
        (
            lambda: Stem(8, 3, 1, "gelu"),
            r"must be one of \['relu', 'relu6', 'hard_swish'\]. .*'gelu'",
        ),
        (lambda: Stage(8, 1, (0, 1), (3,), (1,), "relu"), "stage.depths must be an int >= 1"),
        (lambda: Stage(8, 1, (1,), (3,), (1, 2), "relu"), "may contain 1 only alone"),
        (lambda: Stage(8, 1, (1,), (3, 9), (2,), "relu"), "stage.kernel_sizes"),
        (lambda: Stage(8, 1, (1,), (3,), (2,), "h_swish"), r"stage.activation .*'hard_swish'\]"),
        (
            lambda: Stage(8, 1, (1,), (3,), (2,), "relu", squeeze_excite=0.25),
            "stage.squeeze_excite must be True or False. Received: 0.25",
        ),
        (lambda: Stage(8, 1, (1,), (3,), (2,), "relu", None), "Received: None"),
        (lambda: Stage(8, 1, (1,), "35", (2,), "relu"), "stage.kernel_sizes"),
        (lambda: Head(0, 8, "relu"), "head.expand_width"),
        (lambda: Head(8, 0, "relu"), "head.mix_width"),
    ],
)
def test_invalid_parts_are_refused(part, message):
    with pytest.raises(InvalidSpaceError, match=message):
        part()


def test_fingerprints_tell_spaces_apart(space):
    other = space.replace(num_classes=11)
    assert other.fingerprint != space.fingerprint
    assert len(space.fingerprint) == 12
    reordered = dict(reversed(space.fixed_bits.items()))
    assert space.replace(fixed_bits=reordered).fingerprint == space.fingerprint


def test_spaces_can_be_pickled(space):
    assert pickle.loads(pickle.dumps(space)) == space


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda fields: {**fields, "schema_version": 99}, "schema_version 1. Received: 99"),
        (lambda fields: {**fields, "colour": 1}, r"unknown: \['colour'\]"),
        (lambda fields: {k: v for k, v in fields.items() if k != "stem"}, r"Missing: \['stem'\]"),
        (
            lambda fields: {**fields, "stem": {"width": 8}},
            r"stem must have the keys.*Missing: \['act",
        ),
        (lambda fields: {**fields, "stages": [3]}, r"stages\[0\] must be an object"),
        (lambda fields: [fields], "Received: None"),
    ],
)
def test_damaged_space_files_are_refused(space, damage, message):
    text = json.dumps(damage(json.loads(space.to_json())))
    with pytest.raises(InvalidSpaceError, match=message):
        SearchSpace.from_json(text)


def test_fields_with_defaults_may_be_missing_in_a_file(space):
    fields = json.loads(space.to_json())
    del fields["width_divisor"]
    for stage in fields["stages"]:
        del stage["squeeze_excite"]
    again = SearchSpace.from_json(json.dumps(fields))
    assert again == space
    assert again.fingerprint == space.fingerprint


def test_truncated_space_file_is_refused(space):
    with pytest.raises(InvalidSpaceError, match="damaged"):
        SearchSpace.from_json(space.to_json()[:-5])
