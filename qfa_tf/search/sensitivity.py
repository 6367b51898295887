"""What one step of bits more or less at a single tensor would change."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search.evaluator import Evaluation
from qfa_tf.search.intervals import distinguishable
from qfa_tf.search.result import Candidate

TENSORS = ("weight", "activation")


class Change(NamedTuple):
    """One tensor of a network at the next bit-width.

    Attributes:
      site: Its name.
      tensor: "weight", or "activation" for the input of the site.
      bits: Of the network.
      changed_bits: The next lower or higher ones that the space offers.
      accuracy: Difference in accuracy, positive when the change is better.
      cost: Difference in cost, positive when the change costs more.
      is_real: Whether noise does not explain the difference in accuracy.
    """

    site: str
    tensor: str
    bits: int
    changed_bits: int
    accuracy: float
    cost: float
    is_real: bool = True


def sensitivity(
    candidate: Candidate,
    cost: CostModel,
    objective: str,
    evaluate: Callable[[np.ndarray], Sequence[Evaluation]],
) -> tuple[Change, ...]:
    """Measures a network with each of its elastic bit-widths one step lower and one step higher.

    Args:
      candidate: The network.
      cost: Cost model of the space.
      objective: Full name of a cost.
      evaluate: From genomes to evaluations on the images of `candidate`.

    Returns:
      In site order; weights before inputs, lower before higher.
    """
    space = cost.space
    genome = np.array(candidate.genome, np.int32)
    changes, genomes = [], []
    for site in space.sites:
        for tensor in TENSORS:
            column = space.gene_index.get(f"{site.name}.{tensor}_bits")
            if column is None or genome[column] == 0:  # fixed, or in a skipped block
                continue
            choices = space.genes[column].choices
            position = choices.index(genome[column])
            for neighbour in (position - 1, position + 1):
                if 0 <= neighbour < len(choices):
                    changed = genome.copy()
                    changed[column] = choices[neighbour]
                    genomes.append(changed)
                    changes.append((site.name, tensor, choices[position], choices[neighbour]))
    if not genomes:
        return ()
    stacked = np.stack(genomes)
    results = evaluate(stacked)
    deployment = () if objective in METRICS else (objective,)
    costs = cost.evaluate(stacked, deployment)[objective]
    return tuple(
        Change(
            *change,
            accuracy=result.accuracy - candidate.accuracy,
            cost=float(value) - candidate.costs[objective],
            is_real=distinguishable(candidate.answers, result.answers),
        )
        for change, result, value in zip(changes, results, costs, strict=True)
    )
