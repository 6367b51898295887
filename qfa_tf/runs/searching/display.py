"""What a person sees while a search runs: a live line, and a line per generation."""

import time

import rich.console
import rich.progress

from qfa_tf.runs.messages import say
from qfa_tf.search import Progress


class SearchDisplay:
    """Shows the progress of a search and keeps the time of its phases.

    Args:
      console: Where to print.

    Attributes:
      seconds: Time per phase.
    """

    def __init__(self, console: rich.console.Console):
        self.seconds: dict[str, float] = {}
        self._console = console
        self._began = self._last = time.perf_counter()
        self._live = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=12),
            rich.progress.TextColumn("{task.fields[status]}"),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._live.add_task("starting", total=1, status="")

    def __enter__(self) -> "SearchDisplay":
        self._live.start()
        return self

    def __exit__(self, *error) -> None:
        self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Shows `progress`."""
        now = time.perf_counter()
        phase = "search" if progress.phase == "generation" else progress.phase
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
        of = f"/{progress.steps}" if progress.steps else ""
        self._live.update(
            self._task,
            description=f"{progress.phase} {progress.step}{of}",
            total=progress.budget,
            completed=min(progress.spent, progress.budget),
            status=_status(progress),
        )
        if progress.phase == "generation" or (
            progress.step == progress.steps and progress.phase in ("sample", "predict", "verify")
        ):
            say(
                self._live.console,
                f"{progress.phase} {progress.step:>3}{of}  {_status(progress)}  "
                f"{now - self._began:.0f} s",
            )


def _status(progress: Progress) -> str:
    left = max(0.0, progress.budget - progress.spent)
    return (
        f"evaluated {progress.evaluated:>4}  front {progress.front_size:>3}  hypervolume "
        f"{progress.hypervolume:.4f}  evaluations left {left:.0f}"
    )
