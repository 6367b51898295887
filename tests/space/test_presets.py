"""The presets, reduced versions of them, and spaces that users define with the same parts."""

import json

import numpy as np
import pytest

from qfa_tf.space import Head, InvalidSpaceError, SearchSpace, Stage, Stem
from qfa_tf.space.presets import names

PAPERS = {
    # Stem, six stages, head.expand, head.mix.
    "mobilenet_v3_w1.0": (16, 16, 24, 40, 80, 112, 160, 960, 1280),
    "mobilenet_v3_w1.2": (24, 24, 32, 48, 96, 136, 192, 1152, 1536),
    "mobilenet_v3_mobile": (16, 16, 24, 40, 80, 112, 160, 960, 1280),
}
BLOCK = 3 * 3 * 3**6
"""Kernel, ratio, and two bit-widths of three convolutions: the choices of a block of the papers."""


def widths(space):
    head = space.head
    stages = (stage.width for stage in space.stages)
    return (space.stem.width, *stages, head.expand_width, head.mix_width)


def test_the_registry_has_the_spaces_of_the_papers():
    assert {"digits_tiny", *PAPERS} <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_preset_is_a_whole_space(name):
    space = SearchSpace.from_preset(name)
    assert space.name == name
    again = SearchSpace.from_json(space.to_json())
    assert again == space
    assert again.fingerprint == space.fingerprint
    genomes = space.sample_genomes(np.random.default_rng(0), 20)
    space.validate(genomes)
    for genome in genomes:
        np.testing.assert_array_equal(space.encode(space.decode(genome)), genome)
    for arch in (space.largest(), space.smallest()):
        assert space.decode(space.encode(arch)) == arch
    sizes = [space.network.size(node.name, space.resolutions[0]) for node in space.network.nodes]
    assert min(sizes) >= 1
    assert len({SearchSpace.from_preset(other).fingerprint for other in names()}) == len(names())


@pytest.mark.parametrize("name", ["mobilenet_v3_w1.0", "mobilenet_v3_w1.2"])
def test_sizes_of_the_papers_spaces(name):
    # "More than 10^76 subnets" are the five stages; 8 more bit genes (first block: depthwise and
    # project; head.expand and head.mix) and 25 resolutions come on top.
    space = SearchSpace.from_preset(name)
    stages = (BLOCK**2 + BLOCK**3 + BLOCK**4) ** 5
    assert f"{stages:.2e}" == "2.19e+76"
    assert space.size() == 25 * 3**8 * stages
    assert space.n_genes == 20 + 20 + 5 + 1 + 8 + 20 * 6 == 174
    assert sum(gene.name.endswith("_bits") for gene in space.genes) == 128


def test_size_of_the_mobile_space():
    # Weight bits alone are chosen: one binary gene per convolution.
    space = SearchSpace.from_preset("mobilenet_v3_mobile")
    block = 3 * 3 * 2**3
    assert space.size() == 25 * 2**4 * (block**2 + block**3 + block**4) ** 5
    assert space.n_genes == 20 + 20 + 5 + 1 + 4 + 20 * 3
    assert {site.activation_bits for site in space.sites} == {(8,)}


