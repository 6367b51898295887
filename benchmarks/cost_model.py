"""Genomes per second of the cost model, all five figures, on one core.

    python benchmarks/cost_model.py --space digits_tiny
    python benchmarks/cost_model.py --space blocks_20

Prints the rate and appends it to benchmarks/results/cost_model.csv. `blocks_20` has the shape of
the QFA space (174 genes, 25 resolutions) and is meant for this measurement only.
"""

import argparse
import os
import time

import numpy as np
import results_file

from qfa_tf.cost import CostModel
from qfa_tf.space import Head, SearchSpace, Stage, Stem


def main() -> None:
    """Measures one space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="digits_tiny", help="a preset, or blocks_20")
    parser.add_argument("--genomes", type=int, default=200_000, help="size of one measurement")
    parser.add_argument("--repeats", type=int, default=5, help="measurements; the median counts")
    args = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    space = blocks_20() if args.space == "blocks_20" else SearchSpace.from_preset(args.space)
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


def blocks_20() -> SearchSpace:
    """Five elastic stages of up to four blocks at the widths of the w1.2 space."""
    elastic = {"depths": (2, 3, 4), "kernel_sizes": (3, 5, 7), "expand_ratios": (3, 4, 6)}
    widths_and_strides = ((32, 2), (48, 2), (96, 2), (136, 1), (192, 2))
    return SearchSpace(
        name="blocks_20",
        resolutions=tuple(range(128, 225, 4)),
        stem=Stem(24, kernel_size=3, stride=2, activation="relu6"),
        stages=(
            Stage(24, 1, depths=(1,), kernel_sizes=(3,), expand_ratios=(1,), activation="relu"),
            *(Stage(w, s, activation="relu6", **elastic) for w, s in widths_and_strides),
        ),
        head=Head(expand_width=1152, mix_width=1536, activation="relu6"),
        weight_bits=(2, 3, 4),
        activation_bits=(2, 3, 4),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=3,
        num_classes=1000,
    )


if __name__ == "__main__":
    main()
