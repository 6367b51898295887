"""A chosen subnet trained further, alone, from the weights of its supernet: `apps/finetune.py`."""

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Unpack

import numpy as np
import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs.architecture_files import architecture_text
from qfa_tf.runs.building import build_space
from qfa_tf.runs.commands import command
from qfa_tf.runs.config import per_stage
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.measurement import UNSEEN_SPLIT, workdir_evaluator
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.searching.staleness import select_for_weights
from qfa_tf.runs.selection import SubnetArguments
from qfa_tf.runs.training.run import train
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Evaluation, EvaluationStore, StoredEvaluator
from qfa_tf.search.intervals import SIGNIFICANCE, mcnemar, with_interval
from qfa_tf.space import SearchSpace

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits

EPOCHS = 4
RATE_SHARE = 0.1
"""Of the learning rate of the supernet, where none is given."""
WARMUP_SHARE = 0.1
"""Of the steps."""


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """What training a subnet further has brought.

    Attributes:
      workdir: Of the tuned subnet, for `export` and the other programs.
      before: Of the subnet as the supernet has it, on search-validation images. Where a search
        chose it by them, that flatters it.
      after: Of the tuned one, on the same images.
      unseen: The same two on test images, by which nothing was chosen; None where they were not
        measured.
    """

    workdir: Workdir
    before: Evaluation
    after: Evaluation
    unseen: tuple[Evaluation, Evaluation] | None = None

    @property
    def gain(self) -> float:
        """Difference in accuracy, positive when the tuned subnet is better."""
        return self.after.accuracy - self.before.accuracy

    @property
    def p_value(self) -> float | None:
        """That both are equally accurate, by a paired test; None without answers."""
        return _p_value(self.before, self.after)

    def __str__(self) -> str:
        told = _compared(self.before, self.after, "search-validation images")
        if self.unseen is None:
            return told
        return f"{told}\n{_compared(*self.unseen, 'test images, by which nothing was chosen')}"


def _p_value(before: Evaluation, after: Evaluation) -> float | None:
    if before.answers is None or after.answers is None:
        return None
    return mcnemar(before.answers, after.answers)


def _compared(before: Evaluation, after: Evaluation, what: str) -> str:
    told = (
        f"Without retraining {with_interval(before.accuracy, before.images)}, tuned "
        f"{with_interval(after.accuracy, after.images)}: "
        f"{100 * (after.accuracy - before.accuracy):+.2f} points on the same "
        f"{after.images:,} {what}"
    )
    p_value = _p_value(before, after)
    if p_value is None:
        return told
    verdict = "beyond noise" if p_value < SIGNIFICANCE else "what noise can explain"
    return f"{told}: {verdict} (p = {p_value:.2g})"


def finetune(
    workdir: Workdir,
    *,
    stale: str = "refuse",
    name: str | None = None,
    epochs: int = EPOCHS,
    learning_rate: float | None = None,
    native_kernels: str = "auto",
    console: rich.console.Console | None = None,
    **which: Unpack[SubnetArguments],
) -> FineTuning:
    """Trains one subnet alone, from the weights of its supernet, and measures what that brings.

    The tuned subnet has a workdir of its own, `finetuned/NAME` of that of the supernet, which all
    programs take. The same call continues a tuning that was stopped.

    Args:
      workdir: Of a trained supernet.
      stale: "ok" to take a subnet of a search of other weights.
      name: Of the new workdir; by default the space and a digest of subnet, weights and schedule.
      epochs: Of `training.steps_per_epoch` steps.
      learning_rate: Its largest value; a tenth of that of the supernet by default.
      native_kernels: "auto", "on" or "off"; see `train`.
      console: For progress.
      **which: The subnet; see `SubnetArguments`.

    Raises:
      RunError: Something is missing, damaged or not allowed.
      And what `train` raises.
    """
    console = console or new_console()
    config = workdir.config()
    if config.training.architecture:
        raise RunError(
            f"{workdir} holds one subnet that was trained alone. Fine-tune one of a supernet, or "
            "train this one longer in another --workdir."
        )
    if epochs < 1:
        raise RunError(f"epochs must be at least 1. Received: {epochs}.")
    space = build_space(config)
    selection, checkpoint_key = select_for_weights(workdir, space, console, stale=stale, **which)
    text = architecture_text(selection.architecture)
    tuned_config = tuning_config(config, workdir, text, epochs, learning_rate)
    parts = [text, checkpoint_key, str(epochs), str(tuned_config.training.learning_rate)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    tuned = Workdir(workdir.path / "finetuned" / (name or f"{space.name}-{digest[:8]}"))
    say(console, f"Fine-tuning ({selection.source}) in {tuned}")
    train(tuned_config, tuned, console, native_kernels=native_kernels)

    genome = space.encode(selection.architecture)
    data = open_data(workdir, config)
    say(console, "Measuring both on search-validation and test images.")
    (before, unseen), (after, tuned_unseen) = (
        _measured(one, space, data, genome) for one in (workdir, tuned)
    )
    found = FineTuning(tuned, before, after, (unseen, tuned_unseen))
    say(console, f"{found}\nNext: {command('export', workdir=tuned)}")
    return found


def tuning_config(
    config: ConfigDict, workdir: Workdir, architecture: str, epochs: int, rate: float | None
) -> ConfigDict:
    """The config of a fine-tuning: the last stage of the supernet's, short and at a low rate.

    Args:
      config: Of the supernet.
      workdir: Of the supernet.
      architecture: JSON of the subnet.
      epochs: Of the tuning.
      rate: Largest learning rate; None for a tenth of the last of the supernet.
    """
    tuned = ConfigDict(config.to_dict())
    steps = epochs * config.training.steps_per_epoch
    last = (per_stage(config.training.learning_rate) or [config.training.learning_rate])[-1]
    with tuned.ignore_type():
        tuned.training.update(
            {
                "architecture": architecture,
                "initial_checkpoint": str(workdir.path.absolute()),
                "inheritance": "equal_bits",
                "stage_bits": (tuple(config.training.stage_bits[-1]),),
                "stage_steps": (steps,),
                "stage_subnets": (),
                "learning_rate": RATE_SHARE * last if rate is None else rate,
                "warmup_steps": int(WARMUP_SHARE * steps),
            }
        )
    return tuned


def _measured(
    workdir: Workdir, space: SearchSpace, data: "DataSplits", genome: np.ndarray
) -> tuple[Evaluation, Evaluation]:
    """On search-validation images, by the store where it has them, and on test images."""
    evaluator = workdir_evaluator(workdir, space, data)
    with EvaluationStore(workdir.evaluations, space) as store:
        (found,) = StoredEvaluator(evaluator, store).evaluate(genome[None])
    return found, evaluator.evaluate_apart(genome, UNSEEN_SPLIT)
