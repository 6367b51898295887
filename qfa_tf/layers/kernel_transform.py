"""Smaller depthwise kernels out of the largest one (Once-for-All, section 3.3)."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras


class KernelTransform:
    """Learned matrices that turn the centre of a kernel into the next smaller kernel.

    For kernel sizes 3, 5, 7: `5x5 = T75 centre(7x7)` and `3x3 = T53 centre(5x5)`, the matrices
    shared by all channels and starting as the identity.

    Args:
      layer: Owner of the matrices.
      kernel_sizes: Ascending odd sizes; the last one is stored.
    """

    def __init__(self, layer: keras.layers.Layer, kernel_sizes: Sequence[int]):
        self.kernel_sizes = tuple(kernel_sizes)
        self.matrices = {}
        for size, larger in zip(self.kernel_sizes[-2::-1], self.kernel_sizes[:0:-1], strict=True):
            self.matrices[size] = layer.add_weight(
                name=f"kernel_{larger}to{size}",
                shape=(size * size, size * size),
                initializer=keras.initializers.Identity(),
            )

    def __call__(self, kernel: tf.Tensor, size: int) -> tf.Tensor:
        """The kernel of `size`, [size, size, C, 1], from the largest [K, K, C, 1]."""
        for smaller in self.kernel_sizes[-2::-1]:
            if smaller < size:
                break
            kernel = crop_centre(kernel, smaller)
            shape = tf.shape(kernel)
            flat = tf.reshape(kernel, [smaller * smaller, -1])
            matrix = tf.cast(self.matrices[smaller], kernel.dtype)
            kernel = tf.reshape(tf.matmul(matrix, flat), shape)
        return kernel


def crop_centre(kernel: tf.Tensor | np.ndarray, size: int):
    """Centre [size, size] of the two leading axes."""
    margin = (kernel.shape[0] - size) // 2
    return kernel[margin : margin + size, margin : margin + size]


def pad_to(kernel: tf.Tensor, size: int) -> tf.Tensor:
    """Puts zeros around the two leading axes up to `size`: the same convolution under SAME."""
    margin = (size - kernel.shape[0]) // 2
    return tf.pad(kernel, [[margin, margin], [margin, margin], [0, 0], [0, 0]])
