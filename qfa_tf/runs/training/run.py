"""Training a supernet in a workdir, so that it can be killed at any moment and resumed."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs.building import (
    build_net,
    build_optimizer,
    build_space,
    build_training,
    check_classifier,
    check_stage_bits,
    trained_architecture,
    with_plain_architecture,
)
from qfa_tf.runs.checkpoints import MAX_TO_KEEP, newest
from qfa_tf.runs.commands import command
from qfa_tf.runs.config import complete_config, total_steps
from qfa_tf.runs.errors import WorkerError
from qfa_tf.runs.measurement import workdir_evaluator
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_space
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.training.final_table import is_finished, write_probes
from qfa_tf.runs.training.initial_weights import load_initial_weights
from qfa_tf.runs.training.kernels import check_native_kernels, kernels_for, step_kernels
from qfa_tf.runs.training.lock import training_lock
from qfa_tf.runs.training.loop import TrainingLoop
from qfa_tf.runs.training.memory import warn_of_memory
from qfa_tf.runs.training.plot import plot_training
from qfa_tf.runs.training.teacher import build_teacher
from qfa_tf.runs.training.workers import Workers, cluster_task
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import FLOAT_BITS
from qfa_tf.training.memory import needed_memory
from quantize_configs.arguments import whole_number

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import QFASupernet


def train(
    config: ConfigDict,
    workdir: Workdir,
    console: rich.console.Console | None = None,
    *,
    strategy: str = "default",
    changed_data: bool = False,
    skip_damaged: bool = False,
    native_kernels: str = "auto",
    subnets_at_once: int | None = None,
) -> None:
    """Trains to the last step of the config, from wherever the workdir stands.

    With `config.training.architecture` that is the training of one subnet alone.

    A resumed run draws the batches and subnets that the uninterrupted one would have drawn.

    Args:
      config: Of the run; the workdir must be new or belong to it.
      workdir: Where everything is written.
      console: For progress.
      strategy: "default" (one device), "mirrored" (all devices of this machine) or "multi_worker"
        (several processes, described by TF_CONFIG, all started with the same arguments).
      changed_data: Whether to go on when the images are others than those of the workdir; images
        that are known keep their splits.
      skip_damaged: Whether to go on without damaged image files; the workdir notes which.
      native_kernels: Whether the steps are computed by kernels that are compiled on this machine,
        once: "auto" (where there is a compiler and no GPU), "on" or "off".
      subnets_at_once: How many subnets of a step to compute side by side; see
        `QFASupernet.compile`. Changes no result.

    Raises:
      NativeBuildError: Native kernels are "on" and cannot be built.
      InvalidInputError: They are "on", and the execution is "masked".
      ConfigError, WorkdirError: The config or the workdir is refused, or being trained already.
      CheckpointError: The newest checkpoint is damaged.
      CheckpointWriteError, FileWriteError: The disk is full.
      DivergedError: Several steps were not finite; none was applied, the last checkpoint is kept.
      StoppedError: SIGTERM or SIGINT came; a checkpoint was saved.
      WorkerError: The processes do not fit together, or one was lost.
    """
    console = console or new_console()
    check_native_kernels(native_kernels)
    if subnets_at_once is not None:
        subnets_at_once = whole_number("subnets_at_once", subnets_at_once, 1)
    config = with_plain_architecture(complete_config(config))
    native_kernels = kernels_for(native_kernels, config.supernet.execution)
    check_classifier(build_space(config))
    check_stage_bits(config)
    open_set = functools.partial(
        open_data, workdir, config, changed_data=changed_data, skip_damaged=skip_damaged
    )
    task = cluster_task(strategy)
    if not task.is_chief:
        say(
            console,
            f"Process {task.rank + 1} of {task.processes}; the first one tells and writes.",
        )
        if workdir.config_file.is_file() and is_finished(workdir, config):
            return
        quiet = rich.console.Console(quiet=True)
        _train(config, workdir, quiet, strategy, open_set, native_kernels, subnets_at_once)
        return
    with training_lock(workdir) as locked:
        config = workdir.accepted(config)
        if is_finished(workdir, config):
            config = workdir.claim(config)
            say(
                console,
                f"The training in {workdir} is finished: {total_steps(config)} steps. Comparing "
                "its images.",
            )
            open_set(console)
            say(console, "Nothing to do.")
            return
        if not locked:
            say(
                console,
                f"Warning: the file system of {workdir} knows no locks. Take care that only one "
                "training at a time uses it.",
            )
        _train(config, workdir, console, strategy, open_set, native_kernels, subnets_at_once)


def _train(
    config: ConfigDict,
    workdir: Workdir,
    console: rich.console.Console,
    strategy: str,
    open_set: Callable[..., "DataSplits"],
    native_kernels: str,
    subnets_at_once: int | None,
) -> None:
    say(console, "Loading TensorFlow and the images.")
    load_tensorflow()
    workers = Workers(strategy)
    workers.check_batch_size(config.training.batch_size)
    with workers.report_lost():
        data = None
        if workers.task.is_chief:  # a folder without usable images does not become a workdir
            claim = functools.partial(workdir.claim, config)
            data = open_set(console, before_writing=claim)
            claim()
        workers.any(False)  # the chief has written the config now
        if not workdir.config_file.is_file():
            raise WorkerError(
                f"{workdir} is not there for process {workers.task.rank + 1}. All processes need "
                "the same --workdir on a file system that they share."
            )
        config = workdir.claim(config)
        data = open_set(writes=False) if data is None else data
    with step_kernels(native_kernels, console):
        with workers.report_lost():
            net = _build(config, workdir, workers, data, console, subnets_at_once)
            loop = TrainingLoop(config, workdir, workers, data, net, console)
        if loop.progress.step:
            say(console, f"Resuming at step {loop.progress.step} of {total_steps(config)}.")
        loop.run()
    if not workers.task.is_chief:
        return
    alone = bool(config.training.architecture)
    what = "the subnet" if alone else "the largest subnet at each bit-width"
    say(console, f"Evaluating {what}.")
    space = build_space(config)
    write_probes(config, workdir, workdir_evaluator(workdir, space, data, net), space, console)
    if plot_training(workdir):
        say(console, f"Wrote {workdir.training_png}")
    say(console, f"Next: {_next(config, workdir)}")


def _next(config: ConfigDict, workdir: Workdir) -> str:
    """What to do after a training."""
    alone, fixed = trained_architecture(config), build_space(config).fixed_bits
    if alone is None:
        return command("search", workdir=workdir)
    if any(FLOAT_BITS in pair for site, *pair in alone.bits if site not in fixed):
        return (
            "the subnet is in float; train it with fewer bits in another --workdir, with "
            f"--config.training.initial_checkpoint={workdir}"
        )
    return command("export", workdir=workdir)


def _build(
    config: ConfigDict,
    workdir: Workdir,
    workers: Workers,
    data: "DataSplits",
    console: rich.console.Console,
    subnets_at_once: int | None,
) -> "QFASupernet":
    """The compiled supernet, with its first weights."""
    import tensorflow as tf

    recipe = build_training(config, build_teacher(config, workdir, data, workers.task.is_chief))
    space = build_space(config)
    alone = trained_architecture(config)
    if alone is None:
        say(console, f"Building the supernet of {space.name}: {space.size():.1e} subnets.")
    else:
        say(console, f"Training one subnet alone: {alone.describe()}")
    if workers.replicas > 1:
        say(console, f"{workers.replicas} replicas share each batch.")
    with workers.scope():
        net = build_net(config)
        optimizer = build_optimizer(config)
        net.compile(optimizer=optimizer, training=recipe, subnets_at_once=subnets_at_once)
        net.optimizer.build(net.trainable_variables)
    if workers.task.is_chief:
        variables = [*net.variables, *net.optimizer.variables]
        size = sum(int(np.prod(variable.shape)) * variable.dtype.size for variable in variables)
        require_space(workdir.path, (MAX_TO_KEEP + 1) * size, "checkpoints")
        if not tf.config.list_physical_devices("GPU"):  # which has memory of its own
            batch_size = config.training.batch_size // workers.task.processes
            warn_of_memory(needed_memory(space, batch_size, size), batch_size, console)
    if config.training.initial_checkpoint and newest(workdir.checkpoints) is None:
        key = load_initial_weights(net, config)
        say(console, f"Starting from {config.training.initial_checkpoint}, {key}.")
    return net
