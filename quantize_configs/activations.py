"""Hard-swish and hard-sigmoid as layers, and what becomes of them on the device.

TFMOT knows no activation attribute for these functions, so they stand as layers of their own.

`HardSwish` is computed from an 8-bit tensor: the tensor in front of it (the output of the
convolution or of its batch normalization) gets an 8-bit quantizer, and on the device DEQUANTIZE,
HARD_SWISH and QUANTIZE become one table. `HardSigmoid` is folded into the convolution, dense layer
or batch normalization that it must directly follow; its own output gets the 8-bit quantizer, whose
saturation does the clamping.

Squeeze-excite is written with these layers, here for the names of block `s2.b0`:

    s2.b0.se.pool               GlobalAveragePooling2D(keepdims=True)
    s2.b0.se.reduce             Conv2D 1x1 with bias
    s2.b0.se.reduce.activation  ReLU
    s2.b0.se.expand             Conv2D 1x1 with bias
    s2.b0.se.gate               HardSigmoid
    s2.b0.se.scale              Multiply([input of the pool, gate])

`quantize` gives its two convolutions what the policy says, (8, 8) unless told otherwise, for
example `BitPolicy(layers={"s2.b0.se.reduce": (8, 8)})`. Whoever fills in trained values instead
of training and calibrating the result (a supernet's extraction) sets

* the steps of `se.reduce` and `se.expand` with `WrappedModel.fit_step`, after their weights;
* for every name in `WrappedModel.quantized_outputs()` the range (low, high), that is the extremes
  of the tensor, low at most 0 and high at least 0. They are, beside the `<site>.input` of all
  sites: `se.reduce.input` (the output of `se.pool`), `se.expand.input` (of
  `se.reduce.activation`), `se.gate`; the tensors in front of a hard-swish (`expand.norm`,
  `depthwise.norm`); every other tensor that is not read by exactly one convolution or dense layer
  (`depthwise.activation` where pool and Multiply read it; residual sums; the input of head.pool).

`quantized_outputs()` is the list to go by: it follows from the model.
"""

import tensorflow as tf

from quantize_configs.keras_backend import keras


class HardSwish(keras.layers.Layer):
    """x relu6(x + 3) / 6 (MobileNetV3, https://arxiv.org/abs/1905.02244, section 5.2)."""

    def call(self, inputs):
        """Applies the function to every element."""
        return inputs * _hard_sigmoid(inputs)

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape


class HardSigmoid(keras.layers.Layer):
    """relu6(x + 3) / 6, MobileNetV3's approximation of the sigmoid.

    `keras.activations.hard_sigmoid` of tf_keras is another function, clip(x / 5 + 1 / 2, 0, 1).
    """

    def call(self, inputs):
        """Applies the function to every element."""
        return _hard_sigmoid(inputs)

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape


class PointwiseFunction(keras.layers.Layer):
    """A function of each element that is computed in float, because nothing can fuse it.

    Args:
      function: "relu", "relu6", "hard_sigmoid" (relu6(x + 3) / 6) or "tanh_gelu" (the
        approximation of gelu by a hyperbolic tangent).
    """

    def __init__(self, function: str, **options):
        super().__init__(**options)
        self.function = function

    def call(self, inputs):
        """Applies the function to every element."""
        return _FUNCTIONS[self.function](inputs)

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "function": self.function}


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def _tanh_gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=True)


_FUNCTIONS = {
    "hard_sigmoid": _hard_sigmoid,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "tanh_gelu": _tanh_gelu,
}