@pytest.mark.parametrize(("name", "expected"), PAPERS.items(), ids=PAPERS)
def test_structure_of_the_mobilenet_v3_spaces(name, expected):
    space = SearchSpace.from_preset(name)
    is_mobile = name == "mobilenet_v3_mobile"
    assert widths(space) == expected
    assert space.stem.stride == 2
    assert [stage.stride for stage in space.stages] == [1, 2, 2, 2, 1, 2]
    assert space.resolutions == tuple(range(128, 225, 4))
    assert (space.input_channels, space.num_classes) == (3, 1000)
    first, *others = space.stages
    assert (first.depths, first.kernel_sizes, first.expand_ratios) == ((1,), (3,), (1,))
    for stage in others:
        assert (stage.depths, stage.kernel_sizes, stage.expand_ratios) == (
            (2, 3, 4),
            (3, 5, 7),
            (3, 4, 6),
        )
    squeeze_excite = [stage.squeeze_excite for stage in space.stages]
    parts = (space.stem, *space.stages, space.head)
    activations = [part.activation for part in parts]
    if is_mobile:
        assert not any(squeeze_excite)
        assert set(activations) == {"relu6"}
        assert space.fixed_bits == {"stem": (8, 8), "classifier": (8, 8)}
        assert (space.weight_bits, space.activation_bits) == ((4, 8), (8,))
    else:
        assert squeeze_excite == [False, False, True, False, True, True]
        assert activations == ["hard_swish", *["relu"] * 3, *["hard_swish"] * 4]
        assert space.fixed_bits == {"stem": (32, 32), "classifier": (8, 8)}
        assert space.weight_bits == space.activation_bits == (2, 3, 4)


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(InvalidSpaceError, match=r"digits_tiny.*Received: 'huge'"):
        SearchSpace.from_preset("huge")


# Reduced versions.


def test_presets_are_one_function_of_their_options():
    for multiplier in (1.0, 1.2):
        preset = SearchSpace.from_preset(f"mobilenet_v3_w{multiplier}")
        assert SearchSpace.mobilenet_v3(multiplier, name=preset.name) == preset
    mobile = SearchSpace.mobilenet_v3(
        name="mobilenet_v3_mobile",
        weight_bits=(4, 8),
        activation_bits=(8,),
        stem_bits=(8, 8),
        activation="relu6",
        squeeze_excite=False,
    )
    assert mobile == SearchSpace.from_preset("mobilenet_v3_mobile")


def test_a_reduced_version():
    space = SearchSpace.mobilenet_v3(
        0.25,
        resolutions=(48, 64),
        depths=(1, 2),
        kernel_sizes=(3, 5),
        expand_ratios=(3, 4),
        weight_bits=(2, 4, 8),
        activation_bits=(4, 8),
        stem_bits=(8, 8),
        classifier_bits=(8, 4),
        fixed_bits={"head.mix": (4, 4)},
        stem_stride=1,
        input_channels=1,
        num_classes=10,
    )
    assert space.name == "mobilenet_v3_w0.25_48to64px"
    assert widths(space) == (8, 8, 8, 16, 24, 32, 40, 240, 320)
    assert [space.feature_size(64, stage) for stage in range(-1, 6)] == [64, 64, 32, 16, 8, 8, 4]
    assert space.lookup("classifier.activation_bits").choices == (4,)
    assert space.lookup("head.mix.weight_bits").choices == (4,)
    block = 2 * 2 * 6**3
    # Two resolutions; bits of the first block's two convolutions and of head.expand.
    assert space.size() == 2 * 6**3 * (block + block**2) ** 5
    genomes = space.sample_genomes(np.random.default_rng(0), 20)
    for genome in genomes:
        np.testing.assert_array_equal(space.encode(space.decode(genome)), genome)


@pytest.mark.parametrize(
    ("multiplier", "resolutions", "name"),
    [(1, (64,), "w1_64px"), (0.25, (32, 48, 64), "w0.25_32to64px"), (1.2, [64], "w1.2_64px")],
)
def test_names_of_reduced_versions(multiplier, resolutions, name):
    space = SearchSpace.mobilenet_v3(multiplier, resolutions=resolutions)
    assert space.name == f"mobilenet_v3_{name}"


