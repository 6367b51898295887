"""The families of tf_keras.applications through `quantize`, `calibrate`, `convert` and `verify`.

    python benchmarks/keras_families.py

Random weights, normalization statistics of one batch of noise, 8 bits of weights and activations,
10 classes, and small images (column `pixels`), so that all families take minutes: what counts are
the operators, not the accuracy. Writes a row per family to benchmarks/results/keras_families.csv:
operators of the file, those in float between grids (layers of `check_support`), partitions of
XNNPACK, values compared on all kernel sets and those that differ.
"""

import argparse
import csv
import io
import os
import pathlib
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tflite_tools
from quantize_configs import (
    BitPolicy,
    calibrate,
    check_support,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.files import write_text
from quantize_configs.keras_backend import keras

OUTPUT = pathlib.Path(__file__).parent / "results" / "keras_families.csv"
CLASSES = 10
BYTES, SIGNED, CENTRED = (0.0, 255.0), (-1.0, 1.0), (-128.0, 128.0)
applications = keras.applications

FAMILIES = {
    "MobileNet": (applications.MobileNet, 64, SIGNED),
    "MobileNetV2": (applications.MobileNetV2, 64, SIGNED),
    "MobileNetV3Small": (applications.MobileNetV3Small, 64, BYTES),
    "MobileNetV3Large": (applications.MobileNetV3Large, 64, BYTES),
    "EfficientNetB0": (applications.EfficientNetB0, 64, BYTES),
    "EfficientNetV2B0": (applications.EfficientNetV2B0, 64, BYTES),
    "ResNet50": (applications.ResNet50, 32, CENTRED),
    "ResNet50V2": (applications.ResNet50V2, 64, SIGNED),
    "DenseNet121": (applications.DenseNet121, 32, SIGNED),
    "Xception": (applications.Xception, 96, SIGNED),
    "InceptionV3": (applications.InceptionV3, 96, SIGNED),
    "InceptionResNetV2": (applications.InceptionResNetV2, 75, SIGNED),
    "NASNetMobile": (applications.NASNetMobile, 32, SIGNED),
    "VGG16": (applications.VGG16, 32, CENTRED),
    "VGG19": (applications.VGG19, 32, CENTRED),
    "RegNetX002": (applications.RegNetX002, 64, BYTES),
    "RegNetY002": (applications.RegNetY002, 64, BYTES),
    "ConvNeXtTiny": (applications.ConvNeXtTiny, 64, BYTES),
    "ResNetRS50": (applications.ResNetRS50, 64, BYTES),
}
"""Constructor, pixels, and the range of the images it takes."""


def measured(name: str, bits: tuple[int, int]) -> dict[str, object]:
    """The row of one family."""
    build, pixels, (low, high) = FAMILIES[name]
    keras.utils.set_random_seed(0)
    model = build(input_shape=(pixels, pixels, 3), weights=None, classes=CLASSES)
    rng = np.random.default_rng(0)
    images = rng.uniform(low, high, (8, pixels, pixels, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    support = check_support(model)
    start = time.perf_counter()
    quantized = quantize(model, BitPolicy(bits))
    calibrate(quantized, [images])
    prepare_for_deployment(quantized)
    content = tflite_tools.convert(quantized)
    report = tflite_tools.verify(content, quantized, images, integer_images=1)
    comparison = report.integers.kernel_sets[0]
    inspection = tflite_tools.inspect(content, delegation=False)
    return {
        "family": name,
        "weight_bits": bits[0],
        "activation_bits": bits[1],
        "pixels": pixels,
        "parameters": model.count_params(),
        "file_bytes": len(content),
        "operators": len(inspection.layers),
        "float_layers": len(support.in_float),
        "partitions": comparison.partitions,
        "elements": report.elements,
        "mismatches": report.mismatches,
        "top1_agreement": round(report.top1_agreement, 4),
        "seconds": round(time.perf_counter() - start),
    }


def read(path: pathlib.Path) -> list[dict[str, str]]:
    """Rows of an earlier run; none when there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Measures the families one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--bits", nargs=2, type=int, default=(8, 8), help="weights, activations")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="CSV file")
    args = parser.parse_args()
    rows = {
        (row["family"], row["weight_bits"], row["activation_bits"]): row
        for row in read(args.output)
    }
    for name in args.families:
        row = {key: str(value) for key, value in measured(name, tuple(args.bits)).items()}
        rows[name, row["weight_bits"], row["activation_bits"]] = row
        ordered = sorted(rows.values(), key=lambda row: list(FAMILIES).index(row["family"]))
        text = io.StringIO()
        writer = csv.DictWriter(text, row.keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(ordered)
        write_text(args.output, text.getvalue())
        print(row, flush=True)


if __name__ == "__main__":
    main()
