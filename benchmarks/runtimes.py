"""Three networks on every runtime, and the tables of docs/runtimes.md.

    python benchmarks/runtimes.py --measure      # all runtimes that are installed, then the tables
    python benchmarks/runtimes.py                # only the tables, from results/runtimes

The networks: a subnet with mixed bits of the quickstart's supernet (`--pretrained=digits`), one of
the phone-sized `fashion_mnist`, and a Keras model with a Rescaling in front, quantized to 8 bits.
Each report is also what `python apps/benchmark.py --workdir=WORKDIR --runtimes=all` leaves in
WORKDIR/benchmarks/MODEL/runtimes.json: copy such a file to benchmarks/results/runtimes/NAME.json
for a table of a model of your own.
"""

import argparse
import json
import os
import pathlib
from collections.abc import Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from quantize_configs.files import write_text
from tflite_tools.runtimes.comparison import compare_runtimes, table_row

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "runtimes"
PAGE = ROOT / "docs" / "runtimes.md"
IMAGES, CALIBRATION_IMAGES, BATCHES, EPOCHS, SEED = 200, 256, 4, 10, 0
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


Model = tuple[bytes, np.ndarray, np.ndarray]
"""A file, images as it takes them, and their labels."""


def subnet(name: str, data: str, resolution: int) -> Model:
    """A subnet of a supernet that comes along, with mixed bits."""
    import tflite_tools
    from qfa_tf import QFASupernet
    from qfa_tf.data import load
    from qfa_tf.runs.exporting.promises import resized_images
    from tflite_tools.verification.model_inputs import as_inputs

    net = QFASupernet.from_pretrained(name)
    splits = load(data, resolution)
    arch = net.space.sample(np.random.default_rng(SEED))
    known = splits.calibration.take(np.arange(CALIBRATION_IMAGES)).read_images()
    calibration = net.calibrate(np.array_split(known, BATCHES), arch)
    content = tflite_tools.convert(
        net.extract(arch, calibration), input_type="uint8", pixel_range=(0.0, 1.0)
    )
    test = splits.test.take(np.arange(IMAGES))
    images = resized_images(test.read_images(), arch)
    return content, as_inputs(content, images), np.asarray(test.labels)


def keras_model() -> Model:
    """A small network for digits of 24 pixels, trained in float, then with 8 bits."""
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


MODELS: dict[str, Callable[[], Model]] = {
    "digits_tiny": lambda: subnet("digits", "digits", 32),
    "fashion_mnist_64px": lambda: subnet(
        "fashion_mnist", "idx:/usr/share/datasets/fashion-mnist", 64
    ),
    "keras_model_8_bits": keras_model,
}


def main() -> None:
    """Measures, where asked for, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="the three networks anew")
    parser.add_argument("--models", default=",".join(MODELS), help="which ones, with commas")
    parser.add_argument("--runtimes", default="all", help="names with commas")
    args = parser.parse_args()
    for name in args.models.split(",") if args.measure else ():
        content, images, labels = MODELS[name]()
        report = compare_runtimes(
            content,
            images,
            labels,
            runtimes=args.runtimes,
            progress=lambda runtime, name=name: print(f"{name} on {runtime}", flush=True),
        )
        print(report, flush=True)
        write_text(RESULTS / f"{name}.json", report.to_json() + "\n")
    write_text(PAGE, with_tables(PAGE.read_text("utf-8")))


if __name__ == "__main__":
    main()
