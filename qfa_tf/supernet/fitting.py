"""`fit` and `evaluate` of a supernet: what Keras does, around subnets that change at each step."""

import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qfa_tf.supernet.epoch_means import StepMeans
from qfa_tf.supernet.inputs import check_example, message_of
from qfa_tf.supernet.progress_bar import SupernetProgressBar
from qfa_tf.supernet.protocol import Supernet
from qfa_tf.supernet.sample import TrainingSample
from qfa_tf.supernet.saving import check_path
from qfa_tf.supernet.validation import CALIBRATION_BATCHES
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras

_FIT = inspect.signature(keras.Model.fit)


class Fitting:
    """What a supernet keeps between the calls that Keras makes in `fit` and `evaluate`.

    Attributes:
      means: Of the steps of the epoch, while `fit` runs; None otherwise.
      sample: Of the training images of the last `fit`; None before.
    """

    def __init__(self):
        self.means: StepMeans | None = None
        self.sample: TrainingSample | None = None

    def fit(self, net: Supernet, keras_fit: Callable, *args: Any, **kwargs: Any) -> Any:
        """Runs the `fit` of Keras; see `QFASupernet.fit`.

        Args:
          net: Compiled.
          keras_fit: That of the base class, bound.
          *args: As for `keras.Model.fit`.
          **kwargs: The same.
        """
        given = _FIT.bind_partial(net, *args, **kwargs).arguments
        given.pop("self")
        share = 1.0 - (0.0 if given.get("validation_data") else given.get("validation_split", 0.0))
        sample = TrainingSample(given.get("x"), given.get("y"), given.get("batch_size"), share)
        if sample.example is not None:
            check_example(sample.example, net.space.input_channels, net.task)
        method = net.training_method
        if method is not None:
            method.image_source = lambda step: _first(sample.images(1))
        self.means, self.sample = StepMeans(), sample
        callbacks = self._callbacks(net, given.get("callbacks"))
        if given.get("verbose") != 0:
            callbacks.append(SupernetProgressBar())
        given |= {"x": sample.x, "callbacks": callbacks}
        try:
            return _with_sentences(keras_fit, **given)
        finally:
            self.means = None
            if hasattr(net, "_eval_data_handler"):  # Keras keeps the data of what failed
                del net._eval_data_handler

    def evaluate(self, keras_evaluate: Callable, *args: Any, **kwargs: Any) -> Any:
        """Runs the `evaluate` of Keras; see `QFASupernet.evaluate`."""
        return _with_sentences(keras_evaluate, *args, **kwargs)

    def calibrate(self, net: Supernet, calibration_data: Any) -> None:
        """Calibrates the subnets that `evaluate` measures.

        Args:
          net: Compiled.
          calibration_data: Training images, as for `fit`; None for those of the last `fit`.

        Raises:
          InvalidInputError: There are none.
        """
        sample = self.sample
        if calibration_data is not None:
            pair = calibration_data if isinstance(calibration_data, tuple) else (calibration_data,)
            labels = pair[1] if len(pair) > 1 else ()
            sample = TrainingSample(pair[0], labels)
        images = None if sample is None else sample.images(CALIBRATION_BATCHES)
        if not images:
            raise InvalidInputError(
                "Subnets are calibrated on training images before they are evaluated, and there "
                "are none that can be read: evaluate(..., calibration_data=images), with arrays, a "
                "tf.data.Dataset, a Sequence or a generator."
            )
        net.validation.calibrate(images)

    def _callbacks(self, net: Supernet, callbacks: Any) -> list:
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = callbacks.callbacks
        callbacks = tf.nest.flatten(callbacks or [])
        for callback in callbacks:
            saves = isinstance(callback, keras.callbacks.ModelCheckpoint)
            if saves and not callback.save_weights_only:
                check_path(callback.filepath)
        means = self.means

        def begin_epoch(epoch: int, logs: dict | None = None) -> None:
            if means is not None:
                means.reset()

        return [*callbacks, keras.callbacks.LambdaCallback(on_epoch_begin=begin_epoch)]


def _with_sentences(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls it; what the checks of a batch raise within a graph becomes an InvalidInputError."""
    try:
        return function(*args, **kwargs)
    except tf.errors.InvalidArgumentError as error:
        message = message_of(error)
        if message is None:
            raise
        raise InvalidInputError(message) from None


def _first(batches: list | None) -> Any:
    return batches[0] if batches else None