@pytest.mark.parametrize("multiplier", [0.1, 0.25, 0.35, 0.5, 0.75, 1.4, 2])
def test_widths_are_multiples_of_8_and_close_to_the_multiplied_ones(multiplier):
    space = SearchSpace.mobilenet_v3(multiplier)
    for width, base in zip(widths(space), PAPERS["mobilenet_v3_w1.0"], strict=True):
        assert width % 8 == 0
        assert abs(width - base * multiplier) <= 8
        assert width >= 0.9 * base * multiplier


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_mult": 0}, r"width_mult must be a number in \(0, 8\]. Received: 0"),
        ({"width_mult": float("nan")}, "width_mult.*nan"),
        ({"width_mult": "1.2"}, "width_mult.*'1.2'"),
        ({"width_mult": True}, "width_mult.*True"),
        ({"resolutions": ()}, r"resolutions must be a non-empty sequence.*Received: \(\)"),
        ({"resolutions": 64}, "resolutions must be a non-empty sequence.*Received: 64"),
        ({"resolutions": (64.0,)}, "resolutions must be an int >= 1. Received: 64.0"),
        ({"depths": 3}, "stage.depths must be a non-empty sequence"),
        ({"kernel_sizes": (3, 4)}, r"stage.kernel_sizes must be one of \[3, 5, 7\]. Received: 4"),
        ({"expand_ratios": (1, 3)}, "may contain 1 only alone"),
        ({"weight_bits": (1, 2)}, r"weight_bits must be one of \[2, 3, 4, 8\]. Received: 1"),
        ({"activation_bits": (4, 32)}, "activation_bits must be one of.*Received: 32"),
        ({"stem_bits": 8}, r"fixed_bits\['stem'\] must be \(weight bits, activation bits\)"),
        ({"fixed_bits": None}, "fixed_bits must map sites.*Received: None"),
        ({"fixed_bits": {"s0.b0.se": (8, 8)}}, r"does not have: \['s0.b0.se'\]"),
        ({"activation": "swish"}, r"activation must be one of .*'hard_swish'\]. Received: 'swish'"),
        ({"squeeze_excite": "no"}, "squeeze_excite must be True or False. Received: 'no'"),
        ({"stem_stride": 4}, r"stem.stride must be one of \[1, 2\]"),
        ({"num_classes": 0}, "num_classes must be an int >= 1"),
        ({"name": ""}, "name must be a non-empty string"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InvalidSpaceError, match=message):
        SearchSpace.mobilenet_v3(**options)


# Spaces of one's own.


def own_space(**changes):
    fields = {
        "name": "own",
        "resolutions": (32,),
        "stem": Stem(8, 3, 2, "hard_swish"),
        "stages": (
            Stage(16, 2, (1, 2), (3, 5), (2, 4), "relu", squeeze_excite=True),
            Stage(24, 1, (1,), (5,), (3,), "hard_swish", squeeze_excite=True),
        ),
        "head": Head(64, None, "hard_swish"),
        "weight_bits": (4, 8),
        "activation_bits": (8,),
        "fixed_bits": {"stem": (8, 8)},
        "input_channels": 3,
        "num_classes": 5,
    }
    return SearchSpace(**{**fields, **changes})


def test_own_space_with_squeeze_excite_and_hard_swish():
    space = own_space()
    assert SearchSpace.from_json(space.to_json()) == space
    block = 2 * 2 * 2**3
    assert space.size() == (block + block**2) * 2**3 * 2 * 2
    # Squeeze-excite has no quantizers: it is no site and adds no choice.
    without = own_space(
        stages=tuple(Stage(**{**vars(s), "squeeze_excite": False}) for s in space.stages)
    )
    assert without.sites == space.sites
    assert without.choices == space.choices
    assert without.fingerprint != space.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"squeeze_excite": 1}, "stage.squeeze_excite must be True or False. Received: 1"),
        ({"squeeze_excite": None}, "stage.squeeze_excite must be True or False"),
        ({"activation": "hardswish"}, r"stage.activation must be one of .*Received: 'hardswish'"),
        ({"se": True}, r"stages\[1\] must have the keys.*unknown: \['se'\]"),
    ],
)
def test_wrong_stages_in_a_file_are_refused(change, message):
    fields = json.loads(own_space().to_json())
    fields["stages"][1].update(change)
    with pytest.raises(InvalidSpaceError, match=message):
        SearchSpace.from_json(json.dumps(fields))
