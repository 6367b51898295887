"""Evaluating one subnet of a workdir: what `apps/evaluate.py` does."""

from typing import Unpack

import numpy as np
import rich.console

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import require_newest
from qfa_tf.runs.measurement import SEARCH_SPLIT, workdir_evaluator
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.selection import SubnetArguments, say_search, select
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import EvaluationStore, StoredEvaluator
from qfa_tf.search.intervals import with_interval
from quantize_configs.errors import InvalidInputError

SPLITS = (SEARCH_SPLIT, "test")


def evaluate_selection(
    workdir: Workdir,
    *,
    split: str = SEARCH_SPLIT,
    console: rich.console.Console | None = None,
    **which: Unpack[SubnetArguments],
) -> dict[str, float]:
    """Calibrates and evaluates one subnet as the supernet simulates it.

    Results on the images of the search go through `evaluations.sqlite`; those on test images are
    never stored, so that no search can find them.

    Args:
      workdir: Of a trained supernet.
      split: "search_validation" or "test".
      console: For the result.
      **which: The subnet; see `SubnetArguments`.

    Returns:
      {"accuracy", "loss", "images"}.

    Raises:
      RunError: Something is missing or damaged.
    """
    if split not in SPLITS:
        raise InvalidInputError(f"split must be one of {SPLITS}. Received: {split!r}.")
    console = console or new_console()
    config = workdir.config()
    space = build_space(config)
    selection = select(workdir, space, **which)
    say_search(selection, console)
    architecture = selection.architecture
    genomes = space.encode(architecture)[None]
    require_newest(workdir)
    say(console, "Loading TensorFlow, the images and the supernet.")
    data = open_data(workdir, config)
    if split == SEARCH_SPLIT:
        with EvaluationStore(workdir.evaluations, space) as store:
            evaluator = StoredEvaluator(workdir_evaluator(workdir, space, data), store)
            evaluation = evaluator.evaluate(genomes)[0]
    else:
        evaluation = workdir_evaluator(workdir, space, data).evaluate_apart(genomes[0], split)
    result = {
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "images": evaluation.images,
    }
    say(console, f"({selection.source}) {architecture.describe()}")
    say(
        console,
        f"accuracy {with_interval(result['accuracy'], int(result['images']))}, loss "
        f"{result['loss']:.4f} on {result['images']} images of {split}\n{_costs(space, genomes)}",
    )
    return result


def _costs(space, genomes: np.ndarray) -> str:
    costs = CostModel(space).evaluate(genomes)
    return ", ".join(f"{metric} {costs[metric][0]:,.6g}" for metric in METRICS)
