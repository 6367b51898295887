"""Models that compute in less than float32, taken as models that compute in float32."""

import contextlib
from collections.abc import Iterator

from quantize_configs.keras_backend import keras

ENOUGH = (None, "float32", "float64")


def in_float32(model: keras.Model) -> keras.Model:
    """A copy of a model in which what computed in 16 bits computes in float32.

    Fake quantization needs the bits: codes of 8 bits have no room in the 8 to 11 of such types.
    Variables of such a model (`mixed_float16`, `mixed_bfloat16`) are float32 anyway.

    Returns:
      `model` itself where nothing computes in 16 bits.
    """
    if all(layer.compute_dtype in ENOUGH for layer in model._flatten_layers()):
        return model

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return in_float32(layer)
        config = layer.get_config()
        return type(layer).from_config({**config, "dtype": "float32"})

    with float32_policy():
        copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """New layers compute in float32 where Keras' global policy asks for fewer bits."""
    before = keras.mixed_precision.global_policy()
    if before.compute_dtype in ENOUGH:  # a policy that was never set follows the type of floats
        yield
        return
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
