"""A model that is prepared for deployment gives in Keras the codes that LiteRT gives."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from quantize_configs import (
    BitPolicy,
    calibrate,
    load_model,
    prepare_for_deployment,
    quantize,
    save_model,
)
from quantize_configs.activations import HardSigmoid
from quantize_configs.deployment import mark_prepared, prepared_container, prepared_runtime
from quantize_configs.folding import fold_linear
from quantize_configs.integer_sums import EXACT_IN_FLOAT32, _parts
from quantize_configs.keras_backend import keras
from quantize_configs.kernels.registry import KERNELS
from quantize_configs.wrappers import WrappedModel
from tflite_tools.arithmetic.kernel_sets import kernels_of
from tflite_tools.lowering import ConversionOptions, lower
from tflite_tools.reference.interpreter import interpret
from tflite_tools.runtimes.registry import RUNTIMES
from tflite_tools.runtimes.runtime import MissingRuntimeError
from tflite_tools.verification.layers import grid_of

layers = keras.layers
SIZE = 12


def _block(x, number: int, width: int):
    y = layers.Conv2D(width, 1, use_bias=False, name=f"expand_{number}")(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise_{number}")(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(width // 2, 1, activation="relu", name=f"reduce_{number}")(gate)
    gate = HardSigmoid(name=f"gate_{number}")(layers.Conv2D(width, 1, name=f"raise_{number}")(gate))
    y = layers.Multiply()([y, gate])
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False, name=f"project_{number}")(y)
    return layers.Add(name=f"sum_{number}")([x, layers.BatchNormalization()(y)])


def _deep_network() -> keras.Model:
    """Sums, gates, means of windows, a concatenation, and one layer whose sums leave 2^24."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    for number in range(2):
        x = _block(x, number, 16)
    x = layers.Concatenate()([layers.AveragePooling2D(2)(x), layers.MaxPooling2D(2)(x)])
    x = layers.Conv2D(320, 3, padding="same", activation="relu", name="wide")(x)
    x = layers.Conv2D(8, 3, padding="same", name="long")(x)
    x = layers.ReLU(name="long_relu")(x)
    x = layers.Dense(5, name="classifier")(layers.Flatten()(x))
    return keras.Model(image, x)


