"""What was found in a network that was made elastic: every choice, and why others are none."""

import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that has or could have a choice.

    Attributes:
      name: Of the choice.
      role: One of `qfa_tf.network.choices.ROLES`.
      values: That it has, ascending.
      nodes: The nodes that it is about.
      reason: Why there is one value only; empty elsewhere.
      is_rigid: Whether the network allows no other.
    """

    name: str
    role: str
    values: tuple[int, ...]
    nodes: tuple[str, ...]
    reason: str = ""
    is_rigid: bool = False


TITLES = {
    "resolution": "image size",
    "depth": "blocks that are kept",
    "width": "channels",
    "kernel_size": "kernel sizes",
    "weight_bits": "weight bits",
    "activation_bits": "input bits",
}
_SHOWN = 3


class FindingsTable(MutableMapping[str, tuple[int, ...]]):
    """Choices by name with their values; printed, it says what each is about and why it is fixed.

    Values can be set, and the table given back as `elastic=` of `SearchSpace.from_model`.

    Args:
      title: First line.
      findings: In order.
    """

    def __init__(self, title: str, findings: Sequence[Finding]):
        self._title = title
        self._findings = {finding.name: finding for finding in findings}
        self._values = {finding.name: finding.values for finding in findings}

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._values[name]

    def __setitem__(self, name: str, values: Sequence[int]) -> None:
        if name not in self._values:
            raise KeyError(f"There is no choice {name!r}; the names are the keys of this table.")
        self._values[name] = tuple(values)

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def finding(self, name: str) -> Finding:
        """What was found under a name."""
        return self._findings[name]

    def __str__(self) -> str:
        lines = [self._title]
        for role, title in TITLES.items():
            rows = [self._findings[name] for name in self if self._findings[name].role == role]
            if not rows:
                continue
            elastic = sum(len(self._values[row.name]) > 1 for row in rows)
            lines.append(f"{title}: {elastic} of {len(rows)} with a choice")
            width = max(len(row.name) for row in rows)
            for row in rows:
                values = ", ".join(map(str, self._values[row.name]))
                about = _shown(row.nodes)
                note = f"  fixed: {row.reason}" if row.reason and len(row.values) < 2 else ""
                lines.append(f"  {row.name:<{width}}  {values:<14}  {about}{note}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__


def as_values(elastic: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]]:
    """Values by choice of an `elastic=` argument."""
    return {
        name: (values,) if isinstance(values, int) else tuple(values)
        for name, values in (elastic or {}).items()
    }


def _shown(nodes: Sequence[str]) -> str:
    rest = len(nodes) - _SHOWN
    return ", ".join(nodes[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
