"""Untrained models at the edges of what can be exported: still exact on every tensor."""

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import user_models
from ai_edge_litert import schema_py_generated as schema

import tflite_tools
from quantize_configs import (
    BatchQuantizer,
    BitPolicy,
    BitWidthScheme,
    LayerQuantizeConfig,
    LSQQuantizer,
    calibrate,
    prepare_for_deployment,
    quantize,
    quantize_scope,
)
from quantize_configs.keras_backend import keras
from quantize_configs.saving import load_model, named_weights, save_model
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
SHAPE = (8, 8, 4)
IMAGES = np.random.default_rng(0).normal(0.3, 1.0, (64, *SHAPE)).astype(np.float32)
FOUR_BITS = BitPolicy((4, 4))


def chain(*parts):
    return keras.Sequential([keras.Input(SHAPE), *parts])


def quantized(model, policy):
    model = quantize(model, policy)
    calibrate(model, [IMAGES[:32], IMAGES[32:]])
    prepare_for_deployment(model)
    return model


def identities():
    """Activation("linear") wherever one can stand."""
    images = keras.Input(SHAPE)
    x = layers.Activation("linear", name="at_start")(images)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.Activation("linear", name="after_relu")(x)
    y = layers.Conv2D(6, 1, name="branch")(x)
    x = layers.Activation("linear", name="after_sum")(layers.Add(name="sum")([x, y]))
    x = layers.Activation("linear", name="twice")(x)
    x = layers.Conv2D(6, 1, name="last")(x)
    x = layers.Activation("linear", name="before_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Activation("linear", name="after_pool")(layers.Dropout(0.5, name="dropout")(x))
    return quantized(keras.Model(images, layers.Dense(5, name="logits")(x)), FOUR_BITS)


def with_gains(gains, center, policy=FOUR_BITS, offset=1.0):
    keras.utils.set_random_seed(0)
    model = chain(
        layers.Conv2D(8, 3, name="conv"),
        layers.BatchNormalization(center=center, name="bn"),
        layers.ReLU(name="relu"),
        layers.Conv2D(8, 1, name="pointwise"),
        layers.BatchNormalization(center=center, name="last_bn"),
        layers.Flatten(name="flatten"),
        layers.Dense(5, name="logits"),
    )
    for name in ("bn", "last_bn"):
        layer = model.get_layer(name)
        layer.gamma.assign(np.resize(gains, 8))
        kernel = model.get_layer("pointwise").kernel
        kernel.assign(np.where(np.arange(8) == 3, -2.0, kernel))  # the lowest code occurs
        layer.moving_mean.assign(np.linspace(-0.3, 0.3, 8))
        if center:
            layer.beta.assign(offset * np.linspace(-0.5, 2.0, 8))
    return quantized(model, policy)


def pools():
    parts = (
        layers.MaxPooling2D(name="first"),
        layers.Conv2D(6, 3, padding="same", name="conv"),
        layers.AveragePooling2D(2, padding="same", name="even"),
        layers.Conv2D(6, 1, activation="relu", name="pointwise"),
        layers.AveragePooling2D(2, 1, name="overlapping"),
        layers.ReLU(name="relu"),
        layers.GlobalAveragePooling2D(keepdims=True, name="mean"),
        layers.MaxPooling2D(1, padding="same", name="last"),
    )
    return quantized(chain(*parts), FOUR_BITS)


def other_bits():
    parts = (
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
        layers.BatchNormalization(name="bn"),
        layers.ReLU(6.0, name="relu"),
        layers.Reshape((36, 8), name="reshape"),
        layers.Dense(8, name="on_rows", activation="relu"),
        layers.Flatten(name="flatten"),
        layers.Dense(5, name="logits"),
    )
    policy = BitPolicy((5, 7), {"depthwise": (6, 6), "on_rows": (7, 5)})
    return quantized(chain(*parts), policy)


def annotated_by_the_user():
    """Quantizers where the user put them, 8-bit weights on the full range [-128, 127]."""
    annotate = tfmot.quantization.keras.quantize_annotate_layer

    def add(x, layer, weight=None, output=None):
        return annotate(layer, LayerQuantizeConfig(weight, output))(x)

    images = keras.Input(SHAPE)
    x = add(images, layers.Activation("linear", name="start"), None, BatchQuantizer(8))
    x = add(x, layers.Conv2D(8, 3, name="conv"), LSQQuantizer(8, narrow_bits=()))
    x = add(x, layers.ReLU(name="relu"), None, BatchQuantizer(4))
    x = add(x, layers.MaxPooling2D(name="pool"))
    x = add(x, layers.Activation("linear", name="again"), None, BatchQuantizer(3))
    x = add(x, layers.Conv2D(8, 1, name="pointwise"), LSQQuantizer(2), BatchQuantizer(4))
    x = add(x, layers.GlobalAveragePooling2D(name="mean"), None, BatchQuantizer(8))
    x = add(x, layers.Dense(5, name="logits"), LSQQuantizer(4), BatchQuantizer(8))
    with quantize_scope():
        model = tfmot.quantization.keras.quantize_apply(keras.Model(images, x), BitWidthScheme())
    for name, weight in named_weights(model).items():  # as training leaves them
        if "theta" in name:
            weight.assign([0.1])
    calibrate(model, [IMAGES])
    prepare_for_deployment(model)
    return model


MODELS = {
    "identities": identities,
    "vanishing gains": lambda: with_gains([0.0, 1e-12, 1e-6, 1.0], center=True),
    "all gains zero": lambda: with_gains([0.0], center=True),
    "vanishing gains, 8 bits": lambda: with_gains([0.0, 1e-12, 1.0], True, BitPolicy((8, 8))),
    "gains zero, no offset": lambda: with_gains([0.0, 1.0], center=False),
    "negative gains": lambda: with_gains([-1.0, 0.7], center=True),
    "pools": pools,
    "other bits": other_bits,
    "annotated by the user": annotated_by_the_user,
}


@pytest.mark.parametrize("name", MODELS)
def test_exact_and_equal_to_keras(name):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    flatbuffer = tflite_tools.convert(model)
    report = tflite_tools.verify(flatbuffer, model, IMAGES, integer_images=16)
    xnnpack, *_ = report.integers.kernel_sets
    assert (report.mismatches, xnnpack.partitions, xnnpack.fallbacks) == (0, 1, ())
    assert report.largest_output_difference < np.inf
    shares = user_models.differing_codes(model, IMAGES)
    assert {name: share for name, share in shares.items() if share > 2e-3} == {}


def weight_types(flatbuffer):
    """Tensor type by layer, for every weight."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    names = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    return {
        tensor.name.decode().removesuffix(".weight"): names[tensor.type]
        for tensor in model.subgraphs[0].tensors
        if tensor.name.endswith(b".weight")
    }


def layers_of_all_kinds(bits, channels=8):
    keras.utils.set_random_seed(0)
    model = chain(
        layers.Conv2D(channels, 3, name="conv"),
        layers.Conv2D(channels, 1, name="pointwise"),
        layers.Conv2D(channels, 1, 2, name="strided"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.Flatten(name="flatten"),
        layers.Dense(64, name="dense"),
    )
    return quantized(model, BitPolicy((bits, 4)))


PACKED = {8: "INT8", 5: "INT8", 4: "INT4", 3: "INT4", 2: "INT2"}


@pytest.fixture(scope="module")
def by_bits():
    return {bits: layers_of_all_kinds(bits) for bits in PACKED}


def converted(model, container):
    prepare_for_deployment(model, container)
    return tflite_tools.convert(model, weight_container=container)


def test_a_model_prepared_for_another_container_is_refused(by_bits, tmp_path):
    """Its biases would be rounded twice, the second time away from what Keras computes."""
    model = by_bits[4]
    prepare_for_deployment(model, "int8")
    assert set(weight_types(tflite_tools.convert(model)).values()) == {"INT8"}
    for refused in ("auto", "packed"):
        with pytest.raises(ValueError, match=rf"for weight_container='int8'; '{refused}' would"):
            tflite_tools.convert(model, weight_container=refused)
    save_model(model, tmp_path / "model")
    with pytest.raises(ValueError, match=r"prepare the model for 'auto'"):
        tflite_tools.convert(load_model(tmp_path / "model"), weight_container="auto")
    prepare_for_deployment(model, "packed")
    assert weight_types(tflite_tools.convert(model, weight_container="auto"))["dense"] == "INT4"
    with pytest.raises(ValueError, match=r"must be one of .*Received: 'int4'"):
        prepare_for_deployment(model, "int4")


@pytest.mark.parametrize("bits", PACKED)
def test_low_bit_weights_of_pointwise_and_dense_layers_are_packed(by_bits, bits):
    types = weight_types(converted(by_bits[bits], "auto"))
    packed = {"pointwise", "dense"}
    assert types == {
        name: PACKED[bits] if name in packed else "INT8"
        for name in ("conv", "pointwise", "strided", "depthwise", "dense")
    }
    plain = weight_types(converted(by_bits[bits], "int8"))
    assert set(plain.values()) == {"INT8"}


def weight_bytes(flatbuffer):
    """Bytes that the buffers of the weights take, by layer."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    return {
        tensor.name.decode().removesuffix(".weight"): len(model.buffers[tensor.buffer].data)
        for tensor in model.subgraphs[0].tensors
        if tensor.name.endswith(b".weight")
    }


