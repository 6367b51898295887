"""Exports a subnet as a .tflite file and verifies it against the simulation, integer by integer.

Without further flags it is the subnet that the search chose. The file and a .json with everything
known about it go into models/ of the workdir; a model that was exported before is kept.

Examples:
  python apps/export.py --workdir=workdir/digits
  python apps/export.py --workdir=workdir/digits --index=0 --name=cheapest
  python apps/export.py --workdir=workdir/digits --architecture=mine.json --weight_container=int8
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
INDEX = flags.DEFINE_integer("index", None, "One of the front, cheapest first, from 0.")
ARCHITECTURE = flags.DEFINE_string("architecture", None, "File with an architecture as JSON.")
NAME = flags.DEFINE_string("name", None, "Name of the files; the space and a digest by default.")
WEIGHT_CONTAINER = flags.DEFINE_enum(
    "weight_container",
    "auto",
    ("auto", "packed", "int8"),
    "auto, packed: 4- and 2-bit weights of 1x1 convolutions are packed; int8: a byte per weight.",
)
INPUT_TYPE = flags.DEFINE_enum("input_type", "float32", ("float32", "int8"), "Type of the input.")
OUTPUT_TYPE = flags.DEFINE_enum(
    "output_type", "float32", ("float32", "int8"), "Type of the output."
)
flags.mark_flag_as_required("workdir")


def main():
    """Exports."""
    runs.export_model(
        runs.Workdir(WORKDIR.value),
        index=INDEX.value,
        architecture_file=ARCHITECTURE.value,
        name=NAME.value,
        weight_container=WEIGHT_CONTAINER.value,
        input_type=INPUT_TYPE.value,
        output_type=OUTPUT_TYPE.value,
    )


if __name__ == "__main__":
    command_line.run_app(main)
