"""Imports a supernet of the official BatchQuant release, so that it can be searched and exported.

The file is the .pth of the release (needs the torch package: pip install "qfa_tf[torch]") or an
.npz with the same names and arrays. Data set, calibration and search come from the recipe; what
the release prescribes replaces its space. docs/official_release.md tells what agrees with the
release, and how far.

Examples:
  python apps/import_checkpoint.py --checkpoint=b234_ps.pth --config=configs/imagenet_qfa.py \
      --workdir=workdir/official
  python apps/import_checkpoint.py --checkpoint=b234_ps.pth --config=configs/imagenet_qfa.py \
      --workdir=workdir/official_paper --zero_point=fractional --genes=genes.json
  python apps/evaluate.py --workdir=workdir/official_paper \
      --architecture=workdir/official_paper/architectures/gene-0.json
"""

from absl import flags
from ml_collections import config_flags

from qfa_tf import runs
from qfa_tf.runs import command_line

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "File of the release: .pth or .npz.")
CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe: a Python file with get_config().")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, made if missing.")
WIDTH_MULT = flags.DEFINE_float("width_mult", 1.2, "Width multiplier of the network.")
ZERO_POINT = flags.DEFINE_enum(
    "zero_point",
    "integer",
    ("integer", "fractional"),
    "integer: what can be exported; fractional: what the release computes.",
)
GENES = flags.DEFINE_string(
    "genes", None, "JSON file with genes of 176 integers; their architectures are written too."
)
command_line.accept_every_key(CONFIG)
flags.mark_flags_as_required(["checkpoint", "config", "workdir"])


def main():
    """Imports."""
    runs.import_official(
        CHECKPOINT.value,
        command_line.config_value(CONFIG),
        runs.Workdir(WORKDIR.value),
        width_mult=WIDTH_MULT.value,
        zero_point=ZERO_POINT.value,
        genes=GENES.value,
    )


if __name__ == "__main__":
    command_line.run_app(main)
