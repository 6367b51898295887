"""A network with ImageNet weights, quantized without training, against TFLite's full integers.

    pip install 'qfa_tf[benchmarks]'
    python benchmarks/pretrained.py [--images=408] [--calibration=12] [--only NAME ...] [--latency]

EfficientNet-Lite0 at 224 pixels. Calibrated on 204 crops of photographs, 12 of each (column
`calibration`), compared with the float model on 408 others (column `images`): bytes of the file,
share of equal answers in %, signal-to-noise ratio of the logits in dB. Writes a row per way to
quantize to benchmarks/results/pretrained.csv, as soon as it is measured. Ours are measured in
LiteRT (XNNPACK), as TFLite's is; `mismatches` counts integers that differ from the reference on one
image, `keras_answers` is the share of at least 34 other crops on which the deployed Keras model
gives the answer of LiteRT, `codes_differing` that of the codes of logits that are not the same in
both, in %. `latency_ms` is the median in LiteRT, one thread; `--latency` measures it alone, in
turns, of files that are calibrated on one crop of each photograph and without learned rounding, on
which it does not depend.
"""

import argparse
import csv
import os
import pathlib
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from efficientnet_lite import SIZE, pretrained
from photographs import crops

import tflite_tools
from quantize_configs import (
    BitPolicy,
    calibrate,
    prepare_for_deployment,
    quantize,
    sensitivity,
)
from quantize_configs.bit_assignment import layer_bytes
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES

OUTPUT = pathlib.Path(__file__).parent / "results" / "pretrained.csv"
CALIBRATION_CROPS, OTHER_CROPS = 12, 24
"""Of each of 17 photographs."""
BATCH_SIZE = 17
SENSITIVITY_IMAGES = 34
KERAS_IMAGES = 34
COLUMNS = (
    "name",
    "bytes",
    "calibration",
    "images",
    "equal_answers",
    "sqnr_db",
    "latency_ms",
    "mismatches",
    "keras_answers",
    "codes_differing",
    "seconds",
)

Deployed = tuple[bytes, keras.Model | None]
"""The file, and the Keras model that it was converted from; None for TFLite's."""


def main() -> None:
    """Measures all ways, or those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--images", type=int, default=408, help="other crops to compare on")
    parser.add_argument(
        "--calibration", type=int, default=CALIBRATION_CROPS, help="crops of each photograph"
    )
    parser.add_argument("--latency", action="store_true", help="measure latencies alone")
    options = parser.parse_args()
    model = pretrained()
    if options.latency:
        measure_latencies(model, [name for name in options.only if name in PLAIN])
        return
    calibration = as_inputs(crops(SIZE, options.calibration, seed=0))
    others = as_inputs(crops(SIZE, OTHER_CROPS, seed=1))
    others = others[:: max(len(others) // options.images, 1)][: options.images]
    expected = model.predict(others, batch_size=BATCH_SIZE, verbose=0)
    for name in options.only:
        start = time.perf_counter()
        flatbuffer, deployed = WAYS[name](model, calibration)
        seconds = time.perf_counter() - start
        outputs = run(flatbuffer, others)
        row = {
            "name": name,
            "bytes": len(flatbuffer),
            "calibration": len(calibration),
            "images": len(others),
            **closeness(outputs, expected),
            "latency_ms": latencies({name: flatbuffer})[name],
            "seconds": f"{seconds:.0f}",
        }
        write_row(row)
        integers = against_keras(flatbuffer, deployed, calibration[:1], others, outputs)
        if integers:
            write_row(row | integers)


def closeness(found: np.ndarray, expected: np.ndarray) -> dict[str, str]:
    """Columns of logits beside those of the float network."""
    return {
        "equal_answers": f"{100 * np.mean(found.argmax(1) == expected.argmax(1)):.1f}",
        "sqnr_db": f"{noise_ratio(found, expected):.2f}",
    }


def noise_ratio(found: np.ndarray, expected: np.ndarray) -> float:
    """Signal-to-noise ratio in dB."""
    return float(10 * np.log10(np.sum(expected**2) / np.sum((found - expected) ** 2)))


def measure_latencies(model: keras.Model, names: list[str]) -> None:
    """Replaces the latency of rows that are there."""
    images = as_inputs(crops(SIZE, 1, seed=0))
    found = latencies({name: PLAIN[name](model, images)[0] for name in names})
    for name, row in written_rows().items():
        if name in found:
            write_row(row | {"latency_ms": found[name]})


def latencies(files: dict[str, bytes]) -> dict[str, str]:
    """Milliseconds, medians of runs in turns."""
    options = tflite_tools.BenchmarkOptions(num_threads=1)
    with tflite_tools.open_device("host") as device:
        reports = tflite_tools.benchmark_all(files, device, options, measure_memory=False)
    return {name: f"{report.median_ms:.2f}" for name, report in reports.items()}


def as_inputs(pixels: np.ndarray) -> np.ndarray:
    """What the network takes, float32."""
    return (pixels.astype(np.float32) - 127.0) / 128.0


def against_keras(flatbuffer, deployed, image, others, outputs) -> dict[str, str]:
    """LiteRT's integers against the reference on one image, its logits against Keras on others."""
    if deployed is None:
        return {}
    report = tflite_tools.verify(flatbuffer, deployed, image)
    chosen = slice(None, None, max(len(others) // KERAS_IMAGES, 1))
    found = deployed.predict(others[chosen], batch_size=BATCH_SIZE, verbose=0)
    same = np.mean(found.argmax(1) == outputs[chosen].argmax(1))
    (step,) = {layer.step for layer in report.layers.layers[-1:]}
    differing = np.mean(np.rint(found / step) != np.rint(outputs[chosen] / step))
    return {
        "mismatches": f"{report.mismatches} of {report.elements}",
        "keras_answers": f"{100 * same:.2f}",
        "codes_differing": f"{100 * differing:.3f}",
    }


def run(flatbuffer: bytes, images: np.ndarray) -> np.ndarray:
    """Outputs of LiteRT (XNNPACK, one thread), image by image, by their real values."""
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for image in images:
        interpreter.set_tensor(source["index"], _codes(image[None], source))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target["index"])[0])
    step, zero_point = target["quantization"]
    found = np.stack(outputs)
    return found if target["dtype"] is np.float32 else (found - np.float32(zero_point)) * step


