r"""Measures models on this computer or a phone: latency, where it goes, equal bits, latency tables.

Without a task flag: the latency of exported models, in turns, and the final table of a run. Reports
are stored in the .json beside each model and, with the raw log of the device, in
WORKDIR/benchmarks; a model that has one is not measured again.

A phone is named by its serial number (`adb devices`), as in --device=adb:0A1B2C, and needs LiteRT's
benchmark_model built for it. docs/android.md leads from an unplugged phone to a model.

Examples:
  python apps/benchmark.py --workdir=workdir/digits
  python apps/benchmark.py --workdir=workdir/digits --front --rounds=5
  python apps/benchmark.py --file=model.tflite --device=adb:0A1B2C \
      --benchmark_model=android/benchmark_model --delegate=gpu
  python apps/benchmark.py --workdir=workdir/digits --profile
  python apps/benchmark.py --workdir=workdir/digits --compare=8 --device=adb:0A1B2C \
      --benchmark_model=android/benchmark_model
  python apps/benchmark.py --workdir=workdir/digits --runtimes=all
  python apps/benchmark.py --workdir=workdir/digits --table=tables/host.json --max_bits=4
"""

import pathlib

from absl import flags

from qfa_tf import runs
from qfa_tf.runs import command_line
from qfa_tf.runs.messages import new_console
from qfa_tf.runs.requirements import require_packages

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the program."""
    flags.DEFINE_string("workdir", None, "Folder of a run with exported models.")
    flags.DEFINE_multi_string("model", [], "Name of a model, repeatable; all by default.")
    flags.DEFINE_bool("front", False, "The subnets of the front; exports what is not yet.")
    flags.DEFINE_string(
        "search", None, "With --front: name of the search; the only or the newest one by default."
    )
    flags.DEFINE_enum(
        "stale",
        "refuse",
        ("refuse", "ok"),
        "With --front, ok: take subnets of a search of other weights than those of now, and "
        "measure them anew first.",
    )
    flags.DEFINE_multi_string("file", [], "A .tflite file of any origin, repeatable.")
    flags.DEFINE_string("output", "benchmarks_of_files", "Folder of the reports of --file.")
    flags.DEFINE_bool("profile", False, "Task: the time of each operator and site.")
    flags.DEFINE_integer(
        "compare", None, "Task: compare the outputs for so many images with this computer's.", 1
    )
    flags.DEFINE_string(
        "runtimes",
        None,
        "Task: run the models on these runtimes, with commas, or all: what loads, is accelerated, "
        "differs. scripts/install_runtimes.sh installs what they need.",
    )
    flags.DEFINE_integer("images", 200, "Test images of --runtimes.", 1)
    flags.DEFINE_string("table", None, "Task: measure the latency table of a space; a .json.")
    flags.DEFINE_string("space", None, "Preset for --table; by default that of the workdir.")
    flags.DEFINE_integer("max_bits", None, "Bit-widths of --table up to this one.")
    flags.DEFINE_integer("passes", 3, "Times that --table measures each operator.", 1)
    flags.DEFINE_integer("checked", 30, "Random subnets that --table is checked on.", 0)
    flags.DEFINE_string("device", "host", "host, or adb:SERIAL for a phone.")
    flags.DEFINE_string(
        "delegate",
        "cpu",
        "What executes the model: cpu (XNNPACK), cpu-builtin, cpu-reference, gpu, nnapi "
        "(deprecated), npu-qualcomm, npu-mediatek, npu-google-tensor.",
    )
    flags.DEFINE_string(
        "benchmark_model", None, "LiteRT's benchmark_model for the phone, classic or v2."
    )
    flags.DEFINE_string(
        "run_model", None, "LiteRT's run_model for the phone, for --compare with v2."
    )
    flags.DEFINE_multi_string(
        "library", [], "Library that the delegate loads on the phone, repeatable."
    )
    flags.DEFINE_string("cpu_mask", None, "Cores of the phone, hexadecimal, such as f0.")
    flags.DEFINE_float("timeout", 300.0, "Seconds for one run on a phone or a runtime.", 1.0)
    flags.DEFINE_integer("num_threads", 1, "CPU threads.", lower_bound=1)
    flags.DEFINE_integer("num_runs", None, "Least number of inferences.", lower_bound=1)
    flags.DEFINE_float("min_seconds", None, "Least time of the inferences.", 0.0)
    flags.DEFINE_integer("warmup_runs", 5, "Inferences before each turn.", 0)
    flags.DEFINE_integer("rounds", 3, "Turns of the models.", 1)
    flags.DEFINE_float("cool_down", 0.0, "Seconds of rest before each turn.", 0.0)
    flags.DEFINE_enum(
        "clock",
        "wall",
        ("wall", "cpu"),
        "cpu: what one thread here really computes, for a computer that is busy with other work.",
    )
    flags.DEFINE_bool("again", False, "Measure again what has been measured.")


def main():
    """Benchmarks."""
    from tflite_tools.benchmarking.options import DeviceFiles

    files = DeviceFiles(
        benchmark_model=FLAGS.benchmark_model,
        run_model=FLAGS.run_model,
        libraries=tuple(FLAGS.library),
        cpu_mask=FLAGS.cpu_mask,
        timeout=FLAGS.timeout,
    )
    tasks = [FLAGS.profile]
    tasks += [value is not None for value in (FLAGS.compare, FLAGS.runtimes, FLAGS.table)]
    if sum(tasks) > 1:
        raise runs.RunError("Give one of --profile, --compare, --runtimes and --table.")
    if FLAGS.workdir is None and not FLAGS.file and not (FLAGS.table and FLAGS.space):
        raise runs.RunError("Give --workdir, --file, or --table with --space.")
    if FLAGS.table is not None:
        _table(files)
    elif FLAGS.profile or FLAGS.compare is not None or FLAGS.runtimes is not None:
        _look_into(files)
    elif FLAGS.file:
        from qfa_tf.runs.benchmarking.run import benchmark_flatbuffers

        benchmark_flatbuffers(
            FLAGS.file, FLAGS.output, device=FLAGS.device, options=_options(), files=files
        )
    else:
        _benchmark(files)


def _benchmark(files):
    """Measures exported models, and compares a front with what was predicted."""
    workdir = runs.Workdir(FLAGS.workdir)
    records = runs.benchmark_models(
        workdir,
        names=_names(),
        device=FLAGS.device,
        options=_options(),
        files=files,
        again=FLAGS.again,
    )
    if FLAGS.front:
        from qfa_tf.runs.benchmarking.files import benchmark_key
        from qfa_tf.runs.benchmarking.front_latency import write_front_latency
        from qfa_tf.runs.searching.folder import find_search

        key = benchmark_key(FLAGS.device, _options())
        folder = find_search(workdir, FLAGS.search)
        write_front_latency(workdir, folder, records, key, new_console())


def _table(files):
    """Measures a latency table, and writes its error beside it."""
    from qfa_tf.latency import TableSettings, measure_latency_table
    from qfa_tf.latency.prediction import plot_prediction, write_prediction_csv
    from qfa_tf.runs.building import build_space
    from qfa_tf.space import SearchSpace

    if FLAGS.space is None:
        space = build_space(runs.Workdir(FLAGS.workdir).config())
    else:
        space = SearchSpace.from_preset(FLAGS.space)
    bits = None
    if FLAGS.max_bits is not None:
        offered = sorted({*space.weight_bits, *space.activation_bits})
        bits = [value for value in offered if value <= FLAGS.max_bits]
        if not bits:
            raise runs.RunError(
                f"Space {space.name!r} has the bit-widths {offered}. Received: "
                f"--max_bits={FLAGS.max_bits}."
            )
    require_packages("The picture of the latency table", "matplotlib")
    path = pathlib.Path(FLAGS.table)
    table, prediction = measure_latency_table(
        path,
        space,
        device=FLAGS.device,
        options=_options(num_runs=10, min_seconds=0.03),
        files=files,
        bits=bits,
        settings=TableSettings(passes=FLAGS.passes, checked=FLAGS.checked),
    )
    if prediction is not None:
        write_prediction_csv(prediction, space, path.with_suffix(".csv"))
        plot_prediction(prediction, f"{table.name}\n{table.device}", path.with_suffix(".png"))


def _look_into(files):
    """Profiles models, or compares their outputs."""
    from qfa_tf.runs.benchmarking import run as benchmark_run
    from qfa_tf.runs.benchmarking.files import folder_of
    from tflite_tools.verification.devices import random_images

    console = new_console()
    workdir = None if FLAGS.file else runs.Workdir(FLAGS.workdir)
    if workdir is None:
        contents = benchmark_run.read_flatbuffers(FLAGS.file)
        output = pathlib.Path(FLAGS.output)
    else:
        contents = benchmark_run.model_contents(workdir, _names())
        output = folder_of(workdir)
    if FLAGS.profile:
        options = _options(num_runs=100)
        benchmark_run.profile_flatbuffers(
            contents, output, device=FLAGS.device, options=options, files=files, console=console
        )
        return

    count = FLAGS.images if FLAGS.compare is None else FLAGS.compare

    def images_of(name, content):
        if workdir is None:
            return random_images(content, count), None
        return benchmark_run.images_of_model(workdir, name, content, count)

    if FLAGS.runtimes is not None:
        from qfa_tf.runs.benchmarking.runtimes import compare_models

        compare_models(
            contents,
            images_of,
            FLAGS.runtimes,
            output,
            workdir=workdir,
            limit=FLAGS.timeout,
            console=console,
        )
        return
    benchmark_run.compare_flatbuffers(
        contents,
        images_of,
        device=FLAGS.device,
        delegate=FLAGS.delegate,
        files=files,
        console=console,
    )


def _names() -> tuple[str, ...]:
    """The models that were asked for; all when empty."""
    if not FLAGS.front:
        return tuple(FLAGS.model)
    from qfa_tf.runs.benchmarking.run import export_front

    return tuple(
        export_front(
            runs.Workdir(FLAGS.workdir),
            new_console(),
            search=FLAGS.search,
            stale=FLAGS.stale,
        )
    )


def _options(num_runs=50, min_seconds=1.0):
    """How to measure; the arguments are the defaults of the flags."""
    from tflite_tools.benchmarking.options import BenchmarkOptions

    def chosen(flag, default):
        return default if flag is None else flag

    return BenchmarkOptions(
        num_threads=FLAGS.num_threads,
        warmup_runs=FLAGS.warmup_runs,
        num_runs=chosen(FLAGS.num_runs, num_runs),
        min_seconds=chosen(FLAGS.min_seconds, min_seconds),
        rounds=FLAGS.rounds,
        cool_down=FLAGS.cool_down,
        delegate=FLAGS.delegate,
        clock=FLAGS.clock,
    )


def run() -> None:
    """The console program."""
    command_line.run_app(main, define_flags, __doc__)
