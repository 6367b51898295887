"""What a search found, and its file `pareto.json`."""

import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from qfa_tf.search.constraints import Constraint, parse_constraints
from qfa_tf.search.intervals import distinguishable, wilson, within_standard_error
from qfa_tf.search.pareto import non_dominated
from qfa_tf.search.predictor_quality import PredictorQuality
from qfa_tf.search.store import packed, unpacked
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.errors import DamagedFileError
from quantize_configs.files import write_text

SCHEMA_VERSION = 3
READ_VERSIONS = (2, 3)
"""Version 2 has no answers."""


class ResultError(DamagedFileError):
    """A `pareto.json` is damaged, was edited, or has another schema version."""


class Reference(NamedTuple):
    """A network found elsewhere, to be drawn beside the front."""

    label: str
    cost: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One evaluated subnet.

    Attributes:
      genome: Canonical.
      accuracy: Fraction from 0 to 1 on the split of the search.
      loss: Mean loss, NaN when there is none.
      images: Number of images.
      costs: Maps each cost metric to its value.
      generation: Generation or round in which it was first met, from 1.
      answers: A byte per image, 1 where it was right; None where they were not kept.
    """

    genome: tuple[int, ...]
    accuracy: float
    loss: float
    images: int
    costs: Mapping[str, float]
    generation: int
    answers: bytes | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy; that of a prediction says nothing."""
        return wilson(self.accuracy, self.images)


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Every fully evaluated candidate of a search, with what is needed to repeat it.

    Attributes:
      space: Search space.
      accounting: Of the cost model.
      objective: Cost metric that was minimised.
      minimize: Whether the chosen candidate is the one with the lowest objective, not the most
        accurate one.
      constraints: That the chosen candidate meets.
      bits: Bit-widths that the search was restricted to; None for all.
      uniform_bits: Whether each candidate has one bit-width everywhere.
      strategy: Its name.
      settings: Of the strategy.
      seed: Of the search.
      budget: Exact evaluations that were allowed.
      spent: Those that were used; partial ones count in part.
      abandoned: Candidates whose measurement was abandoned.
      checkpoint_key: Weights of the evaluator.
      calibration_key: Data of the evaluator.
      split: On which the accuracies were measured.
      candidates: In the order of evaluation.
      quality: Of the last predictor; None when there was none, or nothing to judge it by.
      versions: Of the programs that took part.
    """

    space: SearchSpace
    accounting: str
    objective: str
    minimize: bool
    constraints: tuple[Constraint, ...]
    bits: tuple[int, ...] | None
    uniform_bits: bool
    strategy: str
    settings: Mapping[str, Any]
    seed: int
    budget: int
    spent: float
    abandoned: int
    checkpoint_key: str
    calibration_key: str
    split: str
    candidates: tuple[Candidate, ...]
    quality: PredictorQuality | None
    versions: Mapping[str, str]

    @functools.cached_property
    def front_indices(self) -> tuple[int, ...]:
        """Positions in `candidates` of the front, cheapest first.

        The front is that of accuracy against `objective` over all candidates, whether or not they
        meet a constraint on the accuracy.
        """
        accuracy = np.array([candidate.accuracy for candidate in self.candidates])
        cost = np.array([candidate.costs[self.objective] for candidate in self.candidates])
        return tuple(non_dominated(accuracy, cost).tolist())

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The candidates that no other one dominates, cheapest first."""
        return tuple(self.candidates[i] for i in self.front_indices)

    @functools.cached_property
    def best_index(self) -> int | None:
        """Position of the most accurate candidate that meets all constraints, None if none does.

        Of equally accurate ones the cheapest, of equal ones the first evaluated.
        """
        allowed = [i for i, candidate in enumerate(self.candidates) if self.meets(candidate)]
        return min(allowed, key=self._most_accurate, default=None)

    @functools.cached_property
    def tied_indices(self) -> frozenset[int]:
        """Positions of the front that noise does not tell from the best one, which is among them.

        By a paired test of the answers to the same images (see `intervals.mcnemar`), within the
        constraints. Where answers were not kept, the best one is alone.
        """
        if self.best_index is None:
            return frozenset()
        best = self.candidates[self.best_index].answers
        return frozenset(
            {self.best_index}
            | {
                i
                for i in self.front_indices
                if self.meets(self.candidates[i])
                and not distinguishable(best, self.candidates[i].answers)
            }
        )

    @functools.cached_property
    def near_indices(self) -> frozenset[int]:
        """Those of `tied_indices` at most one standard error below the best one.

        That a test finds no difference on few images is no proof that there is none, so the choice
        goes no further down than that (see `intervals.within_standard_error`).
        """
        if self.best_index is None:
            return frozenset()
        best = self.candidates[self.best_index].answers
        return frozenset(
            i
            for i in self.tied_indices
            if i == self.best_index or _near(best, self.candidates[i].answers)
        )

    @functools.cached_property
    def chosen_index(self) -> int | None:
        """Position of the candidate to take, None if none meets the constraints.

        The cheapest of those within one standard error of the most accurate one; with `minimize`
        the cheapest of all, and of equally cheap ones the most accurate.
        """
        allowed = [i for i, candidate in enumerate(self.candidates) if self.meets(candidate)]
        return min(allowed, key=self.preference, default=None)

    def preference(self, index: int) -> tuple[bool, float, float]:
        """Sorts candidates by their positions, the one to choose first."""
        accuracy, cost = self._most_accurate(index)
        if self.minimize:
            return False, cost, accuracy
        return (False, cost, accuracy) if index in self.near_indices else (True, accuracy, cost)

    def _most_accurate(self, index: int) -> tuple[float, float]:
        candidate = self.candidates[index]
        return -candidate.accuracy, candidate.costs[self.objective]

    @property
    def chosen(self) -> Candidate | None:
        """The candidate at `chosen_index`."""
        return None if self.chosen_index is None else self.candidates[self.chosen_index]

    def meets(self, candidate: Candidate) -> bool:
        """Whether a candidate meets all constraints."""
        values = {**candidate.costs, "accuracy": candidate.accuracy}
        return all(bool(term.satisfied(values[term.metric])) for term in self.constraints)

    def architecture(self, candidate: Candidate) -> Architecture:
        """Returns the architecture of a candidate."""
        return self.space.decode(np.array(candidate.genome, np.int32))

    def write_pareto_json(self, path: str | os.PathLike) -> None:
        """Writes everything to `path`, replacing the file as a whole.

        Raises:
          FileWriteError: The file cannot be written; the old one is untouched.
        """
        content = _to_content(self)
        fields = {"schema_version": SCHEMA_VERSION, "digest": _digest(content), **content}
        write_text(path, _to_text(fields))


