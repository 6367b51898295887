"""The trained values of a Keras model as the start of a supernet."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.keras_models import ModelReading, SiteValues
from qfa_tf.layers import ElasticSite, Mode
from qfa_tf.network import Convolution
from qfa_tf.network.elasticity import ChannelGroups
from qfa_tf.network.elasticity.importance import channel_orders, order_of
from qfa_tf.space import Architecture
from qfa_tf.supernet.calibration import Calibration, require_calibration
from qfa_tf.supernet.protocol import Supernet
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras


@dataclasses.dataclass(frozen=True)
class ModelStart:
    """What a supernet keeps of the model that it was made from.

    Attributes:
      logits: The model, without a softmax at its ends.
      teacher: From images as the supernet takes them, float32 [N, H, W, C], to the outputs side by
        side [N, size], logits [N, classes] of a classifier.
      means: Normalization statistics of the model by entry of the layout.
    """

    logits: keras.Model
    teacher: Callable[[tf.Tensor], tf.Tensor]
    means: Mapping[str, np.ndarray]


def fill_from_model(net: Supernet, reading: ModelReading, sort_channels: bool) -> ModelStart:
    """Fills a supernet with the values of the model whose space it has.

    The float subnet of full widths computes what the model computes, with the statistics of the
    model. The epsilon of normalizations moves into their gains:
    g / sqrt(v + e) = g sqrt((v + E) / (v + e)) / sqrt(v + E).

    Args:
      net: Filled in place.
      reading: Of the model.
      sort_channels: Whether the channels of each group are sorted by importance, so that narrow
        subnets have the most important ones.

    Raises:
      InvalidInputError: The space of `net` was made from another model.
    """
    _require_equal(net, reading)
    groups = ChannelGroups(reading.network)
    orders = {group.name: np.arange(group.channels) for group in groups.groups}
    if sort_channels:
        orders = _orders(reading, groups)
    means: dict[str, np.ndarray] = {}
    for site in reading.network.sites:
        inputs, outputs = (order_of(groups, name, orders) for name in (site.inputs[0], site.name))
        values = _ordered(site, reading.values[site.name], inputs, outputs)
        means |= _fill(net, site, values)
    net.reset_steps()
    return ModelStart(reading.logits, _teacher(reading), means)


def model_calibration(net: Supernet, start: ModelStart) -> Calibration:
    """The statistics of the model as those of the largest float subnet; see `QFASupernet`."""
    architecture = net.space.float_twin(net.space.largest())
    statistics = np.zeros(net.layout.size, np.float32)
    for name, values in start.means.items():
        statistics[net.layout.entries[name].slice] = values
    return Calibration(architecture, net.space.fingerprint, statistics, 0)


class WithoutQuantizers:
    """Observes a pass by running every site in float, those with fixed bits as well."""

    def before(self, layer: Any, x: tf.Tensor, choice: Any) -> Any:
        """The choice without grids."""
        if not isinstance(layer, ElasticSite):
            return choice
        return dataclasses.replace(choice, weight=None, activation=None)

    def after(self, layer: Any, y: tf.Tensor) -> None:
        """Nothing to note."""


def answers_in_float(
    net: Supernet, images: Any, architecture: Architecture, calibration: Calibration
) -> tf.Tensor:
    """Results without any quantizer; see `QFASupernet.answers_in_float`."""
    require_calibration(calibration, net.space, architecture)
    genome, images = net.as_genome(architecture), net.check_images(images)
    observer = WithoutQuantizers()
    return net.run_subnet(Mode.FROZEN, images, genome, calibration.statistics, observer=observer)[0]


def _require_equal(net: Supernet, reading: ModelReading) -> None:
    there = {(site.name, site.kind, site.stride) for site in reading.network.sites}
    here = {(site.name, site.kind, site.stride) for site in net.space.network.sites}
    if there != here:
        names = sorted({name for name, *_ in there ^ here})[:3]
        raise InvalidInputError(
            f"The space {net.space.name!r} was not made from the model {reading.name!r}; they "
            f"differ at {names}. Use SearchSpace.from_model(model, ...)."
        )


def _teacher(reading: ModelReading) -> Callable[[tf.Tensor], tf.Tensor]:
    low, high = reading.pixel_range
    size = reading.logits.input_shape[1:3]

    def teacher(images: tf.Tensor) -> tf.Tensor:
        images = tf.image.resize(images, size) * (high - low) + low
        outputs = tf.nest.flatten(reading.logits(images, training=False))
        rows = [tf.reshape(output, [tf.shape(images)[0], -1]) for output in outputs]
        return rows[0] if len(rows) == 1 else tf.concat(rows, -1)

    return teacher


def _orders(reading: ModelReading, groups: ChannelGroups) -> dict[str, np.ndarray]:
    written, read = {}, {}
    for site in reading.network.sites:
        values = reading.values[site.name]
        kernel, norm = values.kernel, values.normalization
        axis = 2 if site.kind == "depthwise" else kernel.ndim - 1
        energy = np.square(kernel).sum(tuple(i for i in range(kernel.ndim) if i != axis))
        gain = np.ones(len(energy))
        if norm is not None:
            gain = np.square(norm.gamma) / (norm.variance + norm.epsilon)
            # What is normalized has the energy of gain and offset, whatever the kernel.
            written[site.name] = np.square(norm.gamma) + np.square(norm.beta)
        else:
            offset = 0.0 if values.bias is None else np.square(values.bias)
            written[site.name] = energy + offset
        if site.kind == "depthwise":
            read[site.name] = energy * gain
            continue
        rows = kernel * np.sqrt(gain)
        taken = np.square(rows).sum(tuple(i for i in range(kernel.ndim) if i != kernel.ndim - 2))
        read[site.name] = np.tile(taken, site.groups)
    return channel_orders(reading.network, groups, written, read)


def _ordered(
    site: Convolution, values: SiteValues, inputs: np.ndarray, outputs: np.ndarray
) -> SiteValues:
    """The values with their channels in a new order."""
    kernel, norm = values.kernel, values.normalization
    if site.kind == "depthwise":
        kernel = kernel[:, :, outputs]
    else:
        if site.groups == 1:  # channels of groups keep their order
            kernel = kernel.take(inputs, kernel.ndim - 2)
        kernel = kernel.take(outputs, kernel.ndim - 1)
    if norm is not None:
        arrays = {
            name: getattr(norm, name)[outputs] for name in ("gamma", "beta", "mean", "variance")
        }
        norm = dataclasses.replace(norm, **arrays)
    bias = None if values.bias is None else values.bias[outputs]
    return SiteValues(kernel, bias, norm)


def _fill(net: Supernet, site: Convolution, values: SiteValues) -> dict[str, np.ndarray]:
    """Fills one site; returns its statistics by entry."""
    layer = net.site_layer(site.name)
    kernel = values.kernel
    if site.kind in ("convolution", "depthwise"):
        kernel = _centre(kernel, layer.kernel.shape[0])
    layer.kernel.assign(kernel[tuple(slice(size) for size in layer.kernel.shape)])
    width = layer.output_width
    if values.bias is not None:
        layer.bias.assign(values.bias[:width])
    norm = values.normalization
    if norm is None:
        return {}
    gain = np.sqrt((norm.variance + layer.epsilon) / (norm.variance + norm.epsilon))
    layer.gamma.assign((norm.gamma * gain)[:width])
    layer.beta.assign(norm.beta[:width])
    statistics = {"mean": norm.mean, "variance": norm.variance}
    return {f"{site.name}.{name}": array[:width] for name, array in statistics.items()}


def _centre(kernel: np.ndarray, size: int) -> np.ndarray:
    """The middle of a kernel [h, w, ...], where the space has a smaller one."""
    margin = (len(kernel) - size) // 2
    return kernel if margin == 0 else kernel[margin:-margin, margin:-margin]
