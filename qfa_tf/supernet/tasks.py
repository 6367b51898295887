"""What a supernet is trained for: how labels are read, what is minimised, what is measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from qfa_tf.supernet import inputs
from qfa_tf.supernet.heads import Heads
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras

Function = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Task(Protocol):
    """What labels mean.

    Attributes:
      figures: Names of what `measured` gives besides the loss.
    """

    figures: tuple[str, ...]

    def require(self, labels: Any) -> None:
        """Checks shapes and types of labels, or of their specification, before any training.

        Raises:
          InvalidInputError: They do not fit.
        """

    def read(self, labels: Any) -> tf.Tensor:
        """Labels of a batch as one tensor: int32 [N], or float32 [N, any].

        Raises:
          InvalidInputError: They do not fit.
        """

    def losses(
        self, labels: tf.Tensor, rows: tf.Tensor, known: tf.Tensor, share: Any, smoothing: float
    ) -> tf.Tensor:
        """Losses of the images, float32 [N].

        Args:
          labels: As `read` gives them.
          rows: Results, float32 [N, size]; see `Heads`.
          known: Those of the teacher.
          share: Weight of what the teacher says.
          smoothing: See `QFATraining.label_smoothing`.
        """

    def measured(self, labels: tf.Tensor, rows: tf.Tensor) -> list[tf.Tensor]:
        """For each of `figures` its values of the images, float32 [N]."""


class Classes:
    """One of several classes; the results are logits.

    Args:
      count: Of classes.
    """

    figures: tuple[str, ...] = ("accuracy",)

    def __init__(self, count: int):
        self.count = count
        # Compiled for this object, and gone with it.
        self.grade = tf.function(self._grade, autograph=False, reduce_retracing=True)

    def require(self, labels: Any) -> None:
        """See `Task`."""
        inputs.require_labels(labels, self.count)

    def read(self, labels: Any) -> tf.Tensor:
        """See `Task`: integers [N], or shares of the classes [N, classes]."""
        found = inputs.as_labels(labels, self.count)
        with tf.control_dependencies([inputs.check_labels(found, self.count)]):
            return tf.identity(found)

    def losses(self, labels, rows, known, share, smoothing):
        """See `Task`: cross-entropies with labels and teacher."""
        targets = inputs.shares_of(labels, self.count)
        targets = targets * (1.0 - smoothing) + smoothing / self.count
        targets += share * tf.nn.softmax(known)
        # Not softmax_cross_entropy_with_logits, whose gradient assumes targets that sum to one.
        return -tf.reduce_sum(targets * tf.nn.log_softmax(rows), -1)

    def measured(self, labels, rows):
        """See `Task`: 1 where the likeliest class is right."""
        hits = tf.equal(tf.argmax(rows, -1, tf.int32), inputs.classes_of(labels))
        return [tf.cast(hits, tf.float32)]

    def _grade(self, labels, rows) -> tuple[tf.Tensor, tf.Tensor]:
        """Which images are right, float32 [N], and the sum of their cross-entropies."""
        (hits,) = self.measured(labels, rows)
        return hits, tf.reduce_sum(self.losses(labels, rows, tf.zeros_like(rows), 0.0, 0.0))


class GivenTask:
    """A loss and metrics as `keras.Model.compile` takes them, for outputs of any shape.

    Where several outputs have one loss, it is that of each. Losses of a teacher are the squared
    differences of the outputs as a share of its own squares, as in `quantize_configs.distill`.

    Args:
      heads: Of the net.
      loss: Name, function or `keras.losses.Loss`, or these by name of the output.
      metrics: Names, functions or metrics of `tf_keras`; with several outputs by their names.
      loss_weights: Factors of the losses by name of the output; 1 by default.

    Raises:
      InvalidInputError: Something is not known, or names an output that the net has not.
    """

    def __init__(self, heads: Heads, loss: Any, metrics: Any = None, loss_weights: Any = None):
        self.heads = heads
        losses = loss if isinstance(loss, Mapping) else dict.fromkeys(heads.shapes, loss)
        _require_outputs(heads, "loss", losses)
        self._losses = {name: _loss_function(given) for name, given in losses.items()}
        weights = dict(loss_weights or {})
        _require_outputs(heads, "loss_weights", weights)
        self._weights = {name: float(weights.get(name, 1.0)) for name in self._losses}
        self._metrics = _metrics_by_output(heads, metrics)
        self._of_images = {
            name: (output, given)
            for name, (output, given) in self._metrics.items()
            if not isinstance(given, keras.metrics.Metric)
        }
        self.figures = tuple(self._of_images)
        self._labels: list[tuple[str, tuple[int, ...], tf.DType]] = []

    def require(self, labels: Any) -> None:
        """See `Task`: one array per output with a loss, which that loss can be taken of."""
        self._labels = []
        for name, part in self._by_output(labels).items():
            shape, dtype = inputs.type_of(part)
            if shape.rank is None or None in shape.as_list()[1:]:
                raise InvalidInputError(
                    f"The labels of the output {name!r} need known sizes. Received: "
                    f"{dtype.name} {shape}."
                )
            own = tuple(shape.as_list()[1:])
            if own == () and self.heads.shapes[name] == (1,):  # numbers [N] for an output [N, 1]
                own = (1,)
            self._labels.append((name, own, dtype))
            self._require_fit(name, own, dtype)

    def read(self, labels: Any) -> tf.Tensor:
        """See `Task`: the labels of all outputs side by side, float32 [N, any]."""
        self.require(labels)
        parts = self._by_output(labels)
        rows = [
            tf.reshape(tf.cast(parts[name], tf.float32), [-1, math.prod(shape)])
            for name, shape, _ in self._labels
        ]
        return tf.concat(rows, -1)

    def losses(self, labels, rows, known, share, smoothing):
        """See `Task`; labels are not smoothed."""
        outputs, teacher, truths = self.heads.split(rows), self.heads.split(known), {}
        truths = self.split_labels(labels)
        total = tf.zeros(tf.shape(rows)[:1])
        for name, function in self._losses.items():
            own = _of_images(function(truths[name], outputs[name]))
            total += self._weights[name] * (
                own + share * _noise_share(teacher[name], outputs[name])
            )
        return total

    def measured(self, labels, rows):
        """See `Task`: metrics that are functions of an image."""
        outputs, truths = self.heads.split(rows), self.split_labels(labels)
        return [
            _of_images(function(truths[output], outputs[output]))
            for output, function in self._of_images.values()
        ]

    def meters(self) -> dict[str, tuple[str, keras.metrics.Metric]]:
        """(output, metric without any state) by name of the metric."""
        found = {}
        for name, (output, given) in self._metrics.items():
            if isinstance(given, keras.metrics.Metric):
                meter = type(given).from_config(given.get_config())
            else:
                meter = keras.metrics.MeanMetricWrapper(given, name=name)
            found[name] = (output, meter)
        return found

    def split_labels(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The labels by name of the output, from what `read` gave."""
        parts = tf.split(rows, [math.prod(shape) for _, shape, _ in self._labels], -1)
        return {
            name: tf.cast(tf.reshape(part, [-1, *shape]), dtype)
            for (name, shape, dtype), part in zip(self._labels, parts, strict=True)
        }

    def _by_output(self, labels: Any) -> dict[str, Any]:
        if len(self.heads.shapes) == 1 and not isinstance(labels, Mapping | tuple):
            return dict.fromkeys(self.heads.shapes, labels)
        if isinstance(labels, list | tuple):
            labels = dict(zip(self.heads.shapes, labels, strict=False))
        missing = sorted(set(self._losses) - set(labels)) if isinstance(labels, Mapping) else ["?"]
        if missing:
            raise InvalidInputError(
                f"Labels come by name of the output, {list(self._losses)}, or as a tuple in that "
                f"order. Missing: {missing}."
            )
        return {name: labels[name] for name in self._losses}

    def _require_fit(self, name: str, shape: tuple[int, ...], dtype: tf.DType) -> None:
        """Refuses labels that the loss or a metric of an output cannot be taken of."""
        own = self.heads.shapes[name]
        functions = [self._losses[name]]
        functions += [given for output, given in self._of_images.values() if output == name]
        for function in functions:
            try:
                found = _of_images(function(tf.zeros([2, *shape], dtype), tf.zeros([2, *own])))
                fits = found.shape.as_list() == [2]
            except (ValueError, TypeError, tf.errors.InvalidArgumentError):
                fits = False
            broadcast = len(shape) != len(own) and not dtype.is_integer
            if not fits or broadcast or not _same_places(shape, own, dtype):
                raise InvalidInputError(
                    f"The output {name!r} has the shape {own} for each image, and "
                    f"{_name_of(function)!r} cannot compare it with labels of the shape {shape} "
                    f"({dtype.name}). Give labels of that shape, or another loss and metrics."
                )


