"""Genomes per second of the cost model, all five figures, on one core.

    python benchmarks/cost_model.py --space mobilenet_v3_w1.2
    python benchmarks/cost_model.py --space digits_tiny

Prints the rate and appends it to benchmarks/results/cost_model.csv. (Rows of space `blocks_20`
were measured in a space of the widths of mobilenet_v3_w1.2 without squeeze-excite.)
"""

import argparse
import os
import time

import numpy as np
import results_file

from qfa_tf.cost import CostModel
from qfa_tf.space import SearchSpace


def main() -> None:
    """Measures one space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="mobilenet_v3_w1.2", help="a preset")
    parser.add_argument("--genomes", type=int, default=200_000, help="size of one measurement")
    parser.add_argument("--repeats", type=int, default=5, help="measurements; the median counts")
    args = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    space = SearchSpace.from_preset(args.space)
    cost = CostModel(space)
    genomes = space.sample_genomes(np.random.default_rng(0), args.genomes)
    cost.evaluate(genomes[:10_000])
    rates = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        cost.evaluate(genomes)
        rates.append(args.genomes / (time.perf_counter() - start))
    rate = float(np.median(rates))
    print(
        f"{space.name}: {rate:,.0f} genomes/s (median of {args.repeats}, "
        f"{min(rates):,.0f} to {max(rates):,.0f}), {space.n_genes} genes, one core"
    )
    row = {
        "space": space.name,
        "genes": space.n_genes,
        "genomes": args.genomes,
        "genomes_per_second": round(rate),
    }
    results_file.append("cost_model", row)


if __name__ == "__main__":
    main()
