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
from qfa_tf.runs.searching.settings import PREDICTORS, STRATEGIES

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run.")
    flags.DEFINE_string(
        "name",
        None,
        "Of the search and its folder; by default that of an equal search, else default, "
        "default-2, ... whichever is free.",
    )
    flags.DEFINE_multi_string(
        "constraint",
        None,
        "Bound on a cost or on the accuracy, such as mflops_8bit<=0.1; repeatable.",
    )
    flags.DEFINE_list(
        "objectives",
        None,
        "The two axes of the front: accuracy and a cost, as in accuracy,latency_ms.",
    )
    flags.DEFINE_string(
        "minimize", None, "Choose the subnet with the lowest such cost within the constraints."
    )
    flags.DEFINE_multi_string(
        "latency_table", None, "JSON file with the operators of a device; repeatable."
    )
    flags.DEFINE_enum("strategy", None, STRATEGIES, "How to look.")
    flags.DEFINE_string(
        "predictor_of", None, "Search whose predictor --strategy=predicted takes; else the newest."
    )
    flags.DEFINE_integer("evaluations", None, "Budget of exact evaluations.", lower_bound=1)
    flags.DEFINE_enum("predictor", None, PREDICTORS, "Kind of predictor.")
    flags.DEFINE_integer("population", None, "Subnets per generation of nsga2.", lower_bound=2)
    flags.DEFINE_integer("generations", None, "Generations of nsga2.", lower_bound=1)
    flags.DEFINE_integer("seed", None, "Seed of the search.")
    flags.DEFINE_integer("max_bits", None, "Search only bit-widths up to this one.")
    flags.DEFINE_bool("uniform_bits", None, "Give all weights and activations one bit-width.")
    flags.DEFINE_bool(
        "sensitivity",
        None,
        "Measure the chosen subnet with each bit-width changed, for the report.",
    )
    flags.DEFINE_integer(
        "workers",
        None,
        "Processes that evaluate, with one thread each; one per core by default, 0 for none.",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "backend", "processes", ("processes", "ray"), "Where the workers run: here, or on Ray."
    )
    flags.mark_flag_as_required("workdir")


def main():
    """Searches."""
    from qfa_tf.runs.searching.run import default_workers

    workdir = runs.Workdir(FLAGS.workdir)
    settings = runs.SearchSettings.from_config(
        workdir.config(),
        constraints=FLAGS.constraint,
        objective=_objective(),
        minimize=None if FLAGS.minimize is None else True,
        latency_tables=FLAGS.latency_table,
        strategy=FLAGS.strategy,
        evaluations=FLAGS.evaluations,
        predictor=FLAGS.predictor,
        population=FLAGS.population,
        generations=FLAGS.generations,
        seed=FLAGS.seed,
        max_bits=FLAGS.max_bits,
        uniform_bits=FLAGS.uniform_bits,
        sensitivity=FLAGS.sensitivity,
    )
    workers = default_workers() if FLAGS.workers is None else FLAGS.workers
    runs.search_workdir(
        workdir,
        settings,
        name=FLAGS.name,
        predictor_of=FLAGS.predictor_of,
        workers=workers,
        backend=FLAGS.backend,
    )


def _objective() -> str | None:
    """The cost on the axis of the front, None when no flag names it."""
    if FLAGS.objectives is None:
        return FLAGS.minimize
    costs = [name for name in FLAGS.objectives if name != "accuracy"]
    if len(costs) != 1 or len(FLAGS.objectives) != 2:
        raise runs.RunError(
            "--objectives needs accuracy and one cost, as in accuracy,latency_ms. "
            f"Received: {','.join(FLAGS.objectives)}."
        )
    if FLAGS.minimize not in (None, costs[0]):
        raise runs.RunError(
            f"--minimize must name the cost of --objectives, {costs[0]}. "
            f"Received: {FLAGS.minimize}."
        )
    return costs[0]


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
