"""Ideas for what the sites of a supernet compute, for `equal_steps.py` to try."""

import dataclasses
from collections.abc import Iterator

import tensorflow as tf

from qfa_tf import QFASupernet
from qfa_tf.layers import ElasticSite, Mode
from quantize_configs.fake_quantization import scale_gradient
from quantize_configs.native.deferred import computed

LEAST_FACTOR, LARGEST_FACTOR = 0.25, 4.0
"""How far the step of a channel may be from that of its tensor."""


def steps_of_channels(net: QFASupernet) -> None:
    """Every output channel learns how much its step differs from that of its tensor, by bits."""
    for layer in _quantized_sites(net):
        layer.weight_quantizer = _ChannelSteps(layer)


class _ChannelSteps:
    """The weight quantizer of a site, with differences of the steps of its channels.

    Weights are divided by a factor per channel before the grid of the tensor and multiplied by it
    after: the gradient of the factor is that of a step of the channel.
    """

    def __init__(self, layer: ElasticSite):
        self._quantizer = layer.weight_quantizer
        self._is_depthwise = layer.kind == "depthwise"
        choices = self._quantizer.bit_widths.choices
        self._largest_codes = [self._quantizer.limits(bits)[1] for bits in choices]
        self._differences = layer.add_weight(
            name="channel_steps", shape=(len(choices), layer.output_width), initializer="zeros"
        )

    def __getattr__(self, name):
        return getattr(self._quantizer, name)

    def quantize_choice(self, kernel, choice, *arguments):
        """See `LSQQuantizer`."""
        chosen = tf.cast(tf.equal(self._largest_codes, choice.qmax), tf.float32)
        differences = tf.reduce_sum(chosen[:, None] * self._differences, 0)
        width = tf.shape(kernel)[2 if self._is_depthwise else -1]
        elements = tf.cast(tf.size(kernel) // width, tf.float32)
        differences = scale_gradient(differences[:width], tf.math.rsqrt(elements * choice.qmax))
        step = tf.stop_gradient(choice.step)
        factor = tf.clip_by_value(1.0 + differences / step, LEAST_FACTOR, LARGEST_FACTOR)
        factor = factor[:, None] if self._is_depthwise else factor
        quantized = self._quantizer.quantize_choice(kernel / factor, choice, *arguments)
        return quantized * factor


def matched_sites(weight: float):
    """Every quantized site learns to put out what it puts out without quantizers, for its input.

    Args:
      weight: Of the mean squared difference of the outputs of each site, behind its normalization.
    """

    def match(net: QFASupernet) -> None:
        for layer in _quantized_sites(net):
            layer.call = _matched(layer.call, weight)

    return match


def _matched(call, weight: float):
    @tf.autograph.experimental.do_not_convert
    def matched(x, choice, mode, stored=None, defer=False):
        if mode is not Mode.TRAIN:
            return call(x, choice, mode, stored, defer)
        x = computed(x)
        y, recorded = call(x, choice, mode, stored, False)
        off = {
            name: dataclasses.replace(getattr(choice, name), enabled=tf.constant(False))
            for name in ("weight", "activation")
        }
        whole = dataclasses.replace(choice, **off)
        target, _ = call(tf.stop_gradient(x), whole, mode, stored, False)
        return _drawn(y, tf.stop_gradient(target), weight), recorded

    return matched


def _drawn(y: tf.Tensor, target: tf.Tensor, weight: float) -> tf.Tensor:
    """`y`, with the gradient of `weight` times its mean squared distance from `target` added."""

    @tf.custom_gradient
    def drawn(y, target):
        y, target = tf.identity(y), tf.identity(target)
        count = tf.cast(tf.size(y), tf.float32)
        return tf.identity(y), lambda given: (given + 2.0 * weight / count * (y - target), None)

    return drawn(y, target)


def _quantized_sites(net: QFASupernet) -> Iterator[ElasticSite]:
    for site in net.space.network.sites:
        layer = net.site_layer(site.name)
        weight, activation = layer.weight_quantizer, layer.activation_quantizer
        if weight is not None and activation is not None and weight.bit_widths.is_elastic:
            yield layer
