"""Calibrating and evaluating one subnet of a supernet; neither modifies the supernet."""

import itertools
import operator
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.network import Network
from qfa_tf.space import Architecture
from qfa_tf.supernet.calibration import Calibration, require_calibration
from qfa_tf.supernet.protocol import Supernet
from qfa_tf.supernet.tasks import Classes, GivenTask
from quantize_configs.arguments import instance, iterable
from quantize_configs.errors import InvalidInputError, StateError

RANGE_SHARE = 4
"""Ranges are measured on one batch of so many; normalization on all, with these ranges."""

SETTLED_VALUES = 1 << 27
"""Most values of a map in a pass that measures normalization, in all of its images."""


def calibrate(net: Supernet, dataset: Iterable, arch: Architecture, batches: int) -> Calibration:
    """Measures the statistics of one subnet; see `QFASupernet.calibrate`."""
    if net.precision.unstarted.any():
        raise StateError(
            "The activation grids of this supernet have no values yet. Train it, load a "
            "checkpoint, or call start_activations(images) with a batch of training images."
        )
    instance("arch", arch, Architecture, "space.sample(0)")
    iterable("dataset", dataset, "training_batches(split, 64, seed=0)")
    genome = net.as_genome(arch)
    images = (
        net.check_images(batch[0] if isinstance(batch, tuple | list) else batch)
        for batch in itertools.islice(dataset, batches)
    )
    if net.zero_point == "fractional" or net.precision.learns_grids:
        statistics, count = _measure(net, Mode.CALIBRATE, images, genome)
    else:
        there = min(batches, operator.length_hint(dataset, batches))
        first = list(itertools.islice(images, max(1, there // RANGE_SHARE)))
        ranges, _ = _measure(net, Mode.CALIBRATE, first, genome)
        most = max(1, SETTLED_VALUES // _largest_map(net.space.network, arch.resolution))
        every = _merged(itertools.chain(first, images), most)
        statistics, count = _measure(net, Mode.SETTLE, every, genome, ranges)
    return Calibration(arch, net.space.fingerprint, statistics, count)


def _measure(
    net: Supernet, mode: Mode, batches: Iterable[tf.Tensor], genome: tf.Tensor, *ranges: np.ndarray
) -> tuple[np.ndarray, int]:
    """Statistics over batches of images, and how many images these are."""
    vectors, counts = [], []
    for images in batches:
        vectors.append(net.forward_of(mode)(images, genome, *ranges)[1].numpy())
        counts.append(int(images.shape[0]))
    if not vectors:
        raise InvalidInputError("The calibration data is empty. Give at least one batch of images.")
    precision = np.float32 if net.zero_point == "fractional" else np.float64
    statistics = net.layout.combine(vectors, counts, precision)
    if not np.isfinite(statistics).all():
        raise StateError(
            "The statistics of this subnet are not finite: its weights or the images are not, or "
            "are much too large. Restore weights from before its training diverged."
        )
    return statistics, sum(counts)


def _largest_map(network: Network, resolution: int) -> int:
    """Most values that a node gives for one image."""
    sizes = (network.size(node.name, resolution) ** 2 for node in network.nodes)
    widths = (network.largest_width(node.name) for node in network.nodes)
    return max(size * width for size, width in zip(sizes, widths, strict=True))


def _merged(batches: Iterable[tf.Tensor], most: int) -> Iterator[tf.Tensor]:
    """Batches of at most so many images, made of whole ones; larger ones as they are."""
    group: list[tf.Tensor] = []
    for batch in batches:
        if group and sum(len(one) for one in group) + len(batch) > most:
            yield tf.concat(group, 0)
            group = []
        group.append(batch)
    if group:
        yield tf.concat(group, 0)


def evaluate(
    net: Supernet, arch: Architecture, dataset: Iterable, calibration: Calibration
) -> dict[str, float]:
    """Metrics and loss of one subnet; see `QFASupernet.evaluate_architecture`."""
    if isinstance(net.task, GivenTask):
        return _evaluate_given(net, net.task, arch, dataset, calibration)
    right, loss, count = 0, 0.0, 0
    for hits, losses in answers(net, arch, dataset, calibration):
        right, loss, count = right + int(hits.sum()), loss + losses, count + len(hits)
    if not count:
        raise InvalidInputError("The evaluation data is empty. Give at least one batch.")
    return {"accuracy": right / count, "loss": loss / count, "images": count}


def _evaluate_given(
    net: Supernet, task: GivenTask, arch: Architecture, dataset: Iterable, calibration: Calibration
) -> dict[str, float]:
    """Loss and metrics as they were given to `compile`."""
    iterable("dataset", dataset, "batches(split, 100)")
    require_calibration(calibration, net.space, arch)
    genome, meters = net.as_genome(arch), task.meters()
    loss, count = 0.0, 0
    for images, labels in dataset:
        rows, _ = net.forward_of(Mode.FROZEN)(
            net.check_images(images), genome, calibration.statistics
        )
        known = task.read(labels)
        losses = task.losses(known, rows, tf.zeros_like(rows), 0.0, 0.0)
        loss, count = loss + float(tf.reduce_sum(losses)), count + int(losses.shape[0])
        truths, outputs = task.split_labels(known), net.heads.split(rows)
        for output, meter in meters.values():
            meter.update_state(truths[output], outputs[output])
    if not count:
        raise InvalidInputError("The evaluation data is empty. Give at least one batch.")
    found = {name: float(meter.result()) for name, (_, meter) in meters.items()}
    return {"loss": loss / count, **found, "images": count}


def answers(
    net: Supernet, arch: Architecture, dataset: Iterable, calibration: Calibration
) -> Iterator[tuple[np.ndarray, float]]:
    """Batch by batch, which images one subnet classifies correctly, bool[N], and its summed loss.

    Args:
      net: A classifier.
      arch: The subnet.
      dataset: Batches of (images, labels).
      calibration: Result of `calibrate` for `arch`.
    """
    iterable("dataset", dataset, "batches(split, 100)")
    require_calibration(calibration, net.space, arch)
    genome, statistics = net.as_genome(arch), tf.constant(calibration.statistics)
    task = net.task
    assert isinstance(task, Classes)
    for images, labels in dataset:
        logits, _ = net.forward_of(Mode.FROZEN)(net.check_images(images), genome, statistics)
        hits, loss = task.grade(task.read(labels), logits)
        yield hits.numpy() > 0, float(loss)
