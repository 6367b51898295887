"""One network of a search space, as plain data."""

import dataclasses
import json
from typing import Any

from qfa_tf.space.errors import ArchitectureError
from qfa_tf.space.short_names import short_names

SCHEMA_VERSION = 1
_KEYS = ("schema_version", "space", "resolution", "stages", "bits")
_OTHER = "choices"
"""A key that only architectures with such choices have."""
BLOCK_ROLES = (("kernel_size", "expand_ratio"), ("width",))
"""The choices that a `Block` can hold, and no others."""


@dataclasses.dataclass(frozen=True)
class Block:
    """What an architecture chose for one of its blocks; None where there is no such choice.

    Attributes:
      kernel_size: Of the depthwise convolution.
      expand_ratio: Hidden over input channels.
      width: Hidden channels.
    """

    kernel_size: int | None = None
    expand_ratio: int | None = None
    width: int | None = None

    @property
    def fields(self) -> dict[str, int]:
        """What was chosen, by role."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        return " ".join(f"{name[0]}{value}" for name, value in self.fields.items())


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network: resolution, blocks per stage, and bit-widths of every site it has.

    Nothing is checked against a space here; `SearchSpace.encode` does that.

    Attributes:
      space: Name of the search space.
      resolution: Height and width of the input in pixels.
      stages: The kept blocks of every stage.
      bits: (site, weight bits, activation bits) of every active site, fixed ones included, in the
        order of `SearchSpace.sites`. 32 stands for float.
      choices: (choice, value) of whatever else the space chooses, where blocks cannot hold it.
    """

    space: str
    resolution: int
    stages: tuple[tuple[Block, ...], ...]
    bits: tuple[tuple[str, int, int], ...]
    choices: tuple[tuple[str, int], ...] = ()

    @property
    def site_bits(self) -> dict[str, tuple[int, int]]:
        """Maps each site to (weight bits, activation bits)."""
        return {site: (weight, activation) for site, weight, activation in self.bits}

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of blocks per stage."""
        return tuple(len(stage) for stage in self.stages)

    def to_json(self) -> str:
        """Returns the architecture as JSON text with a schema version."""
        return json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "space": self.space,
                "resolution": self.resolution,
                "stages": [[block.fields for block in stage] for stage in self.stages],
                "bits": self.site_bits,
                **({_OTHER: dict(self.choices)} if self.choices else {}),
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """Reads what `to_json` wrote.

        Raises:
          ArchitectureError: The text is no JSON, has another schema version, or has missing,
            unknown or malformed entries.
        """
        try:
            fields = json.loads(text, object_pairs_hook=_without_repetition)
        except (TypeError, ValueError) as error:  # TypeError: no text
            raise ArchitectureError(
                f"The text of an architecture must be JSON as written by Architecture.to_json(); "
                f"this one is damaged: {error}"
            ) from error
        _check(isinstance(fields, dict), "an object", fields)
        version = fields.get("schema_version")
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise ArchitectureError(
                f"This version reads architectures of schema_version {SCHEMA_VERSION}. "
                f"Received: {version!r}"
            )
        choices = fields.pop(_OTHER, {})
        if set(fields) != set(_KEYS):
            raise ArchitectureError(
                f"An architecture has exactly the keys {list(_KEYS)}. "
                f"Missing: {sorted(set(_KEYS) - set(fields))}; "
                f"unknown: {sorted(set(fields) - set(_KEYS))}"
            )
        _check(isinstance(fields["space"], str), "a string as space", fields["space"])
        _check(_is_int(fields["resolution"]), "an int as resolution", fields["resolution"])
        _check(isinstance(fields["stages"], list), "a list of stages", fields["stages"])
        _check(isinstance(fields["bits"], dict), "an object as bits", fields["bits"])
        ok = isinstance(choices, dict) and all(_is_int(value) for value in choices.values())
        _check(ok, "an object of ints as choices", choices)
        return cls(
            space=fields["space"],
            resolution=fields["resolution"],
            stages=tuple(_read_stage(stage) for stage in fields["stages"]),
            bits=tuple(_read_bits(site, bits) for site, bits in fields["bits"].items()),
            choices=tuple(choices.items()),
        )

    def describe(self) -> str:
        """Returns a short text for people: resolution, then a line per block and other site."""
        depths = "-".join(str(depth) for depth in self.depths)
        lines = [f"{self.space}, {self.resolution} px, depths {depths}"]
        bits = self.site_bits
        blocks = {
            f"s{s}.b{b}": one for s, row in enumerate(self.stages) for b, one in enumerate(row)
        }
        others = [f"{name} {value}" for name, value in self.choices]
        for prefix, names in short_names(bits).items():
            pairs = [f"{short} {_bits(bits[name])}" for short, name in names.items()]
            if prefix in blocks:
                lines.append(f"{prefix}: {', '.join([str(blocks[prefix]), *pairs])}")
            else:
                others += [f"{name} {_bits(bits[name])}" for name in names.values()]
        return "\n".join([*lines, ", ".join(others)])


def _bits(pair: tuple[int, int]) -> str:
    return f"w{pair[0]}a{pair[1]}"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check(condition: bool, expected: str, received: Any) -> None:
    if not condition:
        raise ArchitectureError(
            f"The JSON of an architecture must have {expected}, as Architecture.to_json() writes "
            f"it. Received: {received!r}"
        )


def _read_stage(stage: Any) -> tuple[Block, ...]:
    _check(isinstance(stage, list), "a list of blocks per stage", stage)
    for block in stage:
        ok = isinstance(block, dict) and any(set(block) == {*roles} for roles in (*BLOCK_ROLES, ()))
        _check(
            ok and all(_is_int(value) for value in block.values()),
            "blocks with the ints kernel_size and expand_ratio, or width, or nothing",
            block,
        )
    return tuple(Block(**block) for block in stage)


def _read_bits(site: str, bits: Any) -> tuple[str, int, int]:
    ok = isinstance(bits, list) and len(bits) == 2 and all(_is_int(value) for value in bits)
    _check(ok, f"[weight bits, activation bits] at {site}", bits)
    return (site, *bits)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; one that names a key twice says two things."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands in it twice")
    return found
