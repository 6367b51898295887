"""What a checkpoint holds beside the weights: where the training stands, and its half epoch."""

import dataclasses
import json

from qfa_tf.runs.errors import CheckpointError

SCHEMA_VERSION = 1


class EpochTotals:
    """Sums of the metrics over the steps of an epoch, exact across a resume.

    Attributes:
      seconds: Time spent.
    """

    def __init__(self):
        self.seconds = 0.0
        self._totals: dict[str, list[float]] = {}

    def add(self, metrics: dict[str, float], seconds: float) -> None:
        """Adds a step; metrics may come and go with the stages of a training."""
        self.seconds += seconds
        for key, value in metrics.items():
            total = self._totals.setdefault(key, [0.0, 0])
            total[0] += value
            total[1] += 1

    def means(self) -> dict[str, float]:
        """Mean of each metric over the steps that had it."""
        return {key: total / count for key, (total, count) in self._totals.items()}

    def to_dict(self) -> dict:
        """As plain data."""
        return {"seconds": self.seconds, "totals": self._totals}

    @classmethod
    def from_dict(cls, content: dict) -> "EpochTotals":
        """Reads what `to_dict` made."""
        totals = cls()
        totals.seconds = content["seconds"]
        totals._totals = {key: list(pair) for key, pair in content["totals"].items()}
        return totals


@dataclasses.dataclass
class Progress:
    """Where a training stands.

    Attributes:
      step: Steps done.
      seed: Of the run.
      stage: Index of the stage of the next step.
      epoch: Totals of the epoch that is not finished.
    """

    step: int
    seed: int
    stage: int
    epoch: EpochTotals = dataclasses.field(default_factory=EpochTotals)

    def to_json(self) -> str:
        """As JSON text."""
        content = {"schema_version": SCHEMA_VERSION, "step": self.step, "seed": self.seed}
        return json.dumps(content | {"stage": self.stage, "epoch": self.epoch.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Reads what `to_json` wrote.

        Raises:
          CheckpointError: It is damaged or of another version.
        """
        try:
            content = json.loads(text)
            if content["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {content['schema_version']!r}")
            epoch = EpochTotals.from_dict(content["epoch"])
            return cls(content["step"], content["seed"], content["stage"], epoch)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"The checkpoint holds no progress that this release reads ({error}). It was left "
                "as it is; train into another --workdir."
            ) from error
