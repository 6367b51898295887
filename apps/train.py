"""Trains a quantized supernet in a workdir; the same command resumes it after a kill.

Examples:
  python apps/train.py --config=configs/digits.py --workdir=workdir/digits
  python apps/train.py --config=configs/digits.py --workdir=workdir/slow \
      --config.training.learning_rate=0.02 --config.training.stage_steps=100,200,300
"""

from absl import flags
from ml_collections import config_flags

from qfa_tf import runs
from qfa_tf.runs import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe: a Python file with get_config().")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, made if missing.")
flags.mark_flags_as_required(["config", "workdir"])


def main():
    """Trains."""
    runs.train(command_line.config_value(CONFIG), runs.Workdir(WORKDIR.value))


if __name__ == "__main__":
    command_line.run_app(main)
