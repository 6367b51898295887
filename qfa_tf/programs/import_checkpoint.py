"""Makes a workdir of a supernet that was trained elsewhere, ready for search and export.

With --pretrained it is one that comes along (docs/pretrained.md), with its recipe.

With --checkpoint it is one of the official BatchQuant release: the .pth of the release (needs the
torch package: pip install "qfa_tf[torch]") or an .npz with the same names and arrays. Data set,
calibration and search come from the recipe; what the release prescribes replaces its space.
docs/official_release.md tells what agrees with the release, and how far.

Examples:
  python apps/import_checkpoint.py --pretrained=digits --workdir=workdir/start
  python apps/import_checkpoint.py --checkpoint=b234_ps.pth --recipe=imagenet_qfa \
      --workdir=workdir/official
  python apps/import_checkpoint.py --checkpoint=b234_ps.pth --recipe=imagenet_qfa \
      --workdir=workdir/official_paper --zero_point=fractional --genes=genes.json
  python apps/evaluate.py --workdir=workdir/official_paper \
      --architecture=workdir/official_paper/architectures/gene-0.json
"""

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    flags.DEFINE_string(
        "pretrained", None, "Name of a supernet that comes along, or the path of its .npz file."
    )
    flags.DEFINE_string(
        "data", None, "With --pretrained: where its images are here; see docs/data.md for names."
    )
    flags.DEFINE_string("checkpoint", None, "File of the official release: .pth or .npz.")
    command_line.define_recipe(required=False)
    flags.DEFINE_string("workdir", None, "Folder of the run, made if missing.")
    flags.DEFINE_float("width_mult", 1.2, "Width multiplier of the network.")
    flags.DEFINE_enum(
        "zero_point",
        "integer",
        ("integer", "fractional"),
        "integer: what can be exported; fractional: what the release computes.",
    )
    flags.DEFINE_string(
        "genes", None, "JSON file with genes of 176 integers; their architectures are written too."
    )
    flags.mark_flag_as_required("workdir")


def main():
    """Imports."""
    if (FLAGS.pretrained is None) == (FLAGS.checkpoint is None):
        raise runs.RunError("Give --pretrained, or --checkpoint and --recipe.")
    if FLAGS.pretrained is not None:
        runs.start_from_pretrained(
            FLAGS.pretrained, runs.Workdir(FLAGS.workdir), data_name=FLAGS.data
        )
        return
    runs.import_official(
        FLAGS.checkpoint,
        command_line.recipe_value(),
        runs.Workdir(FLAGS.workdir),
        width_mult=FLAGS.width_mult,
        zero_point=FLAGS.zero_point,
        genes=FLAGS.genes,
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
