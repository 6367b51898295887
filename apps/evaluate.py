"""Evaluates one subnet of a trained supernet: the chosen one, one of the front, or a file.

Use the test split for final figures only; choosing a subnet by it would be cheating.

Examples:
  python apps/evaluate.py --workdir=workdir/digits
  python apps/evaluate.py --workdir=workdir/digits --architecture=mine.json --split=test
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
INDEX = flags.DEFINE_integer("index", None, "One of the front, cheapest first, from 0.")
SEARCH = flags.DEFINE_string(
    "search", None, "Name of the search; the only or the newest one by default."
)
ARCHITECTURE = flags.DEFINE_string("architecture", None, "File with an architecture as JSON.")
SPLIT = flags.DEFINE_enum(
    "split", "search_validation", ("search_validation", "test"), "Images to evaluate on."
)
flags.mark_flag_as_required("workdir")


def main():
    """Evaluates."""
    runs.evaluate_selection(
        runs.Workdir(WORKDIR.value),
        index=INDEX.value,
        architecture_file=ARCHITECTURE.value,
        search=SEARCH.value,
        split=SPLIT.value,
    )


if __name__ == "__main__":
    command_line.run_app(main)
