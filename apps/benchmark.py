"""Measures the latency of exported models and prints the final table of a run.

Reports are stored in the .json beside each model; a model that has one is not measured again.

Examples:
  python apps/benchmark.py --workdir=workdir/digits
  python apps/benchmark.py --workdir=workdir/digits --num_threads=2 --again
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run with exported models.")
MODEL = flags.DEFINE_multi_string("model", [], "Name of a model, repeatable; all by default.")
DEVICE = flags.DEFINE_string("device", "host", "Where to run.")
NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "CPU threads.", lower_bound=1)
AGAIN = flags.DEFINE_bool("again", False, "Measure again what has been measured.")
flags.mark_flag_as_required("workdir")


def main():
    """Benchmarks."""
    runs.benchmark_models(
        runs.Workdir(WORKDIR.value),
        names=tuple(MODEL.value),
        device=DEVICE.value,
        num_threads=NUM_THREADS.value,
        again=AGAIN.value,
    )


if __name__ == "__main__":
    command_line.run_app(main)
