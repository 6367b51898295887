"""Evaluates one subnet of a trained supernet: the chosen one, one of the front, or a file.

Use the test split for final figures only; choosing a subnet by it would be cheating.

Examples:
  python apps/evaluate.py --workdir=workdir/digits
  python apps/evaluate.py --workdir=workdir/digits --architecture=mine.json --split=test
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    command_line.define_subnet_flags()
    flags.DEFINE_enum(
        "split", "search_validation", ("search_validation", "test"), "Images to evaluate on."
    )
    flags.mark_flag_as_required("workdir")


def main():
    """Evaluates."""
    runs.evaluate_selection(
        runs.Workdir(FLAGS.workdir),
        **command_line.subnet_arguments(),
        split=FLAGS.split,
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
