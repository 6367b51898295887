"""The sums of products of convolutions and dense layers, by kernels that are given."""

from collections.abc import Callable

import tensorflow as tf

from quantize_configs.keras_backend import keras

Products = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def products_of(layer: keras.layers.Layer) -> Products:
    """What a layer sums up of inputs and a kernel, without bias and activation.

    Args:
      layer: Conv2D, DepthwiseConv2D or Dense, which brings strides, padding, dilation and groups.

    Returns:
      A function of inputs and a kernel, both of one floating type.
    """
    if isinstance(layer, keras.layers.Dense):
        return lambda x, kernel: tf.tensordot(x, kernel, [[-1], [0]])
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return lambda x, kernel: keras.backend.depthwise_conv2d(
            x, kernel, layer.strides, layer.padding, dilation_rate=layer.dilation_rate
        )
    return lambda x, kernel: tf.nn.convolution(
        x, kernel, layer.strides, layer.padding.upper(), dilations=layer.dilation_rate
    )
