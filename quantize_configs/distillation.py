"""Training a quantized model without labels, by the outputs of the float model.

Ranges and statistics of normalization stay those that are stored, so that what is trained is what
will be deployed: no range of a batch, no moving average. Weights, their steps, biases and the
learned parts of activation grids follow the gradient through the roundings (straight-through).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.calibration_data import BATCH_SIZE, image_batches
from quantize_configs.errors import InvalidInputError, StateError
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.quantized_model import QuantizedModel, mark_trained
from quantize_configs.wrappers import UncalibratedError

LEARNING_RATE = 0.01
MOMENTUM = 0.9
LARGEST_NORM = 1.0
SEED = 0


def distill(
    model: keras.Model,
    teacher: Any,
    images: Any,
    *,
    epochs: int = 1,
    batch_size: int = BATCH_SIZE,
    optimizer: "keras.optimizers.Optimizer | None" = None,
    verbose: bool = True,
) -> list[float]:
    """Trains a calibrated quantized model to give the outputs of a teacher.

    The loss of an output is its squared difference as a share of the teacher's square (-10 log10
    of it is the signal-to-quantization-noise ratio in dB), and for rows of several numbers without
    a softmax also the divergence of their softmax from that of the teacher (Hinton et al.,
    arXiv:1503.02531, temperature 1): squares alone are content with outputs that are too small and
    answer otherwise. It is 0 where the outputs are equal, in both parts; several outputs are
    averaged. Layers that are frozen stay so. The model is not prepared for deployment afterwards.

    Args:
      model: Result of `quantize` with ranges (see `calibrate`); modified in place.
      teacher: The float model, of `tf_keras` or Keras 3, or another one with such outputs.
      images: Without labels: an array, for several inputs a list of arrays. See `calibrate` for
        other kinds; all images are in memory at once.
      epochs: Passes over the images, each in another order.
      batch_size: Of a step.
      optimizer: By default SGD with momentum 0.9, a rate that falls from 0.01 to 0 along a cosine,
        and gradients clipped to a norm of 1.
      verbose: Whether to show a progress bar.

    Returns:
      The mean loss of each epoch.

    Raises:
      InvalidInputError: The data is empty, or the outputs do not fit each other.
      UncalibratedError: A range is missing.
      StateError: A loss was not finite; the model is as it was before that step.
    """
    require_functional(model)
    if not isinstance(model, QuantizedModel):
        raise InvalidInputError("distill trains the result of quantize(). Received a float model.")
    teacher = as_tf_keras(teacher)
    arrays = _arrays(model, images, batch_size)
    shapes = [[tuple(tensor.shape[1:]) for tensor in one.outputs] for one in (model, teacher)]
    if shapes[0] != shapes[1]:
        raise InvalidInputError(
            f"The outputs of the model have the shapes {shapes[0]}, those of the teacher "
            f"{shapes[1]}. Give the float model that was quantized."
        )
    mark_trained(model)
    _require_ranges(model)
    count = len(arrays[0])
    steps = epochs * -(-count // batch_size)
    if optimizer is None:
        rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        optimizer = keras.optimizers.SGD(rate, momentum=MOMENTUM, global_clipnorm=LARGEST_NORM)
    step = _step_function(model, teacher, optimizer)
    bar = keras.utils.Progbar(steps, stateful_metrics=["loss"]) if verbose else None
    rng = np.random.default_rng(SEED)
    history: list[float] = []
    for _ in range(epochs):
        order = rng.permutation(count)
        losses: list[float] = []
        sizes: list[int] = []
        for start in range(0, count, batch_size):
            chosen = order[start : start + batch_size]
            batch = [tf.constant(array[chosen]) for array in arrays]
            loss = float(step(batch))
            if not np.isfinite(loss):
                raise StateError(
                    f"The loss is {loss} in step {len(losses)} of epoch {len(history)}; that step "
                    "was not taken. Give an optimizer with a smaller learning rate."
                )
            losses.append(loss)
            sizes.append(len(chosen))
            if bar is not None:
                bar.add(1, [("loss", loss)])
        history.append(float(np.average(losses, weights=sizes)))
    return history


def _arrays(model, images, batch_size) -> list[np.ndarray]:
    """All images, one array for each input."""
    parts = [
        [value.numpy() for value in batch]
        for batch in image_batches(model, images, None, batch_size)
    ]
    if not parts:
        raise InvalidInputError("The data is empty. Give at least one batch of images.")
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _require_ranges(model) -> None:
    for layer in model.layers:
        variables = getattr(layer, "_output_quantizer_vars", {})
        if "samples" in variables and float(variables["samples"]) == 0.0:
            raise UncalibratedError(
                f"The quantizer of {layer.name!r} has no range yet, and distillation trains with "
                "stored ranges. Run quantize_configs.calibrate(model, images) first."
            )


def _step_function(model, teacher, optimizer):
    """One step on a batch: takes images by input, gives the loss; no step that is not finite."""
    weights = model.trainable_weights
    optimizer.build(weights)
    kinds = [output_loss(tensor) for tensor in teacher.outputs]

    @tf.function(reduce_retracing=True, autograph=False)
    def step(batch):
        images = batch if len(batch) > 1 else batch[0]
        wanted = tf.nest.flatten(teacher(images, training=False))
        with tf.GradientTape() as tape:
            found = tf.nest.flatten(model(images, training=False))
            losses = [of(a, b) for of, a, b in zip(kinds, wanted, found, strict=True)]
            loss = tf.add_n(losses) / float(len(losses))
        gradients = tape.gradient(loss, weights)
        pairs = [(g, w) for g, w in zip(gradients, weights, strict=True) if g is not None]
        finite = tf.math.is_finite(loss) & tf.math.is_finite(
            tf.linalg.global_norm([gradient for gradient, _ in pairs])
        )
        tf.cond(finite, lambda: _applied(optimizer, pairs), lambda: tf.constant(False))
        return tf.where(finite, loss, np.nan)

    return step


def _applied(optimizer, pairs) -> tf.Tensor:
    optimizer.apply_gradients(pairs)
    return tf.constant(True)


def output_loss(output: Any) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The loss of an output, a symbolic tensor of the teacher: of what is wanted and what is found.

    See `distill`; without divergence where the values are no logits (maps, single numbers, what a
    softmax or sigmoid made).
    """
    layer = output._keras_history.layer
    activation = getattr(layer, "activation", None)
    is_linear = activation in (None, keras.activations.linear)
    is_softmax = isinstance(layer, keras.layers.Softmax)
    if len(output.shape) == 2 and output.shape[-1] > 1 and is_linear and not is_softmax:
        return lambda wanted, found: noise_share(wanted, found) + divergence(wanted, found)
    return noise_share


def divergence(wanted: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Kullback-Leibler divergence of the softmax of rows, their mean, float32 scalar.

    Args:
      wanted: Logits of the teacher, [N, classes].
      found: Those of the student.
    """
    expected, answered = tf.nn.log_softmax(wanted), tf.nn.log_softmax(found)
    return tf.reduce_mean(tf.reduce_sum(tf.exp(expected) * (expected - answered), -1))


def noise_share(wanted: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Squared error as a share of the squares, float32 scalar.

    Args:
      wanted: Outputs of the teacher.
      found: Those of the student, of the same shape.
    """
    power = tf.reduce_sum(tf.square(wanted)) + 1e-12
    return tf.reduce_sum(tf.square(found - wanted)) / power
