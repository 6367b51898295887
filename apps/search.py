"""Searches a trained supernet for the best subnets under a budget.

Writes pareto.json, pareto.png and report.html into the workdir. What a flag leaves open comes from
the config of the workdir. The same command continues after a kill: evaluations are never repeated.

Examples:
  python apps/search.py --workdir=workdir/digits
  python apps/search.py --workdir=workdir/digits --constraint="mflops_8bit<=0.08" \
      --constraint="weight_bytes<=9000" --max_bits=4 --generations=20
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

METRICS = ("macs", "mflops_8bit", "bitops", "params", "weight_bytes")

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
CONSTRAINT = flags.DEFINE_multi_string(
    "constraint", None, "Bound on a cost or on the accuracy, such as mflops_8bit<=0.1; repeatable."
)
OBJECTIVE = flags.DEFINE_enum("objective", None, METRICS, "Cost to minimise beside the error.")
POPULATION = flags.DEFINE_integer("population", None, "Subnets per generation.", lower_bound=2)
GENERATIONS = flags.DEFINE_integer("generations", None, "Generations in all.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", None, "Seed of the search.")
MAX_BITS = flags.DEFINE_integer("max_bits", None, "Search only bit-widths up to this one.")
flags.mark_flag_as_required("workdir")


def main():
    """Searches."""
    workdir = runs.Workdir(WORKDIR.value)
    settings = runs.SearchSettings.from_config(
        workdir.config(),
        constraints=CONSTRAINT.value,
        objective=OBJECTIVE.value,
        population=POPULATION.value,
        generations=GENERATIONS.value,
        seed=SEED.value,
        max_bits=MAX_BITS.value,
    )
    runs.search_workdir(workdir, settings)


if __name__ == "__main__":
    command_line.run_app(main)
