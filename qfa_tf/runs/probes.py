"""The end of a training: the largest subnet at each bit-width, on the images of the search."""

import json

import numpy as np
import rich.console
import rich.table
from ml_collections import ConfigDict

from qfa_tf.cost import CostModel
from qfa_tf.runs.checkpoints import newest, step_of
from qfa_tf.runs.config import total_steps
from qfa_tf.runs.evaluator import SupernetEvaluator
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Evaluation, EvaluationStore, Evaluator, StoredEvaluator
from qfa_tf.space import SearchSpace
from quantize_configs.files import write_text

SCHEMA_VERSION = 1


def uniform_bits(space: SearchSpace) -> tuple[int, ...]:
    """Bit-widths that weights and activations of a space both offer."""
    return tuple(bits for bits in space.weight_bits if bits in space.activation_bits)


def uniform_genomes(space: SearchSpace) -> np.ndarray:
    """Genomes int32[n, n_genes] of the largest subnet at each of `uniform_bits`."""
    return np.stack([space.encode(space.largest(bits=bits)) for bits in uniform_bits(space)])


def evaluate_uniform(space: SearchSpace, evaluator: Evaluator) -> dict[int, Evaluation]:
    """Maps each of `uniform_bits` to the evaluation of the largest subnet."""
    results = evaluator.evaluate(uniform_genomes(space))
    return dict(zip(uniform_bits(space), results, strict=True))


def write_probes(
    config: ConfigDict,
    workdir: Workdir,
    evaluator: SupernetEvaluator,
    space: SearchSpace,
    console: rich.console.Console,
) -> None:
    """Evaluates, prints a table and writes the file that marks the training as finished."""
    with EvaluationStore(workdir.evaluations, space) as store:
        results = evaluate_uniform(space, StoredEvaluator(evaluator, store))
    costs = CostModel(space).evaluate(uniform_genomes(space))
    table = rich.table.Table(title=f"Largest subnet, no retraining, on {evaluator.split}")
    for name in ("bits", "accuracy (%)", "loss", "mflops_8bit", "weight bytes"):
        table.add_column(name, justify="right")
    for row, (bits, result) in enumerate(results.items()):
        table.add_row(
            str(bits),
            f"{100 * result.accuracy:.2f}",
            f"{result.loss:.3f}",
            f"{costs['mflops_8bit'][row]:.4g}",
            f"{costs['weight_bytes'][row]:,.0f}",
        )
    console.print(table)
    content = {
        "schema_version": SCHEMA_VERSION,
        "step": total_steps(config),
        "checkpoint": evaluator.checkpoint_key,
        "split": evaluator.split,
        "accuracy": {str(bits): result.accuracy for bits, result in results.items()},
    }
    write_text(workdir.probes_file, json.dumps(content, indent=1) + "\n")


def is_finished(workdir: Workdir, config: ConfigDict) -> bool:
    """Whether the last step was trained and its probes were written.

    Raises:
      CheckpointError: The list of checkpoints is damaged.
    """
    if not workdir.probes_file.is_file():
        return False
    prefix = newest(workdir.checkpoints)
    return prefix is not None and step_of(prefix) == total_steps(config)