def load_pareto_json(path: str | os.PathLike) -> SearchResult:
    """Reads what `SearchResult.write_pareto_json` wrote.

    Raises:
      ResultError: Damaged, edited by hand, or of another schema version.
      FileNotFoundError: There is no such file.
    """
    path = pathlib.Path(path)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(fields, dict):
        raise _damaged(path, "it is no JSON object")
    version = fields.pop("schema_version", None)
    if version not in READ_VERSIONS or isinstance(version, bool):
        raise ResultError(
            f"{path} must have schema_version {' or '.join(map(str, READ_VERSIONS))}; write it "
            f"again with this version. Received: {version!r}"
        )
    if fields.pop("digest", None) != _digest(fields):
        raise _damaged(path, "its content does not match its digest")
    try:
        return _from_content(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _to_content(result: SearchResult) -> dict[str, Any]:
    content = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in ("space", "constraints", "candidates", "quality")
    }
    content["bits"] = None if result.bits is None else list(result.bits)
    content["versions"] = dict(result.versions)
    content["settings"] = dict(result.settings)
    content["quality"] = _quality_fields(result.quality)
    content["space"] = json.loads(result.space.to_json())
    content["constraints"] = [str(constraint) for constraint in result.constraints]
    content["candidates"] = [
        {
            "genome": list(candidate.genome),
            "accuracy": candidate.accuracy,
            "loss": None if math.isnan(candidate.loss) else candidate.loss,
            "images": candidate.images,
            "costs": dict(candidate.costs),
            "generation": candidate.generation,
            **({} if candidate.answers is None else {"answers": packed(candidate.answers).hex()}),
        }
        for candidate in result.candidates
    ]
    content["front"] = list(result.front_indices)
    content["chosen"] = result.chosen_index
    return content


def _to_text(fields: dict[str, Any]) -> str:
    """Returns JSON with one line per field and per candidate, to be read and compared."""
    lines = []
    for name, value in fields.items():
        text = json.dumps(value, allow_nan=False)
        if name == "candidates":
            rows = ",\n".join(json.dumps(row, allow_nan=False) for row in value)
            text = f"[\n{rows}\n]"
        lines.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _from_content(content: dict[str, Any]) -> SearchResult:
    content = dict(content)
    del content["front"], content["chosen"]
    content["space"] = SearchSpace.from_json(json.dumps(content["space"]))
    content["constraints"] = parse_constraints(content["constraints"])
    content["bits"] = None if content["bits"] is None else tuple(content["bits"])
    if content["quality"] is not None:
        content["quality"] = _quality(content["quality"])
    content["candidates"] = tuple(
        Candidate(
            **{
                **fields,
                "genome": tuple(fields["genome"]),
                "loss": math.nan if fields["loss"] is None else fields["loss"],
                "answers": _answers(fields),
            }
        )
        for fields in content["candidates"]
    )
    return SearchResult(**content)


def _answers(fields: dict[str, Any]) -> bytes | None:
    bits = fields.get("answers")
    return None if bits is None else unpacked(bytes.fromhex(bits), fields["images"])


def _quality_fields(quality: PredictorQuality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    fields = dataclasses.asdict(quality)
    fields["kendall_tau"] = None if math.isnan(quality.kendall_tau) else quality.kendall_tau
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}


def _quality(fields: dict[str, Any]) -> PredictorQuality:
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
    if fields["kendall_tau"] is None:
        fields["kendall_tau"] = math.nan
    return PredictorQuality(**fields)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(path: pathlib.Path, reason: object) -> ResultError:
    return ResultError(
        f"{path} is damaged or was edited: {reason}. It was left as it is; search again to write "
        "a new one (evaluations in the store are not repeated)."
    )


def _near(best: bytes | None, other: bytes | None) -> bool:
    return best is not None and other is not None and within_standard_error(best, other)
