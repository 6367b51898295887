"""Blocks of channels that become blocks of pixels, as a layer."""

import tensorflow as tf

from quantize_configs.keras_backend import keras


class DepthToSpace(keras.layers.Layer):
    """(N, H, W, b b C) to (N, b H, b W, C); codes stay what they are. As `tf.nn.depth_to_space`.

    Args:
      block_size: Side b of a block of pixels, at least 2.
    """

    def __init__(self, block_size: int, **options):
        super().__init__(**options)
        self.block_size = int(block_size)

    def call(self, inputs):
        """Moves the channels."""
        return tf.nn.depth_to_space(inputs, self.block_size)

    def compute_output_shape(self, input_shape):
        """The enlarged map."""
        batch, height, width, channels = input_shape
        side = self.block_size
        return (batch, height * side, width * side, channels // side**2)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "block_size": self.block_size}