def test_fewer_bits_make_smaller_files(by_bits):
    """Scales and biases depend on the processor's floats, and equal ones share a buffer: whole
    files are compared only where the weights differ by far more than these."""
    for bits, model in by_bits.items():
        packed_bits = int(PACKED[bits].removeprefix("INT"))
        auto, plain = (converted(model, container) for container in ("auto", "int8"))
        saved = weight_bytes(plain)
        for name, size in weight_bytes(auto).items():
            packed = name in ("pointwise", "dense")
            assert size == (saved[name] * packed_bits // 8 if packed else saved[name])
        fewer = sum(saved.values()) - sum(weight_bytes(auto).values())
        assert (fewer > 0) == (bits <= 4)
        assert len(plain) - len(auto) > fewer // 2 or fewer == 0


def test_odd_numbers_of_channels_are_not_packed():
    types = weight_types(tflite_tools.convert(layers_of_all_kinds(4, channels=7)))
    assert types["pointwise"] == "INT8"


def test_flipped_rows_need_the_next_container():
    """A negative gain turns -2 into 2, which INT2 does not hold.

    `quantize` turns such channels of the float model over; training can still make one.
    """
    for gains in ([1.0], [1.0, -1.0]):
        model = with_gains(gains, True, BitPolicy((2, 4)))
        assert weight_types(tflite_tools.convert(model))["pointwise"] == "INT2"
    gamma = WrappedModel(model).wrapper("last_bn").layer.gamma
    gamma.assign(-gamma)
    assert weight_types(tflite_tools.convert(model))["pointwise"] == "INT4"
