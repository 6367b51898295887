"""What a person sees of a running training: one live line, and a line per epoch."""

import math

import numpy as np
import rich.console
import rich.progress


class TrainingDisplay:
    """The live line, as a context manager.

    Args:
      console: Where it is shown.
      step: Steps done.
      total: Steps in all.
      steps_per_epoch: For the number of the epoch.
      visible: False in processes that write nothing.

    Attributes:
      console: For lines above the live one.
    """

    def __init__(
        self,
        console: rich.console.Console,
        step: int,
        total: int,
        steps_per_epoch: int,
        visible: bool = True,
    ):
        columns = (
            rich.progress.TextColumn("epoch {task.fields[epoch]}"),
            rich.progress.BarColumn(bar_width=10),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[status]}"),
        )
        self._progress = rich.progress.Progress(*columns, console=console, disable=not visible)
        self._steps_per_epoch = steps_per_epoch
        self._epochs = math.ceil(total / steps_per_epoch)
        self._task = self._progress.add_task(
            "", total=total, completed=step, epoch="", status="tracing"
        )
        self.console = self._progress.console

    def __enter__(self) -> "TrainingDisplay":
        self._progress.start()
        return self

    def __exit__(self, *error) -> None:
        self._progress.stop()

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Shows a step that was done."""
        epoch = math.ceil(step / self._steps_per_epoch)
        self._progress.update(
            self._task, completed=step, epoch=f"{epoch}/{self._epochs}", status=_status(metrics)
        )


def epoch_summary(means: dict[str, float]) -> str:
    """Loss averaged over the roles of subnets, accuracies role by role, steps that were skipped."""
    accuracies = "  ".join(
        f"{key.removesuffix('_accuracy')} {value:.3f}"
        for key, value in means.items()
        if key.endswith("_accuracy")
    )
    skipped = f"  skipped {means['skipped']:.0%}" if means.get("skipped") else ""
    return f"loss {_mean_loss(means):.3f}  accuracy: {accuracies}{skipped}"


def _status(metrics: dict[str, float]) -> str:
    """A step, short enough for 80 columns."""
    if metrics.get("skipped"):
        return "not finite, skipped"
    accuracies = " ".join(
        f"{metrics[f'{role}_accuracy']:.2f} ({role})"
        for role in ("smallest", "largest", "subnet")
        if f"{role}_accuracy" in metrics
    )
    return f"loss {_mean_loss(metrics):.3f}  accuracy {accuracies}"


def _mean_loss(metrics: dict[str, float]) -> float:
    losses = [value for key, value in metrics.items() if key.endswith("_loss")]
    return float(np.mean(losses)) if losses else math.nan