def _trained(seed: int = 0) -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(seed)
    model = _deep_network()
    images = np.random.default_rng(seed).normal(size=(8, SIZE, SIZE, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    # Weights that are nearly all large, so that the longest sums need their parts.
    long = model.get_layer("long")
    long.kernel.assign(tf.sign(long.kernel) * (0.05 + 0.001 * tf.abs(long.kernel)))
    return model, images


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, np.ndarray]:
    """A float network and images."""
    return _trained()


@pytest.fixture(scope="module")
def eight_bits(trained) -> tuple[keras.Model, np.ndarray]:
    """The network with 8 bits, prepared, and images."""
    model, images = trained
    return _prepared(model, images), images


def _prepared(model, images, bits=(8, 8), container="auto", runtime="xnnpack") -> keras.Model:
    quantized = quantize(model, BitPolicy(bits))
    calibrate(quantized, images)
    prepare_for_deployment(quantized, container, runtime)
    return quantized


def _interpreted(graph, images, runtime) -> dict[str, np.ndarray]:
    """Every tensor, image by image, as on a device."""
    kernel_set, processor = kernels_of(runtime)
    each = [interpret(graph, [image[None]], kernel_set, processor=processor) for image in images]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def _differing(quantized, images, runtime="xnnpack") -> dict[str, int]:
    """Codes in which Keras and the interpreter differ, by tensor."""
    wrapped = WrappedModel(quantized, frozen=True)
    graph = lower(wrapped, ConversionOptions(prepared_container(quantized)))
    expected = _interpreted(graph, images, runtime)
    names = [name for name in graph.activation_names if name in wrapped.graph.by_name]
    names = [name for name in names if graph.tensor(name).quantization is not None]
    tensors = [wrapped.wrapper(name).output for name in names]
    found = keras.Model(quantized.inputs, tensors)(images, training=False)
    result = {}
    for name, values in zip(names, found, strict=True):
        quantization = graph.tensor(name).quantization
        step, zero_point, bits = grid_of(wrapped, name)
        low, high = -zero_point, 2**bits - 1 - zero_point
        ours = np.clip(np.rint(values.numpy() / np.float32(step)), low, high)
        codes = expected[name].astype(np.int64) - quantization.zero_point
        result[name] = int(np.count_nonzero(ours != np.clip(codes, low, high)))
    return result


@pytest.mark.parametrize("runtime", list(KERNELS))
@pytest.mark.parametrize(
    ("bits", "container"), [((8, 8), "auto"), ((4, 8), "int8"), ((3, 4), "auto")]
)
def test_no_code_differs(trained, bits, container, runtime):
    model, images = trained
    container = "int8" if runtime == "micro" else container
    quantized = _prepared(model, images, bits, container, runtime)
    differing = _differing(quantized, images, runtime)
    assert len(differing) > 20
    assert {name: count for name, count in differing.items() if count} == {}


def test_kernel_sets_differ(trained):
    """Otherwise the choice would mean nothing, and the test above little."""
    model, images = trained
    quantized = _prepared(model, images, (3, 4), "int8", "reference")
    assert sum(_differing(quantized, images, "xnnpack").values()) > 0


@pytest.mark.parametrize("runtime", list(KERNELS))
def test_verify_promises_the_kernels_of_the_file(trained, runtime):
    model, images = trained
    if runtime == "micro":
        try:
            RUNTIMES["micro"].launch()
        except MissingRuntimeError as missing:
            pytest.skip(str(missing))
    quantized = _prepared(model, images, (3, 4), "int8")
    content = tflite_tools.convert(quantized, runtime=runtime)
    assert prepared_runtime(quantized) == runtime
    report = tflite_tools.verify(content, quantized, images)
    assert (report.runtime, report.as_dict()["runtime"]) == (runtime, runtime)
    assert report.mismatches == 0
    assert report.layers.first_difference is None, str(report.layers)
    assert report.largest_output_difference == 0
    again = tflite_tools.convert(quantized)  # stays what it was prepared for
    assert again == content


def test_an_unknown_runtime_is_refused_with_the_known_ones(trained):
    model, images = trained
    known = r"runtime must be one of .*xnnpack.*builtin.*reference.* Received: 'npu'"
    with pytest.raises(ValueError, match=known):
        _prepared(model, images, runtime="npu")
    with pytest.raises(ValueError, match=known):
        ConversionOptions(runtime="npu")
    packed = r"'micro' reads no packed weights\. .* with weight_container='int8'\. Received: 'auto'"
    with pytest.raises(ValueError, match=packed):
        _prepared(model, images, runtime="micro")
    with pytest.raises(ValueError, match=packed):
        tflite_tools.convert(_prepared(model, images), runtime="micro")


def test_long_sums_are_added_in_parts(eight_bits):
    quantized, _ = eight_bits
    wrapped = WrappedModel(quantized, frozen=True)
    codes = np.abs(fold_linear(wrapped, wrapped.graph.by_name["long"]).codes).astype(np.int64)
    by_input = codes.reshape(-1, *codes.shape[-2:]).sum(0)
    most = EXACT_IN_FLOAT32 // 255
    assert by_input.sum(0).max() > most
    ends = (0, *_parts(by_input, most), len(by_input))
    assert len(ends) > 2
    for start, end in itertools.pairwise(ends):
        assert by_input[start:end].sum(0).max() * 255 < EXACT_IN_FLOAT32


def test_verify_finds_keras_and_litert_equal(eight_bits):
    quantized, images = eight_bits
    report = tflite_tools.verify(tflite_tools.convert(quantized), quantized, images)
    assert report.mismatches == 0
    assert report.top1_agreement == 1.0


def test_a_saved_model_sums_integers_too(eight_bits, tmp_path):
    quantized, images = eight_bits
    mark_prepared(quantized, "auto", "reference")
    save_model(quantized, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert prepared_runtime(loaded) == "reference"
    assert WrappedModel(loaded).wrapper("stem").deployed is not None
    np.testing.assert_array_equal(loaded(images).numpy(), quantized(images).numpy())
    mark_prepared(quantized, "auto")


CHANGES = {
    "calibrate": lambda model, images: calibrate(model, images),
    "set_weights": lambda model, images: model.set_weights(model.get_weights()),
    "a call in training": lambda model, images: model(images, training=True),
    "fit": lambda model, images: model.fit(images, np.zeros(len(images)), verbose=0),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_what_changes_the_model_ends_its_deployment(change):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3, name="conv"), layers.Flatten()]
    )
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 1)).astype(np.float32)
    quantized = _prepared(model, images)
    quantized.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    wrapper = WrappedModel(quantized).wrapper("conv")
    assert wrapper.deployed is not None
    before = quantized.predict(images, verbose=0)
    CHANGES[change](quantized, images)
    assert wrapper.deployed is None
    assert prepared_container(quantized) is None
    quantized.get_layer("quant_conv").weights[0].assign_add(np.ones((3, 3, 1, 2), np.float32))
    assert not np.array_equal(quantized.predict(images, verbose=0), before)  # traced anew


def test_training_still_reaches_every_weight(eight_bits):
    quantized, images = eight_bits
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized(images, training=True) ** 2)
    gradients = tape.gradient(loss, quantized.trainable_weights)
    assert all(gradient is not None for gradient in gradients)
