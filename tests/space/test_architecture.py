"""Architectures: files, text for people, and checks against a space."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfa_tf.space import Architecture, ArchitectureError, Block, SearchSpace

SPACE = SearchSpace.from_preset("digits_tiny")


@pytest.fixture
def arch():
    return SPACE.smallest(bits=2)


@given(st.integers(0, 2**32 - 1))
def test_json_round_trip(seed):
    arch = SPACE.sample(np.random.default_rng(seed))
    assert Architecture.from_json(arch.to_json()) == arch


def test_properties(arch):
    assert arch.depths == (1, 1, 1)
    assert arch.site_bits["stem"] == (8, 8)
    assert arch.site_bits["s1.b0.expand"] == (2, 2)
    assert "s1.b1.expand" not in arch.site_bits
    assert arch.stages[1] == (Block(kernel_size=3, expand_ratio=2),)


def test_describe_names_every_site(arch):
    text = arch.describe()
    assert text.splitlines()[0] == "digits_tiny, 24 px, depths 1-1-1"
    assert "s1.b0: k3 e2, expand w2a2, depthwise w2a2, project w2a2" in text
    assert text.count("w8a8") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 1. Received: 2"),
        ({"extra": 1}, r"unknown: \['extra'\]"),
        ({"resolution": "24"}, "an int as resolution"),
        ({"resolution": True}, "an int as resolution"),
        ({"space": 3}, "a string as space"),
        ({"stages": [[{"kernel_size": 3}]]}, "kernel_size and expand_ratio"),
        ({"stages": [3]}, "a list of blocks"),
        ({"stages": {}}, "a list of stages"),
        ({"bits": {"stem": [8]}}, r"\[weight bits, activation bits\] at stem"),
        ({"bits": [8]}, "an object as bits"),
    ],
)
def test_malformed_json_is_refused(arch, change, message):
    text = json.dumps({**json.loads(arch.to_json()), **change})
    with pytest.raises(ArchitectureError, match=message):
        Architecture.from_json(text)


def test_missing_keys_are_named(arch):
    fields = json.loads(arch.to_json())
    del fields["bits"]
    with pytest.raises(ArchitectureError, match=r"Missing: \['bits'\]"):
        Architecture.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[1", "null", '"a"'])
def test_other_text_is_refused(text):
    with pytest.raises(ArchitectureError, match="JSON"):
        Architecture.from_json(text)


def with_bits(arch, site, *bits):
    rows = tuple((site, *bits) if row[0] == site else row for row in arch.bits)
    return dataclasses.replace(arch, bits=rows)


def test_encode_refuses_bits_outside_the_space(arch):
    with pytest.raises(
        ArchitectureError, match=r"s1.b0.expand.weight_bits must be one of \[2, 3, 4, 8\].*: 5"
    ):
        SPACE.encode(with_bits(arch, "s1.b0.expand", 5, 8))
    with pytest.raises(ArchitectureError, match=r"stem.activation_bits must be one of \[8\].*: 32"):
        SPACE.encode(with_bits(arch, "stem", 8, 32))


def test_encode_takes_float_where_bits_can_be_chosen(arch):
    genome = SPACE.encode(with_bits(arch, "head.mix", 32, 4))
    assert SPACE.decode(genome).site_bits["head.mix"] == (32, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "other"}, "belongs to space 'other'"),
        ({"resolution": 25}, r"resolution must be one of \[24, 28, 32\].*25"),
        ({"stages": ()}, "have 3 stages. Received: 0"),
        ({"stages": ((Block(3, 1),), (Block(7, 2),), (Block(3, 2),))}, "s1.b0.kernel_size"),
        ({"stages": ((Block(3, 1),), (Block(3, 6),), (Block(3, 2),))}, "s1.b0.expand_ratio"),
        ({"stages": ((Block(3, 1),), (), (Block(3, 2),))}, "s1.depth"),
        ({"stages": ((Block(5, 1),), (Block(3, 2),), (Block(3, 2),))}, "s0.b0.kernel_size"),
    ],
)
def test_encode_refuses_what_the_space_does_not_have(arch, change, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.encode(dataclasses.replace(arch, **change))


def test_encode_refuses_missing_unknown_and_repeated_sites(arch):
    with pytest.raises(ArchitectureError, match=r"Missing: \['stem'\]"):
        SPACE.encode(dataclasses.replace(arch, bits=arch.bits[1:]))
    with pytest.raises(ArchitectureError, match=r"not active or unknown: \['s1.b1.expand'\]"):
        SPACE.encode(dataclasses.replace(arch, bits=(*arch.bits, ("s1.b1.expand", 2, 2))))
    with pytest.raises(ArchitectureError, match=r"repeated: \['stem'\]"):
        SPACE.encode(dataclasses.replace(arch, bits=(*arch.bits, arch.bits[0])))


def test_a_key_that_stands_twice_is_refused(arch):
    text = arch.to_json().replace('"s0.b0.depthwise"', '"stem"')
    with pytest.raises(ArchitectureError, match="damaged: 'stem' stands in it twice"):
        Architecture.from_json(text)
