"""What became of the constraints of a search: predicted, and measured on a file."""

import dataclasses
from collections.abc import Sequence

from qfa_tf.search import parse_constraint
from qfa_tf.search.constraints import format_number


@dataclasses.dataclass(frozen=True)
class Term:
    """One constraint of a search and what became of it.

    Attributes:
      constraint: Such as "tflite_bytes<=30000".
      predicted: What the search counted with.
      measured: On the file; None while it has not been.
      source: What `measured` was taken from: "file", "architecture" (a property of the network
        that its file cannot change) or the name of a benchmark.
    """

    constraint: str
    predicted: float
    measured: float | None = None
    source: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the file meets it; None while that is not known."""
        if self.measured is None:
            return None
        return bool(parse_constraint(self.constraint).satisfied(self.measured))

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.constraint}: {_shown(self.predicted)} predicted, not measured"
        verdict = "holds" if self.holds else "broken"
        told = f"{self.constraint} {verdict}: {_shown(self.measured)} by {self.source}"
        if self.measured != self.predicted:
            told += f", {_shown(self.predicted)} predicted"
        return told


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """A member of a front whose file broke the budget.

    Attributes:
      identity: Digest of the model that was not written.
      source: For people, such as "chosen" or "front 3".
      file_bytes: Size of that file.
      terms: What became of the budget.
    """

    identity: str
    source: str
    file_bytes: int
    terms: tuple[Term, ...]


def broken_terms(terms: Sequence[Term]) -> list[Term]:
    """Those that are known not to hold."""
    return [term for term in terms if term.holds is False]


def _shown(value: float) -> str:
    return format_number(round(value, 4))
