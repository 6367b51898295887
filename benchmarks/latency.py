"""The same float net through other converters and through this package: bytes, latency, accuracy.

    python benchmarks/latency.py --net mobile_v3 --resolution 96

Trains a small net for a moment on scikit-learn's digits, enlarged, converts it by each route and
measures on the host with one thread: TFLiteConverter in float32, with dynamic range and with
full-integer post-training quantization; litert-quantizer in 8 bits and with 4-bit pointwise layers;
this package with 8 bits and with 4-bit pointwise layers, packed and in bytes, after a short
quantized training, and without one with 16-bit activations, with float16 weights and with a float
stem. Latencies of the routes are measured in turns, and the load of the machine is
noted. Rows of the same net and resolution in benchmarks/results/latency.csv are replaced.
"""

import argparse
import collections
import csv
import datetime
import io
import os
import re

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file
import sklearn.datasets
import tensorflow as tf

import tflite_tools
from quantize_configs import BitPolicy, HardSigmoid, HardSwish, calibrate, quantize
from quantize_configs.deployment import prepare_for_deployment
from quantize_configs.files import write_text
from quantize_configs.keras_backend import keras
from tflite_tools.flatbuffer import runtime

layers = keras.layers
CLASSES = 10
TRAINING_IMAGES = 1280
CALIBRATION_IMAGES = 128
POINTWISE = r"b\d+\.(expand|project)"
BLOCKS = ((16, 16, 1), (64, 24, 2), (96, 24, 1), (96, 40, 2), (160, 40, 1), (160, 80, 2))


def net(kind: str, resolution: int) -> keras.Model:
    """Inverted residuals: "mobile" with ReLU6, "mobile_v3" with hard-swish and squeeze-excite."""
    v3 = kind == "mobile_v3"

    def activated(name, x):
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}.norm")(x)
        name = f"{name}.activation"
        return HardSwish(name=name)(x) if v3 else layers.ReLU(6.0, name=name)(x)

    def convolved(name, x, width, size, strides=1):
        layer = layers.Conv2D(width, size, strides, "same", use_bias=False, name=name)
        return layer(x)

    image = keras.Input((resolution, resolution, 3), name="image")
    x = activated("stem", convolved("stem", image, 16, 3, 2))
    for number, (width, output, strides) in enumerate(BLOCKS):
        name, source = f"b{number}", x
        x = activated(f"{name}.expand", convolved(f"{name}.expand", x, width, 1))
        depthwise = layers.DepthwiseConv2D(
            3, strides, "same", use_bias=False, name=f"{name}.depthwise"
        )
        x = activated(f"{name}.depthwise", depthwise(x))
        if v3:
            gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.se.pool")(x)
            gate = layers.Conv2D(width // 4, 1, activation="relu", name=f"{name}.se.reduce")(gate)
            gate = layers.Conv2D(width, 1, name=f"{name}.se.expand")(gate)
            x = layers.Multiply(name=f"{name}.se.scale")(
                [x, HardSigmoid(name=f"{name}.se.gate")(gate)]
            )
        x = convolved(f"{name}.project", x, output, 1)
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}.project.norm")(x)
        if strides == 1 and source.shape[-1] == output:
            x = layers.Add(name=f"{name}.sum")([x, source])
    x = activated("head", convolved("head", x, 240, 1))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(x), name=kind)


