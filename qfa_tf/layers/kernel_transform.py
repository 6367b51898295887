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
        return tf.reshape(self._flat_kernels(flat)[size], [size, size, channels, 1])

    def select(self, kernel: tf.Tensor, size: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """The first channels of the kernel of one size, chosen at run time.

        Args:
          kernel: The largest kernel [K, K, C, 1].
          size: int32 scalar, one of the kernel sizes.
          width: int32 [1], number of channels.

        Returns:
          [size, size, width, 1].
        """
        largest = self.kernel_sizes[-1]
        flat = tf.reshape(kernel, [largest**2, kernel.shape[2]])
        flat = tf.slice(flat, [0, 0], tf.concat([[largest**2], width], 0))
        kernels = self._flat_kernels(flat)
        # All sizes are computed, which is cheaper than branches, and stand below each other.
        starts = [
            sum(other**2 for other in self.kernel_sizes if other < value)
            for value in range(largest + 1)
        ]
        rows = tf.concat([kernels[smaller] for smaller in self.kernel_sizes], 0)
        begin = tf.stack([tf.gather(starts, size), 0])
        rows = tf.slice(rows, begin, tf.concat([[size * size], width], 0))
        return tf.reshape(rows, tf.concat([[size, size], width, [1]], 0))

    def _flat_kernels(self, flat: tf.Tensor) -> dict[int, tf.Tensor]:
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