def _same_places(labels: tuple[int, ...], output: tuple[int, ...], dtype: tf.DType) -> bool:
    """Whether there is a label for each number of the output, or for each vector of channels."""
    if labels == output:
        return True
    return dtype.is_integer and labels in (output[:-1], (*output[:-1], 1))


def _of_images(values: tf.Tensor) -> tf.Tensor:
    """Means over all axes but that of the images, float32 [N]."""
    values = tf.cast(values, tf.float32)
    return tf.reduce_mean(values, list(range(1, values.shape.rank)))


def _noise_share(wanted: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Squared differences of the images as a share of the mean square of all, [N]."""
    axes = list(range(1, wanted.shape.rank))
    difference = tf.reduce_mean(tf.square(found - wanted), axes)
    return tf.math.divide_no_nan(difference, tf.reduce_mean(tf.square(wanted)))


def _loss_function(given: Any) -> Function:
    found = _known(keras.losses.get, given, "loss")
    if isinstance(found, keras.losses.Loss):
        return found.call
    return found


def _metrics_by_output(heads: Heads, metrics: Any) -> dict[str, tuple[str, Any]]:
    """(output, function or metric) by name of the metric."""
    only = next(iter(heads.shapes))
    if isinstance(metrics, Mapping):
        _require_outputs(heads, "metrics", metrics)
        lists = {name: _as_list(given) for name, given in metrics.items()}
    elif metrics and len(heads.shapes) > 1:
        raise InvalidInputError(
            f"With several outputs metrics come by name of the output, {list(heads.shapes)}. "
            f"Received: {metrics!r}."
        )
    else:
        lists = {only: _as_list(metrics)}
    found = {}
    for output, entries in lists.items():
        for entry in entries:
            if entry in ("accuracy", "acc"):
                raise InvalidInputError(
                    "metrics must say which accuracy is meant, such as "
                    "'sparse_categorical_accuracy' or 'binary_accuracy'. Received: "
                    f"{entry!r}."
                )
            metric = _known(keras.metrics.get, entry, "metrics")
            name = _name_of(metric)
            found[f"{output}_{name}" if len(heads.shapes) > 1 else name] = (output, metric)
    return found


def _as_list(given: Any) -> list[Any]:
    return (
        list(given)
        if isinstance(given, Sequence) and not isinstance(given, str)
        else ([] if given is None else [given])
    )


def _known(get: Callable[[Any], Any], given: Any, what: str) -> Any:
    try:
        return get(given)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            f"{what} must be a name that tf_keras knows, a function of (labels, outputs), or an "
            f"object of tf_keras. Received: {given!r}."
        ) from error


def _name_of(function: Any) -> str:
    owner = getattr(function, "__self__", function)
    if isinstance(owner, keras.losses.Loss | keras.metrics.Metric):
        return str(owner.name)
    return str(getattr(function, "__name__", type(function).__name__))


def _require_outputs(heads: Heads, what: str, given: Mapping[str, Any]) -> None:
    if unknown := sorted(set(given) - set(heads.shapes)):
        raise InvalidInputError(
            f"{what} names {unknown}, which are no outputs of the net. It has {list(heads.shapes)}."
        )