def task(resolution: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """(images, labels) to train on and to test on: digits of 8 x 8 pixels, enlarged."""
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images = images[order].reshape(-1, 8, 8, 1).astype(np.float32) / 16.0
    images = tf.image.resize(np.repeat(images, 3, axis=-1), (resolution, resolution)).numpy()
    split = TRAINING_IMAGES
    return (images[:split], labels[order][:split]), (images[split:], labels[order][split:])


def fitted(model: keras.Model, data, steps: int) -> keras.Model:
    """The model after some steps of training."""
    images, labels = data
    model.compile(
        keras.optimizers.legacy.Adam(2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(16)
    model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
    return model


def by_tflite_converter(model: keras.Model, images: np.ndarray) -> dict[str, bytes]:
    """Float32, dynamic range, full-integer."""
    made = {}
    for route in ("float32", "dynamic range", "full integer"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if route != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if route == "full integer":
            converter.representative_dataset = lambda: (
                [image[None]] for image in images[:CALIBRATION_IMAGES]
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made[f"TFLiteConverter {route}"] = converter.convert()
    return made


def by_litert_quantizer(float_model: bytes, images: np.ndarray) -> dict[str, bytes]:
    """8 bits, and 4-bit weights in the pointwise layers; its post-training quantization."""
    from litert_quantizer import qtyping, quantizer, recipe

    (signature,) = tflite_tools.inspect(float_model, delegation=False).signatures
    (name,) = runtime.load(float_model).get_signature_list()[signature]["inputs"]
    data = {signature: [{name: image[None]} for image in images[:CALIBRATION_IMAGES]]}
    made = {}
    for bits in ("8", "4/8"):
        tool = quantizer.Quantizer(float_model)
        tool.load_quantization_recipe(recipe.static_wi8_ai8())
        if bits == "4/8":
            tool.add_static_config(
                regex=f".*{POINTWISE}.*",
                operation_name=qtyping.TFLOperationName.CONV_2D,
                activation_num_bits=8,
                weight_num_bits=4,
            )
        quantized = tool.quantize(tool.calibrate(data), enable_progress_bar=False)
        made[f"litert-quantizer {bits} bits"] = bytes(quantized.quantized_model)
    return made


def by_this_package(model: keras.Model, data, steps: int) -> dict[str, bytes]:
    """8 bits; 4 bits in the pointwise layers, packed and in bytes; 16 bits; float layers."""
    pointwise = [layer.name for layer in model.layers if re.fullmatch(POINTWISE, layer.name)]
    trained = {
        "8 bits": BitPolicy(),
        "4/8 bits": BitPolicy((8, 8), dict.fromkeys(pointwise, (4, 8))),
    }
    gates = [layer.name for layer in model.layers if layer.name.endswith(".se.expand")]
    others = {  # gates are clamped by the saturation of 8 bits
        "8 bits, 16-bit activations": BitPolicy((8, 16), dict.fromkeys(gates, (8, 8))),
        "8 bits, float32 stem": BitPolicy((8, 8), {"stem": (32, 32)}),
        "float16 weights": BitPolicy((16, 32)),
    }
    made = {}
    for bits, policy in (trained | others).items():
        quantized = quantize(model, policy)
        if bits in trained:
            fitted(quantized, data, steps)
        calibrate(quantized, np.split(data[0][:CALIBRATION_IMAGES], 8))
        before = quantized.get_weights()
        for container in ("auto", "int8") if bits == "4/8 bits" else ("auto",):
            quantized.set_weights(before)
            prepare_for_deployment(quantized, container)
            route = f"qfa_tf {bits}{'' if container == 'auto' else ', a byte per weight'}"
            made[route] = tflite_tools.convert(quantized, weight_container=container)
    return made


def accuracy(flatbuffer: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose largest output is the label."""
    (details,) = runtime.load(flatbuffer).get_input_details()
    dtype, (scale, zero_point) = details["dtype"], details["quantization"]
    if dtype is not np.float32:  # litert-quantizer takes codes
        limits = np.iinfo(dtype)
        codes = np.rint(images / np.float32(scale)) + zero_point
        images = np.clip(codes, limits.min, limits.max).astype(dtype)
    hits = 0
    for start in range(0, len(images), 32):
        (outputs,) = runtime.run(flatbuffer, [images[start : start + 32]]).outputs.values()
        hits += int(np.sum(outputs.argmax(-1) == labels[start : start + 32]))
    return hits / len(images)


def outside(flatbuffer: bytes) -> str:
    """Operators that XNNPACK does not take, with their number, as text."""
    layers_of_file = tflite_tools.inspect(flatbuffer).layers
    found = collections.Counter(
        layer.operator for layer in layers_of_file if layer.delegate == "built-in"
    )
    return ", ".join(f"{count} {operator}" for operator, count in found.most_common())


def write(rows: list[dict]) -> None:
    """Puts the rows in the place of those of the same net and resolution."""
    path = results_file.RESULTS / "latency.csv"
    key = (rows[0]["net"], str(rows[0]["resolution"]))
    kept = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            kept = [row for row in csv.DictReader(file) if row.keys() == rows[0].keys()]
    kept = [row for row in kept if (row["net"], row["resolution"]) != key]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept + rows)
    write_text(path, text.getvalue())


def main() -> None:
    """Measures one net."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="mobile_v3", choices=("mobile", "mobile_v3"))
    parser.add_argument("--resolution", type=int, default=96, help="in pixels")
    parser.add_argument("--steps", type=int, default=400, help="of float training")
    parser.add_argument("--quantized_steps", type=int, default=150, help="of quantized training")
    parser.add_argument("--rounds", type=int, default=3, help="turns of all routes")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    data, (images, labels) = task(args.resolution)
    model = fitted(net(args.net, args.resolution), data, args.steps)
    made = by_tflite_converter(model, data[0])
    made |= by_litert_quantizer(made["TFLiteConverter float32"], data[0])
    made |= by_this_package(model, data, args.quantized_steps)
    measured = {route: [] for route in made}
    loads = []
    for _ in range(args.rounds):
        for route, flatbuffer in made.items():
            loads.append(os.getloadavg()[0])
            measured[route].append(tflite_tools.benchmark(flatbuffer, num_threads=1))
    rows = []
    print(
        f"{'route':<36} {'bytes':>9} {'ms':>7} {'partitions':>10} {'accuracy':>8}  outside XNNPACK"
    )
    for route, flatbuffer in made.items():
        best = min(measured[route], key=lambda report: report.median_ms)
        row = {
            "date": datetime.date.today().isoformat(),
            "net": args.net,
            "resolution": args.resolution,
            "route": route,
            "file_bytes": len(flatbuffer),
            "median_ms": round(best.median_ms, 3),
            "partitions": best.partitions,
            "outside_xnnpack": outside(flatbuffer),
            "accuracy": round(accuracy(flatbuffer, images, labels), 4),
            "load": round(float(np.median(loads)), 1),
            "cpu": results_file.host_processor(),
            "cores": os.cpu_count(),
        }
        print(
            f"{route:<36} {row['file_bytes']:>9,} {row['median_ms']:>7.2f} "
            f"{row['partitions']:>10} {row['accuracy']:>8.2%}  {row['outside_xnnpack'] or '-'}"
        )
        rows.append(row)
    write(rows)


if __name__ == "__main__":
    main()
