"""Three networks on every runtime, and the tables of docs/runtimes.md.

    python benchmarks/runtimes.py --measure      # all runtimes that are installed, then the tables
    python benchmarks/runtimes.py                # only the tables, from results/runtimes

The networks: that of the quickstart (scripts/quickstart.sh: trained, searched and exported by the
programs), one of the phone-sized supernet that comes along (`--pretrained=fashion_mnist`, searched
and exported by the programs), and a Keras model with a Rescaling in front, quantized to 8 bits.
Runs are kept in the folder --workdirs and continue there. Each report is also what `python
apps/benchmark.py --workdir=WORKDIR --runtimes=all` leaves in WORKDIR/benchmarks/MODEL: copy such a
runtimes.json to benchmarks/results/runtimes/NAME.json for a table of a model of your own.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from quantize_configs.files import write_text
from tflite_tools.runtimes.comparison import compare_runtimes
from tflite_tools.runtimes.report import table_row

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "runtimes"
PAGE = ROOT / "docs" / "runtimes.md"
IMAGES, CALIBRATION_IMAGES, EPOCHS, SEED = 200, 256, 10, 0
BEGIN, END = "<!-- tables: python benchmarks/runtimes.py -->", "<!-- end of tables -->"


def tables() -> str:
    """The tables of all reports, as Markdown."""
    parts = []
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text("utf-8"))
        rows = [table_row(row, report["images"]) for row in report["runtimes"]]
        titles = list(rows[0])
        lines = [f"**{path.stem}**, {report['images']} test images", ""]
        lines += [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
        lines += [f"| {' | '.join(row[title] for title in titles)} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def with_tables(page: str) -> str:
    """The page with the tables of now between its marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


PROGRAMS = {
    "digits_quickstart": ("train --config=configs/digits.py", "search", "export"),
    "fashion_mnist_64px": (
        "import_checkpoint --pretrained=fashion_mnist",
        "search --population=16 --generations=4 --nosensitivity",
        "export",
    ),
}
"""How the networks of supernets are made, by the programs of apps."""
MODELS = (*PROGRAMS, "keras_model_8_bits")


def by_programs(name: str, folder: pathlib.Path, runtimes: str) -> str:
    """The report on the network that the programs make, as JSON."""
    workdir = folder / name
    benchmark = f"benchmark --runtimes={runtimes} --images={IMAGES}"
    for step in (*PROGRAMS[name], benchmark):
        program, *flags = step.split()
        command = [sys.executable, ROOT / "apps" / f"{program}.py", *flags, f"--workdir={workdir}"]
        subprocess.run(command, cwd=ROOT, check=True)
    (report,) = workdir.glob("benchmarks/*/runtimes.json")
    return report.read_text("utf-8")


def keras_model() -> tuple[bytes, np.ndarray, np.ndarray]:
    """A small network for digits of 24 pixels, 8 bits: the file, test images and labels."""
    from sklearn.datasets import load_digits

    import tflite_tools
    from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
    from quantize_configs.keras_backend import keras

    layers = keras.layers
    keras.utils.set_random_seed(SEED)
    digits = load_digits()
    pixels = np.rint(np.kron(digits.images, np.ones((1, 3, 3))) * (255 / 16))
    images, labels = pixels[..., None].astype(np.float32), digits.target
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(32, 1, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.legacy.Adam(3e-3), loss)
    model.fit(images[:-IMAGES], labels[:-IMAGES], 64, EPOCHS, verbose=0)
    quantized = quantize(model, BitPolicy((8, 8)))
    calibrate(quantized, images[:CALIBRATION_IMAGES])
    prepare_for_deployment(quantized)
    content = tflite_tools.convert(quantized, input_type="uint8")
    return content, images[-IMAGES:].astype(np.uint8), labels[-IMAGES:]


def measured(name: str, folder: pathlib.Path, runtimes: str) -> str:
    """The report on a network, as JSON."""
    if name in PROGRAMS:
        return by_programs(name, folder, runtimes)
    report = compare_runtimes(
        *keras_model(),
        runtimes=runtimes,
        progress=lambda runtime: print(f"{name} on {runtime}", flush=True),
    )
    print(report, flush=True)
    return report.to_json() + "\n"


def main() -> None:
    """Measures, where asked for, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="the three networks anew")
    parser.add_argument("--models", default=",".join(MODELS), help="which ones, with commas")
    parser.add_argument("--runtimes", default="all", help="names with commas")
    parser.add_argument(
        "--workdirs", type=pathlib.Path, default=ROOT / "workdir" / "runtimes", help="of the runs"
    )
    args = parser.parse_args()
    for name in args.models.split(",") if args.measure else ():
        report = measured(name, args.workdirs.resolve(), args.runtimes)
        write_text(RESULTS / f"{name}.json", report)
    write_text(PAGE, with_tables(PAGE.read_text("utf-8")))


if __name__ == "__main__":
    main()
