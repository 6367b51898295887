"""Training a supernet in a workdir, so that it can be killed at any moment and resumed."""

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import rich.console
import rich.progress
from ml_collections import ConfigDict

from qfa_tf.runs.building import (
    build_data,
    build_net,
    build_optimizer,
    build_space,
    build_training,
)
from qfa_tf.runs.checkpoints import TrainingState
from qfa_tf.runs.config import complete_config, total_steps
from qfa_tf.runs.errors import DivergedError
from qfa_tf.runs.evaluator import workdir_evaluator
from qfa_tf.runs.messages import say
from qfa_tf.runs.probes import is_finished, write_probes
from qfa_tf.runs.training_log import TrainingLog
from qfa_tf.runs.workdir import Workdir

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet


def train(
    config: ConfigDict, workdir: Workdir, console: rich.console.Console | None = None
) -> None:
    """Trains to the last step of the config, from wherever the workdir stands.

    A resumed run draws the batches and subnets that the uninterrupted one would have drawn.

    Args:
      config: Of the run; the workdir must be new or belong to it.
      workdir: Where everything is written.
      console: For progress.

    Raises:
      ConfigError, WorkdirError: The config or the workdir is refused.
      CheckpointError: The newest checkpoint is damaged.
      CheckpointWriteError, FileWriteError: The disk is full.
      DivergedError: The loss is no longer finite; the last checkpoint is kept.
    """
    console = console or rich.console.Console()
    config = complete_config(config)
    space = build_space(config)
    workdir.claim(config)
    if is_finished(workdir, config):
        say(
            console,
            f"The training in {workdir} is finished: {total_steps(config)} steps. Nothing to do.",
        )
        return
    data, recipe = build_data(config), build_training(config)
    say(console, f"Building the supernet of {space.name}: {space.size():.1e} subnets.")
    net = build_net(config)
    net.compile(optimizer=build_optimizer(config), training=recipe)
    state = TrainingState(workdir.checkpoints, net)
    step = state.resume()
    if step:
        say(console, f"Resuming at step {step} of {total_steps(config)}.")
    _run_epochs(config, net, state, TrainingLog(workdir.training_csv, step), data, step, console)
    say(console, "Evaluating the largest subnet at each bit-width.")
    write_probes(config, workdir, workdir_evaluator(workdir, space, data, net), space, console)
    say(console, f"Next: python apps/search.py --workdir={workdir}")


def _run_epochs(config, net, state, log, data, step, console) -> None:
    from qfa_tf.data import Augmentation, training_batches

    settings, total = config.training, total_steps(config)
    batches = training_batches(
        data.train,
        settings.batch_size,
        seed=settings.seed,
        first_step=step,
        augmentation=Augmentation(max_shift=config.data.max_shift),
    )
    steps = _steps(net, iter(batches), step)
    epochs = math.ceil(total / settings.steps_per_epoch)
    columns = (
        rich.progress.TextColumn("epoch {task.fields[epoch]}"),
        rich.progress.BarColumn(bar_width=10),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[status]}"),
    )
    with rich.progress.Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, completed=step, epoch="", status="tracing")
        while step < total:
            number = step // settings.steps_per_epoch + 1
            end = min(number * settings.steps_per_epoch, total)
            began, rows = time.perf_counter(), []
            rate = float(net.optimizer.learning_rate)
            while step < end:
                rows.append(next(steps))
                step += 1
                progress.update(
                    task, completed=step, epoch=f"{number}/{epochs}", status=_status(rows[-1])
                )
            means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            seconds = time.perf_counter() - began
            log.write(step, {"epoch": number, "learning_rate": rate, **means, "seconds": seconds})
            state.save(step)
            say(
                progress.console,
                f"epoch {number:>3}/{epochs}  {_summary(means)}  {seconds:.0f} s",
            )


def _steps(net: "QFASupernet", batches: Iterator, step: int) -> Iterator[dict[str, float]]:
    """Trains a step each time; yields its metrics, or raises DivergedError."""
    function = net.make_train_function()
    while True:
        metrics = {key: float(value) for key, value in function(batches).items()}
        step += 1
        broken = [key for key, value in metrics.items() if not math.isfinite(value)]
        if broken:
            raise DivergedError(
                f"Training diverged at step {step}: {broken[0]} is {metrics[broken[0]]}. The last "
                "checkpoint is kept; train into another --workdir with a lower "
                "--config.training.learning_rate or --config.training.clip_norm."
            )
        yield metrics


def _status(metrics: dict[str, float]) -> str:
    """The live line of a step, short enough for 80 columns."""
    return (
        f"loss {_mean_loss(metrics):.3f}  accuracy {metrics['smallest_accuracy']:.2f} (smallest) "
        f"{metrics['largest_accuracy']:.2f} (largest)"
    )


def _mean_loss(metrics: dict[str, float]) -> float:
    return float(np.mean([value for key, value in metrics.items() if key.endswith("_loss")]))


def _summary(metrics: dict[str, float]) -> str:
    """Loss averaged over the roles of subnets, accuracies role by role."""
    accuracies = "  ".join(
        f"{key.removesuffix('_accuracy')} {value:.3f}"
        for key, value in metrics.items()
        if key.endswith("_accuracy")
    )
    return f"loss {_mean_loss(metrics):.3f}  accuracy: {accuracies}"
