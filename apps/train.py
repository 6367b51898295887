r"""Trains a quantized supernet in a workdir; the same command resumes it after a kill.

With --architecture it trains that one subnet alone, from scratch, or, with the workdir of a
supernet as initial checkpoint, as a fine-tuning.

SIGTERM and SIGINT (Ctrl-C) save a checkpoint after the current step and end the program with status
143 and 130; a second signal ends it at once. docs/training.md explains every key of a recipe.

Examples:
  python apps/train.py --config=configs/digits.py --workdir=workdir/digits
  python apps/train.py --config=configs/digits.py --workdir=workdir/slow \
      --config.training.learning_rate=0.02 --config.training.stage_steps=100,200,300
  python apps/train.py --config=configs/imagenet_qfa.py --workdir=workdir/qfa --strategy=mirrored
  python apps/train.py --config=configs/digits.py --workdir=workdir/digits_alone \
      --architecture=workdir/digits/searches/default/architecture.json
  python apps/train.py --config=configs/digits.py --workdir=workdir/digits_tuned \
      --architecture=workdir/digits/searches/default/architecture.json \
      --config.training.initial_checkpoint=workdir/digits \
      --config.training.stage_bits="((2, 3, 4, 8),)" --config.training.stage_steps=100 \
      --config.training.warmup_steps=10 --config.training.learning_rate=0.01
"""

from absl import flags
from ml_collections import config_flags

from qfa_tf import runs
from qfa_tf.runs import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe: a Python file with get_config().")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, made if missing.")
ARCHITECTURE = flags.DEFINE_string(
    "architecture",
    None,
    "Train this one subnet alone: a JSON file, such as the architecture.json of a search.",
)
STRATEGY = flags.DEFINE_enum(
    "strategy",
    "default",
    ("default", "mirrored", "multi_worker"),
    "One device, all devices of this machine, or several processes described by TF_CONFIG.",
)
CHANGED_DATA = flags.DEFINE_enum(
    "changed_data",
    "refuse",
    ("refuse", "ok"),
    "Whether to go on when the images are others than those the workdir was made from. Images that "
    "stayed keep their splits: what was held out is never trained on.",
)
SKIP_DAMAGED = flags.DEFINE_bool(
    "skip_damaged", False, "Go on without image files that cannot be read; the workdir notes them."
)
command_line.accept_every_key(CONFIG)
flags.mark_flags_as_required(["config", "workdir"])


def main():
    """Trains."""
    config, workdir = command_line.config_value(CONFIG), runs.Workdir(WORKDIR.value)
    if ARCHITECTURE.value is not None:
        architecture = runs.read_architecture(ARCHITECTURE.value)
        config.training.architecture = runs.architecture_text(architecture)
    runs.train(
        config,
        workdir,
        strategy=STRATEGY.value,
        changed_data=CHANGED_DATA.value == "ok",
        skip_damaged=SKIP_DAMAGED.value,
    )


if __name__ == "__main__":
    command_line.run_app(main)
