"""Exports a subnet as a .tflite file and verifies it against the simulation, integer by integer.

Without further flags it is the subnet that the search chose. The file and a .json with everything
known about it go into models/ of the workdir; a model that was exported before is kept.

Examples:
  python apps/export.py --workdir=workdir/digits
  python apps/export.py --workdir=workdir/digits --search=phone_a --index=0 --name=cheapest
  python apps/export.py --workdir=workdir/digits --architecture=mine.json --weight_container=int8
  python apps/export.py --workdir=workdir/digits --input_type=float32
  python apps/export.py --workdir=workdir/digits --page
  python apps/export.py --workdir=workdir/imagenet --float_sites=float32
  python apps/export.py --inspect=workdir/digits/models/cheapest.tflite
  python apps/export.py --support
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    command_line.define_subnet_flags()
    command_line.define_stale(", and measure it anew first")
    flags.DEFINE_string("name", None, "Name of the files; the space and a digest by default.")
    flags.DEFINE_enum(
        "weight_container",
        "auto",
        ("auto", "packed", "int8"),
        "auto, packed: 4- and 2-bit weights of 1x1 convolutions are packed; int8: a byte per "
        "weight.",
    )
    flags.DEFINE_enum(
        "input_type",
        "uint8",
        ("uint8", "int8", "float32"),
        "uint8: the bytes of an image, as phones have them; int8: the same minus 128; float32: "
        "from 0 to 1, as in training.",
    )
    flags.DEFINE_enum(
        "output_type",
        "float32",
        ("float32", "int8", "uint8"),
        "Type of the logits at the output.",
    )
    flags.DEFINE_enum(
        "runtime",
        "xnnpack",
        ("xnnpack", "cpu", "builtin", "reference", "micro"),
        "Kernels of LiteRT that the file will run on: their integers are what the simulation is "
        "verified with. cpu: XNNPACK, but for depthwise filters of more than 25 weights, which the "
        "built-in kernels compute many times faster; micro needs --weight_container=int8.",
    )
    flags.DEFINE_enum(
        "float_sites",
        "int8",
        ("int8", "float32", "float16"),
        "What layers become that the space keeps in float, as the stem of the papers' spaces. "
        "int8: 8 bits, the whole subnet in integers; float32: float, as in training; float16: "
        "weights stored as float16, otherwise float32.",
    )
    flags.DEFINE_bool("softmax", False, "Answer with probabilities; without it, with logits.")
    flags.DEFINE_bool(
        "page",
        False,
        "Also write a folder with a page that runs the model in a browser: dropped images, the "
        "camera, some test images; needs LiteRT.js (sh scripts/install_runtimes.sh browser).",
    )
    flags.DEFINE_bool(
        "overlays",
        False,
        "Also write a folder with the bits, bytes and differences of every layer, which Model "
        "Explorer (pip install ai-edge-model-explorer) shows over the graph.",
    )
    flags.DEFINE_string(
        "inspect", None, "Only print what is in this .tflite file, of any converter."
    )
    flags.DEFINE_bool(
        "support",
        False,
        "Only print the operators and types that are exported, and the refused ones.",
    )

    @flags.multi_flags_validator(
        ["workdir", "inspect", "support"],
        message="Give --workdir, or --inspect=FILE, or --support.",
    )
    def _has_task(values):
        return bool(values["workdir"] or values["inspect"] or values["support"])


def main():
    """Exports, or prints what it was asked for."""
    if FLAGS.support:
        runs.print_support()
        return
    if FLAGS.inspect:
        runs.print_inspection(FLAGS.inspect)
        return
    runs.export_model(
        runs.Workdir(FLAGS.workdir),
        **command_line.subnet_arguments(),
        name=FLAGS.name,
        page=FLAGS.page,
        overlays=FLAGS.overlays,
        options=runs.ExportOptions(
            weight_container=FLAGS.weight_container,
            input_type=FLAGS.input_type,
            output_type=FLAGS.output_type,
            float_sites=FLAGS.float_sites,
            softmax=FLAGS.softmax,
            runtime=FLAGS.runtime,
        ),
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
