"""Compresses a trained Keras model to a budget: supernet, training, search and export in one call.

The model is the start of the supernet and its teacher. The last half of the steps trains the chosen
subnet alone. Everything is kept in the workdir, and the same command continues after a kill.

Examples:
  python apps/compress.py --model=model.keras --data=folder:photos --budget="2 MB" --steps=2000 \
    --workdir=workdir/compressed
  python apps/compress.py --model=model.keras --data=npz:train.npz --budget="300 kB and 4 ms" \
    --steps=500 --workdir=workdir/small
"""

from absl import flags

from qfa_tf.runs import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    flags.DEFINE_string("model", None, "Keras model file: .keras, .h5 or a SavedModel folder.")
    flags.DEFINE_string("data", None, "Data set, as of config.data.name; npz:FILE for arrays.")
    flags.DEFINE_string("budget", None, "Such as '2 MB', '8 ms' or '2 MB and 8 ms'.")
    flags.DEFINE_integer("steps", None, "Of the training.", lower_bound=1)
    flags.DEFINE_string("workdir", None, "Folder of the run, made if missing.")
    flags.DEFINE_integer("batch_size", 64, "Of the training.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 0.02, "Its largest value.", 0.0)
    flags.DEFINE_float(
        "tuning_share", 0.5, "Share of the steps that train the chosen subnet alone.", 0.0
    )
    flags.DEFINE_integer("population", 40, "Of the search.", lower_bound=2)
    flags.DEFINE_integer("generations", 12, "Of the search.", lower_bound=1)
    flags.DEFINE_bool("bytes", False, "The model reads pixels from 0 to 255.")
    command_line.define_native_kernels()
    flags.mark_flags_as_required(["model", "data", "budget", "steps", "workdir"])


def main() -> None:
    """Compresses."""
    from qfa_tf.compression import compress

    compress(
        FLAGS.model,
        FLAGS.data,
        budget=FLAGS.budget,
        steps=FLAGS.steps,
        workdir=FLAGS.workdir,
        batch_size=FLAGS.batch_size,
        learning_rate=FLAGS.learning_rate,
        tuning_share=FLAGS.tuning_share,
        population=FLAGS.population,
        generations=FLAGS.generations,
        pixel_range=(0.0, 255.0) if FLAGS.bytes else (0.0, 1.0),
        native_kernels=FLAGS.native_kernels,
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
