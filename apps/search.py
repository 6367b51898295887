r"""Searches a trained supernet for the best subnets under a budget.

Writes pareto.json, pareto.png and report.html into WORKDIR/searches/NAME. What a flag leaves open
comes from the config of the workdir. The same command continues after a kill: evaluations are never
repeated, and all searches of a workdir share them.

Budgets are bounds on macs, mflops_8bit, bitops, params, weight_bytes (ideal bits), tflite_bytes
(the exported file), latency_ms@TABLE (with --latency_table) and accuracy.

Strategies: nsga2 on measurements; predictor (sample, fit, NSGA-II on predictions, verify the
front); refine (predict, verify and fit again until the front stands still); random; predicted (the
predictor of an earlier search alone: seconds, nothing is measured).

Examples:
  python apps/search.py --workdir=workdir/digits
  python apps/search.py --workdir=workdir/digits --name=phone_a \
      --constraint="mflops_8bit<=0.08" \
      --constraint="tflite_bytes<=30000" --max_bits=4 --strategy=predictor --evaluations=200
  python apps/search.py --workdir=workdir/digits --constraint="accuracy>=0.98" \
      --minimize=weight_bytes
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

STRATEGIES = ("nsga2", "predictor", "refine", "random", "predicted")

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
NAME = flags.DEFINE_string(
    "name",
    None,
    "Of the search and its folder; by default that of an equal search, else default, default-2, "
    "... whichever is free.",
)
CONSTRAINT = flags.DEFINE_multi_string(
    "constraint", None, "Bound on a cost or on the accuracy, such as mflops_8bit<=0.1; repeatable."
)
OBJECTIVES = flags.DEFINE_list(
    "objectives", None, "The two axes of the front: accuracy and a cost, as in accuracy,latency_ms."
)
MINIMIZE = flags.DEFINE_string(
    "minimize", None, "Choose the subnet with the lowest such cost within the constraints."
)
LATENCY_TABLE = flags.DEFINE_multi_string(
    "latency_table", None, "JSON file with the operators of a device; repeatable."
)
STRATEGY = flags.DEFINE_enum("strategy", None, STRATEGIES, "How to look.")
PREDICTOR_OF = flags.DEFINE_string(
    "predictor_of", None, "Search whose predictor --strategy=predicted takes; else the newest."
)
EVALUATIONS = flags.DEFINE_integer(
    "evaluations", None, "Budget of exact evaluations.", lower_bound=1
)
PREDICTOR = flags.DEFINE_enum("predictor", None, ("mlp", "gp"), "Kind of predictor.")
POPULATION = flags.DEFINE_integer(
    "population", None, "Subnets per generation of nsga2.", lower_bound=2
)
GENERATIONS = flags.DEFINE_integer("generations", None, "Generations of nsga2.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", None, "Seed of the search.")
MAX_BITS = flags.DEFINE_integer("max_bits", None, "Search only bit-widths up to this one.")
UNIFORM_BITS = flags.DEFINE_bool(
    "uniform_bits", None, "Give all weights and activations one bit-width."
)
SENSITIVITY = flags.DEFINE_bool(
    "sensitivity", None, "Measure the chosen subnet with each bit-width changed, for the report."
)
WORKERS = flags.DEFINE_integer(
    "workers",
    None,
    "Processes that evaluate, with one thread each; one per core by default, 0 for none.",
    lower_bound=0,
)
BACKEND = flags.DEFINE_enum(
    "backend", "processes", ("processes", "ray"), "Where the workers run: here, or on Ray."
)
flags.mark_flag_as_required("workdir")


def main():
    """Searches."""
    from qfa_tf.runs.searching.run import default_workers

    workdir = runs.Workdir(WORKDIR.value)
    settings = runs.SearchSettings.from_config(
        workdir.config(),
        constraints=CONSTRAINT.value,
        objective=_objective(),
        minimize=None if MINIMIZE.value is None else True,
        latency_tables=LATENCY_TABLE.value,
        strategy=STRATEGY.value,
        evaluations=EVALUATIONS.value,
        predictor=PREDICTOR.value,
        population=POPULATION.value,
        generations=GENERATIONS.value,
        seed=SEED.value,
        max_bits=MAX_BITS.value,
        uniform_bits=UNIFORM_BITS.value,
        sensitivity=SENSITIVITY.value,
    )
    workers = default_workers() if WORKERS.value is None else WORKERS.value
    runs.search_workdir(
        workdir,
        settings,
        name=NAME.value,
        predictor_of=PREDICTOR_OF.value,
        workers=workers,
        backend=BACKEND.value,
    )


def _objective() -> str | None:
    """The cost on the axis of the front, None when no flag names it."""
    if OBJECTIVES.value is None:
        return MINIMIZE.value
    costs = [name for name in OBJECTIVES.value if name != "accuracy"]
    if len(costs) != 1 or len(OBJECTIVES.value) != 2:
        raise runs.RunError(
            "--objectives needs accuracy and one cost, as in accuracy,latency_ms. "
            f"Received: {','.join(OBJECTIVES.value)}."
        )
    if MINIMIZE.value not in (None, costs[0]):
        raise runs.RunError(
            f"--minimize must name the cost of --objectives, {costs[0]}. "
            f"Received: {MINIMIZE.value}."
        )
    return costs[0]


if __name__ == "__main__":
    command_line.run_app(main)
