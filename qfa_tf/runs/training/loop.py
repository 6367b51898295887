"""The loop over the steps of a training: checkpoints, logs, stopping, and what went wrong."""

import bisect
import itertools
import math
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs.building import build_batches, build_schedule
from qfa_tf.runs.checkpoints import TrainingState
from qfa_tf.runs.config import total_steps
from qfa_tf.runs.errors import DivergedError, StoppedError
from qfa_tf.runs.messages import say
from qfa_tf.runs.training.display import TrainingDisplay, epoch_summary
from qfa_tf.runs.training.log import TrainingLog
from qfa_tf.runs.training.probes import ALONE, TrainingProbes
from qfa_tf.runs.training.progress import EpochTotals, Progress
from qfa_tf.runs.training.stop_signals import StopSignals
from qfa_tf.runs.training.workers import Workers
from qfa_tf.runs.workdir import Workdir
from qfa_tf.training.divergence import find_broken_weight
from quantize_configs.files import write_text

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import QFASupernet

ADVICE = (
    "The last checkpoint is kept; train into another --workdir with a lower "
    "--config.training.learning_rate or --config.training.clip_norm, from random weights or, with "
    "--config.training.initial_checkpoint={}, from those of that checkpoint."
)
SKIPPED = "skipped"
"""Metric: 1 for a step that was not applied because it was not finite, else 0."""
COLLAPSED, LEARNED = 1.5, 3.0
"""An accuracy below the first multiple of chance after one above the second is a collapse."""


