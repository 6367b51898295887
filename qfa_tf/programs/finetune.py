"""Trains a chosen subnet further, alone, from the weights of its supernet.

Without further flags it is the subnet that the search chose. The tuned subnet gets a workdir of its
own, WORKDIR/finetuned/NAME, which the other programs take; its accuracy is compared with that
without retraining on the same images. The same command continues after a kill.

Examples:
  python apps/finetune.py --workdir=workdir/digits
  python apps/finetune.py --workdir=workdir/digits --search=phone_a --index=3 --epochs=8
  python apps/export.py --workdir=workdir/digits/finetuned/digits_tiny-0a1b2c3d
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    command_line.define_subnet_flags("Folder of a trained supernet.")
    command_line.define_stale()
    flags.DEFINE_string("name", None, "Of the new workdir; the space and a digest by default.")
    flags.DEFINE_integer("epochs", 4, "As long as those of the supernet.", lower_bound=1)
    flags.DEFINE_float(
        "learning_rate", None, "Its largest value; a tenth of that of the supernet by default.", 0.0
    )
    command_line.define_native_kernels()
    flags.mark_flag_as_required("workdir")


def main() -> None:
    """Fine-tunes."""
    runs.finetune(
        runs.Workdir(FLAGS.workdir),
        **command_line.subnet_arguments(),
        name=FLAGS.name,
        epochs=FLAGS.epochs,
        learning_rate=FLAGS.learning_rate,
        native_kernels=FLAGS.native_kernels,
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
