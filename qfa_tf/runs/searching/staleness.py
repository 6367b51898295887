"""Searches of other weights than a workdir has now."""

import dataclasses
from typing import TYPE_CHECKING, Unpack

import numpy as np
import rich.console

from qfa_tf.runs.checkpoints import key_of, require_newest
from qfa_tf.runs.commands import command
from qfa_tf.runs.errors import RunError, WorkdirError
from qfa_tf.runs.messages import say
from qfa_tf.runs.selection import Member, Selection, SubnetArguments, say_search, select
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Candidate, EvaluationStore, StoredEvaluator
from qfa_tf.space import SearchSpace

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits

STALE = ("refuse", "ok")


def weights_of(checkpoint_key: str) -> str:
    """For people: "step 475 (1a2b3c4d5e6f)"."""
    _, step, digest = checkpoint_key.split("-", 2)
    return f"step {step} ({digest})"


def is_stale(selection: Selection, checkpoint_key: str) -> bool:
    """Whether the search that a subnet comes from measured other weights than these."""
    member = selection.member
    return member is not None and member.result.checkpoint_key != checkpoint_key


def check_weights(
    workdir: Workdir, selection: Selection, checkpoint_key: str, stale: str = "refuse"
) -> None:
    """Refuses a subnet of a search of other weights than these, unless that is "ok".

    Raises:
      RunError: `stale` is not one of STALE.
      WorkdirError: The search is of other weights.
    """
    if stale not in STALE:
        raise RunError(f"stale must be one of {STALE}. Received: {stale!r}.")
    member = selection.member
    if stale == "ok" or member is None or not is_stale(selection, checkpoint_key):
        return
    raise WorkdirError(
        f"The search {member.search.name!r} is of {weights_of(member.result.checkpoint_key)}, the "
        f"weights of {workdir} are of {weights_of(checkpoint_key)}: its accuracies are not theirs. "
        f"Search again ({command('search', workdir=workdir)}), or take the subnet all the same "
        "with --stale=ok, which measures it anew first."
    )


def select_for_weights(
    workdir: Workdir,
    space: SearchSpace,
    console: rich.console.Console,
    *,
    stale: str = "refuse",
    **which: Unpack[SubnetArguments],
) -> tuple[Selection, str]:
    """(the subnet that a program is about, key of the newest weights), which is said.

    Args:
      workdir: Of a trained supernet.
      space: Its search space.
      console: For what is said.
      stale: "ok" to take a subnet of a search of other weights.
      **which: See `SubnetArguments`.

    Raises:
      RunError: See `select` and `check_weights`; or nothing was trained yet.
    """
    selection = select(workdir, space, **which)
    checkpoint_key = key_of(require_newest(workdir))
    say_search(selection, console)
    check_weights(workdir, selection, checkpoint_key, stale)
    return selection, checkpoint_key


def measured_anew(
    workdir: Workdir, member: Member, data: "DataSplits", console: rich.console.Console
) -> Candidate:
    """The candidate with its accuracy under the present weights, from the store where it can be.

    Raises:
      CheckpointError: It is damaged.
      StoreError, StoreWriteError: The store is damaged, or cannot be written.
    """
    from qfa_tf.runs.measurement import workdir_evaluator

    before, space = member.candidate, member.result.space
    with EvaluationStore(workdir.evaluations, space) as store:
        evaluator = StoredEvaluator(workdir_evaluator(workdir, space, data), store)
        result = evaluator.evaluate(np.array([before.genome], np.int32))[0]
    say(
        console,
        f"The search {member.search.name!r} is of other weights. This subnet had "
        f"{100 * before.accuracy:.2f} % on {member.result.split} with "
        f"{weights_of(member.result.checkpoint_key)} and has {100 * result.accuracy:.2f} % with "
        f"{weights_of(evaluator.checkpoint_key)}.",
    )
    return dataclasses.replace(
        before, accuracy=result.accuracy, loss=result.loss, images=result.images
    )
