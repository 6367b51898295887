"""Depthwise convolution whose kernel gradient is fast for wide kernels too."""

from collections.abc import Sequence

import tensorflow as tf

WIDTH = 3
"""Columns of a kernel whose gradient TensorFlow's oneDNN kernels compute fast on a CPU; one more
and they take five to seven times as long."""


def depthwise_convolution(
    x: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str, kernel_sizes: Sequence[int]
) -> tf.Tensor:
    """`tf.nn.depthwise_conv2d`, with the kernel gradient computed a few columns at a time.

    Args:
      x: [N, H, W, C].
      kernel: [k, k, C, 1].
      stride: In both directions.
      padding: "SAME" or "VALID".
      kernel_sizes: What k may be at run time.
    """
    strides = [1, stride, stride, 1]
    if max(kernel_sizes) <= WIDTH:
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding)

    @tf.custom_gradient
    def convolved(x, kernel):
        # Made in this very graph, as in `fake_quantize`.
        x, kernel = tf.identity(x), tf.identity(kernel)

        def gradient(upstream):
            to_x = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(x),
                filter=kernel,
                out_backprop=upstream,
                strides=strides,
                padding=padding,
            )
            branches = [
                lambda size=size: kernel_gradient(x, upstream, size, stride, padding)
                for size in kernel_sizes
            ]
            if len(branches) == 1:
                return to_x, branches[0]()
            is_size = tf.equal(tf.shape(kernel)[0], list(kernel_sizes))
            index = tf.argmax(is_size, output_type=tf.int32)
            to_kernel = tf.switch_case(index, branches)
            return to_x, tf.reshape(to_kernel, tf.shape(kernel))

        return tf.nn.depthwise_conv2d(x, kernel, strides, padding), gradient

    return convolved(x, kernel)


def kernel_gradient(
    x: tf.Tensor, upstream: tf.Tensor, size: int, stride: int, padding: str
) -> tf.Tensor:
    """Gradient [size, size, C, 1] of a depthwise kernel from that of the output.

    A few columns of a kernel see a part of the input, as if they were a kernel of their own.
    """

    def of_columns(x, columns, padding):
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=x,
            filter_sizes=tf.stack([size, columns, tf.shape(x)[3], 1]),
            out_backprop=upstream,
            strides=[1, stride, stride, 1],
            padding=padding,
        )

    if size <= WIDTH:
        return of_columns(x, size, padding)
    extent = (tf.shape(upstream)[1:3] - 1) * stride
    if padding == "SAME":
        missing = tf.maximum(extent + size - tf.shape(x)[1:3], 0)
        sides = tf.stack([missing // 2, missing - missing // 2], 1)
        x = tf.pad(x, tf.concat([[[0, 0]], sides, [[0, 0]]], 0))
    parts = []
    for first in range(0, size, WIDTH):
        columns = min(WIDTH, size - first)
        seen = x[:, :, first : first + columns + extent[1], :]
        parts.append(of_columns(seen, columns, "VALID"))
    return tf.concat(parts, 1)
