"""One network of a search space, as plain data."""

import dataclasses
import json
from typing import Any

from qfa_tf.space.errors import ArchitectureError

SCHEMA_VERSION = 1
_KEYS = ("schema_version", "space", "resolution", "stages", "bits")


@dataclasses.dataclass(frozen=True)
class Block:
    """What an architecture chose for one of its blocks."""

    kernel_size: int
    expand_ratio: int


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
    """

    space: str
    resolution: int
    stages: tuple[tuple[Block, ...], ...]
    bits: tuple[tuple[str, int, int], ...]

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
                "stages": [[dataclasses.asdict(block) for block in stage] for stage in self.stages],
                "bits": self.site_bits,
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
            fields = json.loads(text)
        except ValueError as error:
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
        return cls(
            space=fields["space"],
            resolution=fields["resolution"],
            stages=tuple(_read_stage(stage) for stage in fields["stages"]),
            bits=tuple(_read_bits(site, bits) for site, bits in fields["bits"].items()),
        )

    def describe(self) -> str:
        """Returns a short text for people: resolution, then a line per block and other site."""
        depths = "-".join(str(depth) for depth in self.depths)
        lines = [f"{self.space}, {self.resolution} px, depths {depths}"]
        bits = self.site_bits
        shown = set()
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage):
                prefix = f"s{s}.b{b}."
                parts = [site for site in bits if site.startswith(prefix)]
                shown.update(parts)
                text = ", ".join(f"{site[len(prefix) :]} {_bits(bits[site])}" for site in parts)
                lines.append(f"{prefix[:-1]}: k{block.kernel_size} e{block.expand_ratio}, {text}")
        others = ", ".join(f"{site} {_bits(bits[site])}" for site in bits if site not in shown)
        return "\n".join([*lines, others])


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
        ok = isinstance(block, dict) and set(block) == {"kernel_size", "expand_ratio"}
        _check(
            ok and all(_is_int(value) for value in block.values()),
            "blocks with the ints kernel_size and expand_ratio",
            block,
        )
    return tuple(Block(**block) for block in stage)


def _read_bits(site: str, bits: Any) -> tuple[str, int, int]:
    ok = isinstance(bits, list) and len(bits) == 2 and all(_is_int(value) for value in bits)
    _check(ok, f"[weight bits, activation bits] at {site}", bits)
    return (site, *bits)
