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
        channels = kernel.shape[2]
        flat = tf.reshape(tf.convert_to_tensor(kernel), [self.kernel_sizes[-1] ** 2, channels])
        return tf.reshape(self._smaller(flat)[size], [size, size, channels, 1])

    def flat_kernels(self, kernel: tf.Tensor) -> dict[int, tf.Tensor]:
        """The kernel of every size, [size * size, C], from the largest one [K, K, C, 1]."""
        return self._smaller(tf.reshape(kernel, [self.kernel_sizes[-1] ** 2, -1]))

    def _smaller(self, flat: tf.Tensor) -> dict[int, tf.Tensor]:
        """The kernel of every size, [size * size, C], from the largest one."""
        kernels = {self.kernel_sizes[-1]: flat}
        for size, larger in zip(self.kernel_sizes[-2::-1], self.kernel_sizes[:0:-1], strict=True):
            centre = tf.matmul(tf.constant(centre_of(larger, size), flat.dtype), kernels[larger])
            kernels[size] = tf.matmul(tf.cast(self.matrices[size], flat.dtype), centre)
        return kernels


def centre_of(larger: int, size: int) -> np.ndarray:
    """Matrix [size^2, larger^2] that takes the centre out of a flat kernel."""
    margin = (larger - size) // 2
    grid = np.arange(larger**2).reshape(larger, larger)
    return np.eye(larger**2)[grid[margin : margin + size, margin : margin + size].ravel()]
