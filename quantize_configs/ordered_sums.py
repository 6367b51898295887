"""Sums in the order in which PyTorch adds on a CPU, so that float32 results agree to the last bit.

Fake quantization is chaotic: where a value lies within a few millionths of a step of a rounding
boundary, the last bit of a mean decides on which side it falls. Comparing a network with one of
PyTorch value by value therefore needs the same order of additions.

Source: `vectorized_inner_sum`, `row_sum` and `multi_row_sum` in
aten/src/ATen/native/cpu/SumKernel.cpp: 8 lanes side by side, 4 rows of lanes at a time, rows in
chunks of 16, these in chunks of 16 again, everything else from left to right.
"""

import tensorflow as tf

LANES, ROWS, CHUNK, LEVELS = 8, 4, 16, 4


def _shared(*shape: None):
    """A function that is traced once and called, not copied, wherever a graph uses it."""
    return tf.function(
        input_signature=[tf.TensorSpec(shape, tf.float32)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


@_shared(None, None)
def ordered_means(x: tf.Tensor) -> tf.Tensor:
    """Means of the columns of [n, k], each a contiguous vector in PyTorch: float32 [k]."""
    return _mean(x, 0)


@_shared(None, None, None, None)
def ordered_channel_means(x: tf.Tensor) -> tf.Tensor:
    """Means of the channels of [N, H, W, C], as `x.mean(dim=[0, 2, 3])` of an NCHW tensor."""
    shape = tf.shape(x)
    rows = _sum(tf.reshape(x, [shape[0], shape[1] * shape[2], shape[3]]), 1)
    return _sequential(rows, 0) / tf.cast(shape[0] * shape[1] * shape[2], tf.float32)


@_shared(None, None, None, None)
def ordered_spatial_means(x: tf.Tensor) -> tf.Tensor:
    """[N, C] from [N, H, W, C], as `x.mean(dim=3).mean(dim=2)` of an NCHW tensor."""
    return _mean(_mean(x, 2), 1)


def _mean(x, axis):
    return _sum(x, axis) / tf.cast(tf.shape(x)[axis], tf.float32)


def _sum(x, axis):
    """Sum over an axis, not the last one, that is the contiguous one in PyTorch."""
    count = tf.shape(x)[axis]
    lanes = tf.where(count >= LANES, LANES, 1)
    rows = count // lanes
    groups = rows // ROWS
    whole, rest = _split(x, axis, rows * lanes)
    grouped, extra = _split(_fold(whole, axis, [rows, lanes]), axis, groups * ROWS)
    of_rows = _in_chunks(_fold(grouped, axis, [groups, ROWS]), axis)
    first, others = _split(of_rows, axis, 1)
    first = _sequential(tf.concat([first, extra], axis), axis)
    of_lanes = _sequential(tf.concat([tf.expand_dims(first, axis), others], axis), axis)
    return _sequential(tf.concat([rest, of_lanes], axis), axis)


def _in_chunks(x, axis):
    """Sum of chunks, of chunks of chunks and so on, and of what was left at each level."""
    total = None
    for _ in range(LEVELS - 1):
        count = tf.shape(x)[axis] // CHUNK
        x, left = _split(x, axis, count * CHUNK)
        left = _sequential(left, axis)
        total = left if total is None else total + left
        x = _sequential(_fold(x, axis, [count, CHUNK]), axis + 1)
    return total + _sequential(x, axis)


def _sequential(x, axis):
    """Sum from left to right; `tf.reduce_sum` adds pairs of halves."""
    start = tf.zeros_like(tf.reduce_sum(x, axis, keepdims=True))
    return tf.gather(tf.cumsum(tf.concat([start, x], axis), axis), tf.shape(x)[axis], axis=axis)


def _split(x, axis, size):
    return tf.split(x, tf.stack([size, tf.shape(x)[axis] - size]), axis)


def _fold(x, axis, sizes):
    shape = tf.shape(x)
    return tf.reshape(x, tf.concat([shape[:axis], sizes, shape[axis + 1 :]], 0))