def _codes(values: np.ndarray, tensor: dict) -> np.ndarray:
    """Values as an input of LiteRT takes them."""
    if tensor["dtype"] is np.float32:
        return values
    (step, zero_point), limits = tensor["quantization"], np.iinfo(tensor["dtype"])
    codes = np.rint(values / step) + zero_point
    return np.clip(codes, limits.min, limits.max).astype(tensor["dtype"])


def of_tflite(model: keras.Model, calibration: np.ndarray) -> Deployed:
    """TFLite's full integers, weights per channel."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert(), None


def of_litert_quantizer(model: keras.Model, calibration: np.ndarray) -> Deployed:
    """Full integers of litert-quantizer, from TFLite's float file."""
    from litert_quantizer import quantizer, recipe

    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (signature,) = tflite_tools.inspect(content, delegation=False).signatures
    loaded = Interpreter(model_content=content)
    (name,) = loaded.get_signature_list()[signature]["inputs"]
    tool = quantizer.Quantizer(content)
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    data = {signature: [{name: image[None]} for image in calibration]}
    made = tool.quantize(tool.calibrate(data), enable_progress_bar=False)
    return bytes(made.quantized_model), None


def ours(policy_of: Callable, **options) -> Callable[[keras.Model, np.ndarray], Deployed]:
    """`quantize`, `calibrate` with options, `convert`."""

    def way(model, calibration):
        quantized = quantize(model, policy_of(model, calibration))
        calibrate(quantized, calibration, batch_size=BATCH_SIZE, **options)
        prepare_for_deployment(quantized)
        return tflite_tools.convert(quantized), quantized

    return way


def eight_bits(model, calibration) -> BitPolicy:
    """8-bit weights and activations everywhere."""
    return BitPolicy((8, 8))


def four_bits(model, calibration) -> BitPolicy:
    """4-bit weights, but for depthwise layers, the first and the last one."""
    layers = [layer for layer in model.layers if type(layer) in WEIGHT_ATTRIBUTES]
    kept = [layers[0].name, layers[-1].name]
    kept += [one.name for one in layers if isinstance(one, keras.layers.DepthwiseConv2D)]
    return BitPolicy((4, 8), dict.fromkeys(kept, (8, 8)))


def half_the_bytes(model, calibration) -> BitPolicy:
    """The bits that `from_budget` finds for half the bytes of the weights, without labels."""
    images = calibration[:: max(len(calibration) // SENSITIVITY_IMAGES, 1)]
    measured = sensitivity(model, images, bits=(2, 4), verbose=True)  # 3 take the bytes of 4
    layers = [layer for layer in model.layers if type(layer) in WEIGHT_ATTRIBUTES]
    budget = sum(layer_bytes(layer, 8) for layer in layers) / 2
    return BitPolicy.from_budget(model, measured, weight_bytes=budget)


WAYS = {
    "TFLite full integer": of_tflite,
    "litert-quantizer 8/8": of_litert_quantizer,
    "8/8, biases as they are": ours(eight_bits, correct_bias=False),
    "8/8": ours(eight_bits),
    "4/8": ours(four_bits),
    "4/8, rounding learned": ours(four_bits, learn_rounding=True),
    "half the bytes, rounding learned": ours(half_the_bytes, learn_rounding=True),
}
"""Weight bits / activation bits."""
PLAIN = {
    "TFLite full integer": of_tflite,
    "litert-quantizer 8/8": of_litert_quantizer,
    "8/8": ours(eight_bits),
    "4/8, rounding learned": ours(four_bits),
    "half the bytes, rounding learned": ours(half_the_bytes),
}
"""Ways whose files have the operators and bits of the rows of these names."""


def written_rows() -> dict[str, dict[str, object]]:
    """Rows of earlier runs by name."""
    if not OUTPUT.exists():
        return {}
    with OUTPUT.open(newline="") as file:
        return {one["name"]: {**one} for one in csv.DictReader(file)}


def write_row(row: dict[str, object]) -> None:
    """Prints a row, and replaces that of the same name in the results."""
    print(row, flush=True)
    rows = written_rows()
    rows[str(row["name"])] = row
    with OUTPUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in WAYS if name in rows)


if __name__ == "__main__":
    main()
