"""Exports a subnet as a .tflite file and verifies it against the simulation, integer by integer.

Without further flags it is the subnet that the search chose. The file and a .json with everything
known about it go into models/ of the workdir; a model that was exported before is kept.

Examples:
  python apps/export.py --workdir=workdir/digits
  python apps/export.py --workdir=workdir/digits --search=phone_a --index=0 --name=cheapest
  python apps/export.py --workdir=workdir/digits --architecture=mine.json --weight_container=int8
  python apps/export.py --workdir=workdir/digits --input_type=float32
  python apps/export.py --workdir=workdir/imagenet --float_sites=float32
  python apps/export.py --inspect=workdir/digits/models/cheapest.tflite
  python apps/export.py --support
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
INDEX = flags.DEFINE_integer("index", None, "One of the front, cheapest first, from 0.")
SEARCH = flags.DEFINE_string(
    "search", None, "Name of the search; the only or the newest one by default."
)
STALE = flags.DEFINE_enum(
    "stale",
    "refuse",
    ("refuse", "ok"),
    "ok: take a subnet of a search of other weights than those of now, and measure it anew first.",
)
ARCHITECTURE = flags.DEFINE_string("architecture", None, "File with an architecture as JSON.")
NAME = flags.DEFINE_string("name", None, "Name of the files; the space and a digest by default.")
WEIGHT_CONTAINER = flags.DEFINE_enum(
    "weight_container",
    "auto",
    ("auto", "packed", "int8"),
    "auto, packed: 4- and 2-bit weights of 1x1 convolutions are packed; int8: a byte per weight.",
)
INPUT_TYPE = flags.DEFINE_enum(
    "input_type",
    "uint8",
    ("uint8", "int8", "float32"),
    "uint8: the bytes of an image, as phones have them; int8: the same minus 128; float32: from 0 "
    "to 1, as in training.",
)
OUTPUT_TYPE = flags.DEFINE_enum(
    "output_type", "float32", ("float32", "int8"), "Type of the logits at the output."
)
FLOAT_SITES = flags.DEFINE_enum(
    "float_sites",
    "int8",
    ("int8", "float32", "float16"),
    "What layers become that the space keeps in float, as the stem of the papers' spaces. int8: 8 "
    "bits, the whole subnet in integers; float32: float, as in training; float16: weights stored "
    "as float16, otherwise float32.",
)
INSPECT = flags.DEFINE_string(
    "inspect", None, "Only print what is in this .tflite file, of any converter."
)
SUPPORT = flags.DEFINE_bool(
    "support", False, "Only print the operators and types that are exported, and the refused ones."
)


@flags.multi_flags_validator(
    ["workdir", "inspect", "support"],
    message="Give --workdir, or --inspect=FILE, or --support.",
)
def _has_task(values):
    return bool(values["workdir"] or values["inspect"] or values["support"])


def main():
    """Exports, or prints what it was asked for."""
    if SUPPORT.value:
        runs.print_support()
        return
    if INSPECT.value:
        runs.print_inspection(INSPECT.value)
        return
    runs.export_model(
        runs.Workdir(WORKDIR.value),
        index=INDEX.value,
        architecture_file=ARCHITECTURE.value,
        search=SEARCH.value,
        stale=STALE.value,
        name=NAME.value,
        options=runs.ExportOptions(
            weight_container=WEIGHT_CONTAINER.value,
            input_type=INPUT_TYPE.value,
            output_type=OUTPUT_TYPE.value,
            float_sites=FLOAT_SITES.value,
        ),
    )


if __name__ == "__main__":
    command_line.run_app(main)
