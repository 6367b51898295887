"""Quantizers against values and gradients recorded from the official release."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs.batch_quantizer import BatchQuantizer
from quantize_configs.lsq_quantizer import LSQQuantizer

VECTORS = np.load(pathlib.Path(__file__).parent.parent / "data" / "official_quantizer_vectors.npz")
BATCH_CASES = sorted({name.split("/")[1] for name in VECTORS if name.startswith("bq/")})
LSQ_CASES = sorted({name.split("/")[1] for name in VECTORS if name.startswith("lsq/")})


def vector(*path):
    return VECTORS["/".join(path)]


def assert_close(actual, expected, summed=0.0):
    """Equality within 1e-5; `summed` holds the terms whose float32 sum `expected` is.

    The recorded sums carry their own rounding: in b3_u_relu the terms of dtheta cancel to a
    thousandth, and a float64 sum agrees with ours, not with the recorded one.
    """
    rounding = np.finfo(np.float32).eps * np.sum(np.abs(summed))
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * scale + rounding)


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("case", BATCH_CASES)
def test_batch_quantizer(case, elastic):
    bits = int(case[1])
    quantizer = BatchQuantizer(
        (2, 3, 4, 8) if elastic else bits, zero_point="fractional", signed="_s_" in case
    )
    x = tf.constant(vector("bq", case, "x"))
    index = (2, 3, 4, 8).index(bits) if elastic else 0
    size = 4 if elastic else 1
    weights = {
        role: tf.Variable(np.eye(size, dtype=np.float32)[index] * vector("bq", case, role))
        for role in ("theta", "beta")
    }

    @tf.function
    def run(x, bits):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = quantizer(x, True, weights, bits=bits)
        return y, tape.gradient(y, [x, weights["theta"], weights["beta"]], vector("bq", case, "dy"))

    y, (dx, dtheta, dbeta) = run(x, tf.constant(bits))
    assert_close(y, vector("bq", case, "y"))
    assert_close(dx, vector("bq", case, "dx"))
    summed = vector("bq", case, "dy") * vector("bq", case, "y")
    assert_close(tf.convert_to_tensor(dtheta)[index], vector("bq", case, "dtheta")[0], summed)
    assert_close(tf.convert_to_tensor(dbeta)[index], vector("bq", case, "dbeta")[0])


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("case", LSQ_CASES)
def test_lsq_quantizer(case, elastic):
    bits = int(case[1])
    quantizer = LSQQuantizer((2, 3, 4, 8) if elastic else bits, narrow_bits=())
    index = (2, 3, 4, 8).index(bits) if elastic else 0
    w = tf.constant(vector("lsq", case, "w"))
    np.testing.assert_allclose(
        quantizer.initial_steps(w.numpy())[index], vector("lsq", case, "init_scale")[0], rtol=1e-5
    )
    steps = np.ones(4 if elastic else 1, np.float32)
    steps[index] = vector("lsq", case, "scale")[0]
    weights = {"step": tf.Variable(steps)}
    with tf.GradientTape() as tape:
        tape.watch(w)
        y = quantizer(w, True, weights, bits=bits)
    dw, dstep = tape.gradient(y, [w, weights["step"]], vector("lsq", case, "dy"))
    assert_close(y, vector("lsq", case, "y"))
    assert_close(dw, vector("lsq", case, "dw"))
    assert_close(tf.convert_to_tensor(dstep)[index], vector("lsq", case, "dscale")[0])