class TrainingLoop:
    """Trains from where the newest checkpoint stands to the last step.

    Args:
      config: Of the run, complete.
      workdir: Of the run.
      workers: Of the run.
      data: Of the run.
      net: Compiled, its optimizer built.
      console: For progress.

    Raises:
      CheckpointError: The newest checkpoint is damaged.
      WorkdirError: A log is damaged.
      WorkerError: The processes do not find the same checkpoint.
    """

    def __init__(
        self,
        config: ConfigDict,
        workdir: Workdir,
        workers: Workers,
        data: "DataSplits",
        net: "QFASupernet",
        console: rich.console.Console,
    ):
        self._config = config
        self._workdir = workdir
        self._workers = workers
        self._data = data
        self._net = net
        self._console = console
        self._total = total_steps(config)
        self._stage_ends = list(itertools.accumulate(config.training.stage_steps))
        self._writes = workers.task.is_chief
        self._state = TrainingState(workdir.checkpoints, net, self._writes)
        self.progress = self._state.resume() or Progress(0, config.training.seed, 0)
        workers.require_equal(self.progress.step, "the step of the newest checkpoint")
        self._log = TrainingLog(workdir, self.progress.step) if self._writes else None
        self._probes = TrainingProbes(config, data) if self._writes else None
        self._schedule = build_schedule(config)
        self._function = net.make_train_function()
        net.training_method.image_source = self._first_images
        net.training_method.batch_source = self._shards
        net.training_method.advice = ADVICE.format(workdir)

    def run(self) -> None:
        """Trains; where it diverges, what was found is written down.

        Raises:
          StoppedError: A signal came; a checkpoint of the last step was saved.
          DivergedError: A loss or the gradient is not finite in several steps in a row.
          CheckpointWriteError, FileWriteError: The disk is full.
          WorkerError: Another process was lost.
        """
        try:
            self._run()
        except DivergedError as error:
            if self._writes and error.found is not None:
                write_text(self._workdir.divergence_file, error.found.to_json())
            raise

    def _run(self) -> None:
        with StopSignals() as signals, self._display() as display, self._workers.report_lost():
            batches = self._batches(self.progress.step)
            saved = time.monotonic()
            while self.progress.step < self._total:
                metrics = self._train_step(batches)
                display.update(self.progress.step, metrics)
                ends_epoch = self._at_end_of_epoch()
                # While steps are skipped, the weights are suspect: neither measured nor saved.
                sound = metrics[SKIPPED] == 0.0
                if ends_epoch:
                    self._finish_epoch(display.console, sound)
                stops = self._workers.any(signals.received is not None)
                minutes = (time.monotonic() - saved) / 60
                due = minutes >= self._config.training.checkpoint_minutes
                if (ends_epoch or stops or due) and sound:
                    self._save()
                    saved = time.monotonic()
                if stops:
                    raise self._stopped(signals)
            if self._net.training_method.guard.settle():
                raise self._function.diverged()

    def _save(self) -> None:
        """Writes a checkpoint, never one of broken weights."""
        if self._writes:
            found = find_broken_weight(self._net, self.progress.step)
            if found is not None:
                raise DivergedError(
                    f"Training diverged at step {found.step}: after its update {found} "
                    f"{ADVICE.format(self._workdir)}",
                    found.step,
                    found,
                )
        self._state.save(self.progress)

    def _first_images(self, step: int):
        """Images of a step, those of all replicas."""
        return next(iter(build_batches(self._config, self._data, step)))[0]

    def _batches(self, step: int) -> Iterator:
        return self._workers.batches(
            lambda shard: build_batches(self._config, self._data, step, shard)
        )

    def _train_step(self, batches: Iterator) -> dict[str, float]:
        """One step; its metrics without those of subnets that the stage does not train.

        A step that was skipped has no other metric than that.
        """
        began = time.perf_counter()
        method, progress = self._net.training_method, self.progress
        logs = self._function(batches)
        metrics = {SKIPPED: 1.0}
        if method.guard.settle() == 0:
            metrics = method.figures(progress.step, logs) | {SKIPPED: 0.0}
        progress.step += 1
        progress.stage = self._stage_of(progress.step)
        progress.epoch.add(metrics, time.perf_counter() - began)
        return metrics

    def _stage_of(self, step: int) -> int:
        return min(bisect.bisect_right(self._stage_ends, step), len(self._stage_ends) - 1)

    def _at_end_of_epoch(self) -> bool:
        step = self.progress.step
        return step % self._config.training.steps_per_epoch == 0 or step == self._total

    @property
    def _epoch(self) -> int:
        """Number of the epoch of the last step, from 1."""
        return math.ceil(self.progress.step / self._config.training.steps_per_epoch)

    def _finish_epoch(self, console: rich.console.Console, sound: bool) -> None:
        """Writes the row of the epoch, and the probes when it is their turn."""
        progress, settings = self.progress, self._config.training
        means, seconds = progress.epoch.means(), progress.epoch.seconds
        steps = progress.step - (self._epoch - 1) * settings.steps_per_epoch
        progress.epoch = EpochTotals()
        if self._log is None or self._probes is None:  # another process writes
            return
        row = {
            "epoch": self._epoch,
            "stage": self._stage_of(progress.step - 1) + 1,
            "learning_rate": float(self._schedule(progress.step - 1)),
            **means,
            "seconds": seconds,
            "images_per_second": steps * settings.batch_size / seconds,
        }
        self._warn_of_collapse(console, means)
        self._log.write_epoch(progress.step, row)
        epochs = math.ceil(self._total / settings.steps_per_epoch)
        say(console, f"epoch {self._epoch:>3}/{epochs}  {epoch_summary(means)}  {seconds:.0f} s")
        if sound and settings.probe_epochs and self._epoch % settings.probe_epochs == 0:
            self._probes.measure(self._net, self._stage_of(progress.step - 1))
            self._log.write_probes(progress.step, self._probes.rows)
            self._log.write_quantizers(progress.step, self._probes.quantizers)
            say(console, f"epoch {self._epoch:>3}/{epochs}  {self._probes.summary()}")

    def _warn_of_collapse(self, console, means: dict[str, float]) -> None:
        """Collapse to chance in the middle of a training is known of supernets (AlphaNet)."""
        chance = 1.0 / self._data.num_classes
        role, subnet = "largest", "largest subnet"
        if self._config.training.architecture:
            role = subnet = ALONE
        key = f"{role}_accuracy"
        epochs = [] if self._log is None else self._log.epochs
        before = [float(row[key]) for row in epochs if row.get(key)]
        if max(before, default=0.0) > LEARNED * chance and means.get(key, 1.0) < COLLAPSED * chance:
            say(
                console,
                f"Warning: the accuracy of the {subnet} collapsed to {means[key]:.3f}, about "
                f"chance, from {max(before):.3f}. It seldom recovers; consider a lower "
                "--config.training.learning_rate or clip_norm in another --workdir.",
                style="bold red",
            )

    def _stopped(self, signals: StopSignals) -> StoppedError:
        step = self.progress.step
        reason = signals.received.name if signals.received else "a signal to another process"
        return StoppedError(
            f"Stopped by {reason} at step {step} of {self._total}; a checkpoint was saved. The "
            "same command resumes.",
            signals.received or signal.SIGTERM,
        )

    def _shards(self, step: int) -> Iterator:
        """Images and labels of a step, of each replica."""
        count = self._workers.replicas
        for index in range(count):
            yield next(iter(build_batches(self._config, self._data, step, (index, count))))

    def _display(self) -> TrainingDisplay:
        return TrainingDisplay(
            self._console,
            self.progress.step,
            self._total,
            self._config.training.steps_per_epoch,
            visible=self._writes,
        )
