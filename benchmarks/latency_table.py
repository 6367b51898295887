"""A latency table of this computer, and how well it predicts whole subnets.

    python benchmarks/latency_table.py --space mobilenet_v3_mobile --resolutions 128 176 224

Measures every operator of the space (the same command continues), fits factor and constant on some
random subnets, and compares predictions with 30 others. Keeps the table, the compared subnets and
their picture beside benchmarks/results/latency_table.csv, to which it appends a row.
"""

import argparse
import dataclasses
import time

import results_file

from qfa_tf.latency import (
    OPERATOR_OPTIONS,
    TableSettings,
    measure_latency_table,
)
from qfa_tf.latency.prediction import plot_prediction, write_prediction_csv
from qfa_tf.space import SearchSpace
from tflite_tools.benchmarking.options import CLOCKS


def main() -> None:
    """Measures one space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="mobilenet_v3_mobile", help="a preset")
    parser.add_argument("--resolutions", type=int, nargs="*", help="instead of all, in pixels")
    parser.add_argument("--passes", type=int, default=3, help="times that each is measured")
    parser.add_argument("--clock", default="cpu", choices=CLOCKS, help="cpu on a busy computer")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    space = SearchSpace.from_preset(args.space)
    name = f"{args.space}-host-{args.threads}"
    if args.resolutions:
        sizes = tuple(args.resolutions)
        space = space.replace(name=f"{space.name}_{'_'.join(map(str, sizes))}", resolutions=sizes)
        name = f"{space.name}-host-{args.threads}"
    folder = results_file.RESULTS / "latency_tables"
    began = time.perf_counter()
    table, prediction = measure_latency_table(
        folder / f"{name}.json",
        space,
        options=dataclasses.replace(OPERATOR_OPTIONS, num_threads=args.threads, clock=args.clock),
        settings=TableSettings(passes=args.passes),
    )
    write_prediction_csv(prediction, space, folder / f"{name}.csv")
    plot_prediction(prediction, f"{space.name}\n{table.device}", folder / f"{name}.png")
    errors = prediction.errors
    results_file.append(
        "latency_table",
        {
            "space": space.name,
            "threads": args.threads,
            "operators": len(table.rows),
            "passes": args.passes,
            "clock": args.clock,
            "seconds": round(time.perf_counter() - began),
            "factor": round(table.factor, 4),
            "fixed_microseconds": round(table.fixed_microseconds, 2),
            "subnets": len(errors),
            "mean_absolute_error": round(prediction.mean_absolute_error, 4),
            "largest_error": round(float(abs(errors).max()), 4),
            "bias": round(float(errors.mean()), 4),
        },
    )


if __name__ == "__main__":
    main()
