"""Subnets that tell how a training went, and their evaluation at its end.

They are the largest subnet at each bit-width, or the one that is trained alone.
"""

import json

import numpy as np
import rich.console
import rich.table
from ml_collections import ConfigDict

from qfa_tf.cost import CostModel
from qfa_tf.runs.building import is_float_stage, trained_architecture
from qfa_tf.runs.checkpoints import newest, step_of
from qfa_tf.runs.config import total_steps
from qfa_tf.runs.measurement import SupernetEvaluator
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import EvaluationStore, StoredEvaluator
from qfa_tf.search.intervals import with_interval
from qfa_tf.space import FLOAT_BITS, Architecture, SearchSpace
from quantize_configs.files import write_text

SCHEMA_VERSION = 1
MIXED = "mixed"


def uniform_bits(space: SearchSpace) -> tuple[int, ...]:
    """Bit-widths that every site of a space offers where it offers a choice.

    With activations of 8 bits everywhere, those are the bits of the weights.
    """
    offers = [gene.choices for gene in space.genes if gene.is_bits]
    offers = offers or [space.weight_bits, space.activation_bits]
    return tuple(sorted(set.intersection(*map(set, offers))))


def uniform_genomes(space: SearchSpace) -> np.ndarray:
    """Genomes int32[n, n_genes] of the largest subnet at each of `uniform_bits`."""
    return np.stack([space.encode(space.largest(bits=bits)) for bits in uniform_bits(space)])


def bits_label(space: SearchSpace, architecture: Architecture) -> int | str:
    """The bits of all sites where they are not fixed, "mixed" when they differ."""
    found = {
        bits
        for site, pair in architecture.site_bits.items()
        if site not in space.fixed_bits
        for bits in pair
    }
    return found.pop() if len(found) == 1 else MIXED


def final_subnets(config: ConfigDict, space: SearchSpace) -> dict[int | str, Architecture]:
    """By their bits, the subnets that the end of a training evaluates.

    After a float stage these are float ones: no other quantizers were trained last.
    """
    alone = trained_architecture(config)
    if alone is not None:
        return {bits_label(space, alone): alone}
    bits = (FLOAT_BITS,) if is_float_stage(config, -1) else uniform_bits(space)
    return {one: space.largest(bits=one) for one in bits}


def write_probes(
    config: ConfigDict,
    workdir: Workdir,
    evaluator: SupernetEvaluator,
    space: SearchSpace,
    console: rich.console.Console,
) -> None:
    """Evaluates, prints a table and writes the file that marks the training as finished."""
    subnets = final_subnets(config, space)
    genomes = np.stack([space.encode(architecture) for architecture in subnets.values()])
    with EvaluationStore(workdir.evaluations, space) as store:
        evaluations = StoredEvaluator(evaluator, store).evaluate(genomes)
    results = dict(zip(subnets, evaluations, strict=True))
    costs = CostModel(space).evaluate(genomes)
    alone = bool(config.training.architecture)
    what = "The subnet that was trained alone" if alone else "Largest subnet, no retraining"
    table = rich.table.Table(title=f"{what}, on {evaluator.split}")
    for name in ("bits", "accuracy, 95 % interval", "loss", "mflops_8bit", "weight bytes"):
        table.add_column(name, justify="right")
    for row, (bits, result) in enumerate(results.items()):
        table.add_row(
            str(bits),
            with_interval(result.accuracy, result.images),
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
