"""The class of quantized models: a Keras model that keeps what is frozen and loses nothing."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.keras.utils import smart_cond
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapperV2,
)

from quantize_configs.errors import StateError
from quantize_configs.keras_backend import keras

CONTAINER_ATTRIBUTE = "deployment_weight_container"
CORRECTIONS_ATTRIBUTE = "bias_corrections"
RUNTIME_ATTRIBUTE = "deployment_runtime"


class LayerWrapper(QuantizeWrapperV2):
    """TFMOT's wrapper, which does not train the weight and the steps of a frozen layer.

    Attributes:
      deployed: What the layer computes outside training in a model that is prepared for
        deployment, in place of fake quantization (see `integer_sums`); None in any other model.
    """

    deployed: Callable[[Any], tf.Tensor] | None = None
    _is_quantizing = True

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs, training=None, **kwargs):
        """Quantizes weight and output; outside training a deployed layer sums integers."""
        if not self._is_quantizing:
            return self.layer.call(inputs, **kwargs)
        fake_quantized = super().call
        deployed = self.deployed
        if deployed is None:
            return fake_quantized(inputs, training=training, **kwargs)
        training = keras.backend.learning_phase() if training is None else training
        return smart_cond(
            training,
            lambda: fake_quantized(inputs, training=True, **kwargs),
            lambda: self._quantized(deployed(inputs)),
        )

    def _quantized(self, outputs):
        """Puts outputs on their grid, where they have one."""
        if not self._output_quantizers:
            return outputs
        (quantizer,) = self._output_quantizers
        return quantizer(outputs, False, weights=self._output_quantizer_vars)

    @contextlib.contextmanager
    def without_quantizers(self) -> Iterator[None]:
        """Calls give what the layer alone gives, of the same shape and type."""
        self._is_quantizing = False
        try:
            yield
        finally:
            self._is_quantizing = True

    @property
    def trainable_weights(self):
        """Weights of the layer and of its quantizers; none while the layer is frozen."""
        return super().trainable_weights if self.layer.trainable else []

    @property
    def non_trainable_weights(self):
        """All other weights."""
        frozen = [] if self.layer.trainable else super().trainable_weights
        return self._dedup_weights([*frozen, *super().non_trainable_weights])


class QuantizedModel(keras.Model):
    """What `quantize` returns, a functional model.

    `compile`, `fit`, `evaluate` and `predict` are those of Keras. `fit` validates with the ranges
    of each batch as long as none are stored, and makes a model that was prepared for deployment
    unprepared. Files of Keras keep the order of weights only, which a rebuilt model does not have:
    `save_model` and `load_model` take their place.
    """

    def fit(self, *args, callbacks=None, **kwargs):
        """As `keras.Model.fit`."""
        mark_trained(self)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = callbacks.callbacks
        given = [] if callbacks is None else callbacks
        given = list(given) if isinstance(given, list | tuple) else [given]
        return super().fit(*args, callbacks=[_BatchRanges(), *given], **kwargs)

    def make_train_function(self, force=False):
        """As `keras.Model.make_train_function`."""
        function = super().make_train_function(force)
        if not isinstance(function, _TracedOnce):
            self.train_function = _TracedOnce(self, function)
        return self.train_function

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs, training=None, mask=None):
        """As `keras.Model.call`; a call in training makes the model unprepared."""
        if training is True:
            mark_trained(self)
        return super().call(inputs, training=training, mask=mask)

    def set_weights(self, weights):
        """As `keras.Model.set_weights`; the model is not prepared for deployment any more."""
        mark_trained(self)
        super().set_weights(weights)

    def save(self, filepath, *args, **kwargs):
        """Refuses; see `save_model`."""
        raise _refused("save", filepath)

    def save_weights(self, filepath, *args, **kwargs):
        """Refuses; see `save_model`."""
        raise _refused("save_weights", filepath)

    def load_weights(self, filepath, *args, **kwargs):
        """Refuses; see `load_model`."""
        raise StateError(
            f"load_weights cannot fill a quantized model, whose weights have no fixed order "
            f"({filepath}). Use quantize_configs.load_model on a folder that save_model wrote."
        )


def forget_deployment(model: keras.Model) -> None:
    """Makes a model that was prepared for deployment one that can be trained and calibrated."""
    if getattr(model, CONTAINER_ATTRIBUTE, None) is None:
        return
    setattr(model, CONTAINER_ATTRIBUTE, None)
    for layer in model.layers:
        if isinstance(layer, LayerWrapper):
            layer.deployed = None
    forget_traces(model)


def mark_trained(model: keras.Model) -> None:
    """Says that a model has other weights than `quantize` and `calibrate` gave it."""
    forget_deployment(model)
    setattr(model, CORRECTIONS_ATTRIBUTE, None)


def forget_traces(model: keras.Model) -> None:
    """Lets Keras trace its loops anew, after layers have changed what they compute."""
    model.train_function = model.test_function = model.predict_function = None


def _refused(name: str, path: object) -> StateError:
    return StateError(
        f"{name} would write a file that no quantized model can be loaded from ({path}). Use "
        "quantize_configs.save_model(model, folder) and load_model(folder)."
    )


class _TracedOnce:
    """The train function of a model, whose variables are made before it is traced.

    TensorFlow traces a step that makes variables twice, and graphs of quantized models are large.
    """

    def __init__(self, model: QuantizedModel, function: Callable[[Any], Any]):
        self._model, self._function, self._is_ready = model, function, False

    def __call__(self, iterator):
        """One step, or several, on the next batches."""
        if not self._is_ready:
            self._make_variables(iterator)
            self._is_ready = True
        return self._function(iterator)

    def _make_variables(self, iterator) -> None:
        model = self._model
        if isinstance(model.optimizer, keras.optimizers.Optimizer):  # those of old make them later
            model.optimizer.build(model.trainable_variables)
        specs = getattr(iterator, "element_spec", None)
        labels = keras.utils.unpack_x_y_sample_weight(specs)[1]
        if len(model.outputs) > 1 or not isinstance(labels, tf.TensorSpec):
            return  # Keras finds out in the first trace what belongs to what
        output = tf.TensorSpec(model.outputs[0].shape, model.outputs[0].dtype)
        if not model.compiled_loss.built:
            model.compiled_loss.build(output)
        if not model.compiled_metrics.built:
            model.compiled_metrics.build(output, labels)


class _BatchRanges(keras.callbacks.Callback):
    """Validation inside `fit` with the ranges of each batch, where no range is stored."""

    def on_test_begin(self, logs=None):
        """Lets quantizers without a range take that of each batch."""
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(ranges_of_batches(self.model))

    def on_test_end(self, logs=None):
        """Forgets the ranges."""
        self._stack.close()


@contextlib.contextmanager
def ranges_of_batches(model: keras.Model) -> Iterator[None]:
    """Quantizers that have no range yet take that of each batch outside training, and keep none."""
    waiting = [
        layer._output_quantizer_vars
        for layer in model.layers
        if "accumulating" in getattr(layer, "_output_quantizer_vars", {})
    ]
    waiting = [variables for variables in waiting if float(variables["samples"]) == 0.0]
    for variables in waiting:
        variables["accumulating"].assign(True)
    try:
        yield
    finally:
        for variables in waiting:
            variables["accumulating"].assign(False)
            for role in ("samples", "range_low", "range_high"):
                variables[role].assign(np.zeros([], np.float32))
