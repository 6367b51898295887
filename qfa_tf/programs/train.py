r"""Trains a quantized supernet in a workdir; the same command resumes it after a kill.

With --architecture it trains that one subnet alone, from scratch, or, with the workdir of a
supernet as initial checkpoint, as a fine-tuning.

SIGTERM and SIGINT (Ctrl-C) save a checkpoint after the current step and end the program with status
143 and 130; a second signal ends it at once.

Recipes have names, or are given by the path of a Python file; --config is another name of --recipe.
docs/training.md explains every key of a recipe.

Examples:
  python apps/train.py --recipe=digits --workdir=workdir/digits
  python apps/train.py --recipe=digits --workdir=workdir/slow \
      --recipe.training.learning_rate=0.02 --recipe.training.stage_steps=100,200,300
  python apps/train.py --recipe=imagenet_qfa --workdir=workdir/qfa --strategy=mirrored
  python apps/train.py --recipe=digits --workdir=workdir/digits_alone \
      --architecture=workdir/digits/searches/default/architecture.json
  python apps/train.py --recipe=digits --workdir=workdir/digits_tuned \
      --architecture=workdir/digits/searches/default/architecture.json \
      --recipe.training.initial_checkpoint=workdir/digits \
      --recipe.training.stage_bits="((2, 3, 4, 8),)" --recipe.training.stage_steps=100 \
      --recipe.training.warmup_steps=10 --recipe.training.learning_rate=0.01
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line
from qfa_tf.supernet.options import EXECUTIONS

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    command_line.define_recipe()
    flags.DEFINE_string("workdir", None, "Folder of the run, made if missing.")
    flags.DEFINE_string(
        "architecture",
        None,
        "Train this one subnet alone: a JSON file, such as the architecture.json of a search.",
    )
    flags.DEFINE_enum(
        "strategy",
        "default",
        ("default", "mirrored", "multi_worker"),
        "One device, all devices of this machine, or several processes described by TF_CONFIG.",
    )
    flags.DEFINE_enum(
        "changed_data",
        "refuse",
        ("refuse", "ok"),
        "Whether to go on when the images are others than those the workdir was made from. Images "
        "that stayed keep their splits: what was held out is never trained on.",
    )
    flags.DEFINE_bool(
        "skip_damaged",
        False,
        "Go on without image files that cannot be read; the workdir notes them.",
    )
    flags.DEFINE_enum(
        "execution",
        None,
        EXECUTIONS,
        "Short for --recipe.supernet.execution: tensors sliced to each subnet, or masked, with "
        "static shapes.",
    )
    command_line.define_native_kernels()
    flags.DEFINE_integer(
        "subnets_at_once",
        None,
        "Subnets of a step that are computed side by side, with the same results; each takes the "
        "memory of its activations. By default one for two cores, as far as memory goes.",
        lower_bound=1,
    )
    flags.mark_flag_as_required("workdir")


def main():
    """Trains."""
    config, workdir = command_line.recipe_value(), runs.Workdir(FLAGS.workdir)
    if FLAGS.architecture is not None:
        architecture = runs.read_architecture(FLAGS.architecture)
        config.training.architecture = runs.architecture_text(architecture)
    if FLAGS.execution is not None:
        config.supernet.execution = FLAGS.execution
    runs.train(
        config,
        workdir,
        strategy=FLAGS.strategy,
        changed_data=FLAGS.changed_data == "ok",
        skip_damaged=FLAGS.skip_damaged,
        native_kernels=FLAGS.native_kernels,
        subnets_at_once=FLAGS.subnets_at_once,
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
