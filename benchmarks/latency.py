"""The same float net through TFLiteConverter and through this package: bytes, latency, accuracy.

    python benchmarks/latency.py --net mobile --resolution 96

Trains a small net for a moment on synthetic images, converts it by each route and measures on the
host with one thread: TFLiteConverter in float32, with dynamic range and with full-integer
post-training quantization; this package with 8 bits and with 4-bit pointwise layers, packed and in
bytes, after the same short training. Latencies of the routes are measured in turns. Appends a row
per route to benchmarks/results/latency.csv.
"""

import argparse
import os

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file
import tensorflow as tf

import tflite_tools
from quantize_configs import BitPolicy, HardSigmoid, HardSwish, calibrate, quantize
from quantize_configs.deployment import prepare_for_deployment
from quantize_configs.keras_backend import keras
from tflite_tools import runtime

layers = keras.layers
CLASSES = 6
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


def task(resolution: int, count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Images in noise, with a bright square in one of six places, which is the label."""
    labels = rng.integers(0, CLASSES, count)
    images = rng.uniform(0, 0.6, (count, resolution, resolution, 3)).astype(np.float32)
    side = resolution // 3
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 3)
        image[row * side : (row + 1) * side, column * side : (column + 1) * side] += 0.25
    return np.clip(images, 0, 1), labels


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
            converter.representative_dataset = lambda: ([image[None]] for image in images[:64])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made[f"TFLiteConverter {route}"] = converter.convert()
    return made


def by_this_package(model: keras.Model, data, steps: int) -> dict[str, bytes]:
    """8 bits; 4 bits in the pointwise layers, packed and in bytes."""
    pointwise = [layer.name for layer in model.layers if layer.name.endswith(("expand", "project"))]
    pointwise = [name for name in pointwise if ".se." not in name]
    policies = {"8": BitPolicy(), "4/8": BitPolicy((8, 8), dict.fromkeys(pointwise, (4, 8)))}
    made = {}
    for bits, policy in policies.items():
        quantized = fitted(quantize(model, policy), data, steps)
        calibrate(quantized, np.split(data[0][:128], 8))
        before = quantized.get_weights()
        for container in ("auto", "int8") if bits == "4/8" else ("auto",):
            quantized.set_weights(before)
            prepare_for_deployment(quantized, container)
            route = f"qfa_tf {bits} bits{'' if container == 'auto' else ', a byte per weight'}"
            made[route] = tflite_tools.convert(quantized, weight_container=container)
    return made


def accuracy(flatbuffer: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose largest output is the label."""
    hits = 0
    for start in range(0, len(images), 32):
        (outputs,) = runtime.run(flatbuffer, [images[start : start + 32]]).outputs.values()
        hits += int(np.sum(outputs.argmax(-1) == labels[start : start + 32]))
    return hits / len(images)


def main() -> None:
    """Measures one net."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="mobile_v3", choices=("mobile", "mobile_v3"))
    parser.add_argument("--resolution", type=int, default=96, help="in pixels")
    parser.add_argument("--steps", type=int, default=60, help="of training, float and quantized")
    parser.add_argument("--rounds", type=int, default=3, help="turns of all routes")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    data, (images, labels) = task(args.resolution, 512, rng), task(args.resolution, 256, rng)
    model = fitted(net(args.net, args.resolution), data, args.steps)
    made = by_tflite_converter(model, data[0]) | by_this_package(model, data, args.steps // 2)
    measured = {route: [] for route in made}
    for _ in range(args.rounds):
        for route, flatbuffer in made.items():
            measured[route].append(tflite_tools.benchmark(flatbuffer, num_threads=1))
    print(f"{'route':<34} {'bytes':>9} {'ms':>7} {'partitions':>10} {'accuracy':>8}")
    for route, flatbuffer in made.items():
        best = min(measured[route], key=lambda report: report.median_ms)
        row = {
            "net": args.net,
            "resolution": args.resolution,
            "route": route,
            "file_bytes": len(flatbuffer),
            "median_ms": round(best.median_ms, 3),
            "partitions": best.partitions,
            "fully_delegated": best.fully_delegated,
            "accuracy": round(accuracy(flatbuffer, images, labels), 4),
        }
        print(
            f"{route:<34} {row['file_bytes']:>9,} {row['median_ms']:>7.2f} "
            f"{row['partitions']:>10} {row['accuracy']:>8.2%}"
        )
        results_file.append("latency", row)


if __name__ == "__main__":
    main()
