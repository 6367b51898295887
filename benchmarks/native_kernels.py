"""Processor time of each native kernel, and of TensorFlow's operators for the same.

    python benchmarks/native_kernels.py

One thread, both in turns, medians; processor time, so that others may use the machine. Shapes are
those of the expanded maps of `mobilenet_v3_w1.2` at 128 px, batch 16. Replaces
benchmarks/results/native_kernels.csv.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import tensorflow as tf

from qfa_tf.layers.arithmetic import FastArithmetic, NativeArithmetic
from quantize_configs import BatchQuantizer
from quantize_configs.fake_quantization import fake_quantize
from quantize_configs.native import operators
from tflite_tools.benchmarking.measurement import host_processor

SHAPES = [(16, 64, 64, 144), (16, 32, 32, 192), (16, 16, 16, 288)]
ROUNDS = 5
Pass = Callable[[], object]
Timed = Callable[[], float]


def ranges(x: tf.Tensor, upstream: tf.Tensor) -> tuple[Pass, None]:
    """Extremes of the channels."""
    from quantize_configs.range_estimation import estimate_range

    return lambda: estimate_range(x, "channel_mean"), None


def _differentiated(function, sources, upstream) -> tuple[Pass, Pass]:
    def backward():
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y = function(*sources)
        start = time.process_time()
        tape.gradient(y, sources, output_gradients=upstream)
        return time.process_time() - start

    return lambda: function(*sources), backward


def quantizer(x: tf.Tensor, upstream: tf.Tensor) -> tuple[Pass, Pass]:
    """Fake quantization at 4 bits."""
    limits = tf.constant(0.0), tf.constant(15.0)

    def function(x, scale, zero_point):
        return fake_quantize(x, scale, zero_point, *limits, integer_zero_point=True)

    return _differentiated(function, (x, tf.constant(0.3), tf.constant(7.0)), upstream)


def normalization(activation: str):
    """Batch normalization and an activation."""

    def passes(x, upstream):
        native = operators.native_operators()
        arithmetic = NativeArithmetic() if native else FastArithmetic()
        gamma = tf.linspace(0.5, 2.0, x.shape[-1])

        def function(x, gamma, beta):
            return arithmetic.normalize_and_activate(x, gamma, beta, 1e-2, True, activation)

        return _differentiated(function, (x, gamma, tf.zeros_like(gamma)), upstream)

    return passes


def quantized_normalization(activation: str):
    """Batch normalization, an activation, and the quantizer of what reads the result."""

    def passes(x, upstream):
        native = operators.native_operators()
        arithmetic = NativeArithmetic() if native else FastArithmetic()
        quantizer = BatchQuantizer(4)
        gamma, zero = tf.linspace(0.5, 2.0, x.shape[-1]), tf.zeros([])
        limits = tf.constant(0.0), tf.constant(15.0)

        def function(x, gamma, beta, factor):
            y = arithmetic.defer_normalization(x, gamma, beta, 1e-2, True, activation)
            choice = quantizer.Choice(factor, zero, *limits, None)
            return quantizer.quantize_choice(y, choice, quantizer.batch_range(y))

        sources = x, gamma, tf.zeros_like(gamma), tf.constant(1.3)
        return _differentiated(function, sources, upstream)

    return passes


def depthwise(size: int, stride: int = 1):
    """Depthwise convolution; its gradient is that of the input and of the kernel."""

    def passes(x, upstream):
        native = operators.native_operators()
        arithmetic = NativeArithmetic() if native else FastArithmetic()
        kernel = tf.fill([size, size, x.shape[-1], 1], 0.1)

        def function(x, kernel):
            return arithmetic.convolve_depthwise(x, kernel, stride, "SAME", (size,))

        return _differentiated(function, (x, kernel), upstream[:, ::stride, ::stride])

    return passes


WORK = {
    "range": ranges,
    "quantizer": quantizer,
    "normalization and relu": normalization("relu"),
    "normalization and hard_swish": normalization("hard_swish"),
    "normalization, relu and quantizer": quantized_normalization("relu"),
    "normalization, hard_swish and quantizer": quantized_normalization("hard_swish"),
    "depthwise 3 x 3": depthwise(3),
    "depthwise 3 x 3, stride 2": depthwise(3, 2),
    "depthwise 5 x 5": depthwise(5),
    "depthwise 7 x 7": depthwise(7),
}


def milliseconds(passes: dict[str, Timed]) -> list[float]:
    """Medians of what the passes return, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(ROUNDS):
        for name, run in passes.items():
            times[name].append(run())
    return [round(1e3 * statistics.median(found), 2) for found in times.values()]


def main() -> None:
    """Measures all kernels."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    rows = []
    for shape in SHAPES:
        x, upstream = (tf.constant(rng.normal(1.0, 2.0, shape), tf.float32) for _ in range(2))
        for name, make in WORK.items():
            found: dict[str, dict[str, Timed]] = {"forward": {}, "gradient": {}}
            for kind in ("tensorflow", "native"):
                operators.ignore_native_kernels()
                if kind == "native":
                    operators.use_native_kernels()
                forward, gradient = make(x, upstream)
                for key, run in (("forward", forward), ("gradient", gradient)):
                    if run is not None:
                        found[key][kind] = _with_kernels(kind, run)
            for key, passes in found.items():
                if passes:
                    before, after = milliseconds(passes)
                    row = {
                        "kernel": name,
                        "pass": key,
                        "shape": " x ".join(map(str, shape)),
                        "tensorflow_ms": before,
                        "native_ms": after,
                        "cpu": host_processor(),
                    }
                    print(*row.values(), sep="  ")
                    rows.append(row)
    results_file.write("native_kernels", rows)


def _with_kernels(kind: str, run: Pass) -> Timed:
    """A pass that runs with the kernels it was made for, and returns its processor time."""

    def switched():
        operators.ignore_native_kernels()
        if kind == "native":
            operators.use_native_kernels()
        start = time.process_time()
        found = run()
        used = time.process_time() - start
        return found if isinstance(found, float) else used

    return switched


if __name__ == "__main__":
    main()
