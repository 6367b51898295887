"""How an image enters a file: in no operator of floats wherever integers give the same codes."""

import numpy as np
import pytest

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.deployment import _move_offset
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel
from tflite_tools.lowering.images import Pixels
from tflite_tools.verification.model_inputs import as_inputs

layers = keras.layers
SHAPE = (8, 8, 3)
MEANS, VARIANCES = [120.0, 110.0, 100.0], [3000.0, 2500.0, 4000.0]
FRONTS = {
    "0 to 1": lambda: layers.Rescaling(1 / 255, name="front"),
    "-1 to 1": lambda: layers.Rescaling(1 / 127.5, -1.0, name="front"),
    "channels": lambda: layers.Normalization(mean=MEANS, variance=VARIANCES, name="front"),
    "one mean": lambda: layers.Normalization(mean=110.3, variance=3100.0, axis=None, name="front"),
}
TABLE, WHOLE = ["DEQUANTIZE", "QUANTIZE"], []
OPERATORS = {
    # Front, bits of the first layer, type of the input, runtime: operators over the image.
    ("0 to 1", 8, "uint8", "xnnpack"): TABLE,
    ("0 to 1", 8, "int8", "xnnpack"): WHOLE,
    ("0 to 1", 4, "uint8", "xnnpack"): TABLE,
    ("0 to 1", 8, "uint8", "reference"): ["QUANTIZE"],
    ("-1 to 1", 8, "uint8", "xnnpack"): TABLE,
    ("-1 to 1", 8, "int8", "xnnpack"): WHOLE,
    ("-1 to 1", 4, "uint8", "xnnpack"): TABLE,
    ("-1 to 1", 8, "uint8", "builtin"): ["QUANTIZE"],
    ("-1 to 1", 8, "int8", "reference"): WHOLE,
    ("one mean", 8, "int8", "xnnpack"): WHOLE,
    ("channels", 8, "uint8", "xnnpack"): [*TABLE, "DEPTHWISE_CONV_2D"],
    ("channels", 8, "int8", "xnnpack"): ["DEPTHWISE_CONV_2D"],
    # Its grid begins above some bytes, whose codes a QUANTIZE cuts off.
    ("channels", 4, "int8", "xnnpack"): ["DEPTHWISE_CONV_2D", "QUANTIZE"],
}


def network(front, padding="valid"):
    image = keras.Input(SHAPE, name="image")
    x = image if front is None else front(image)
    x = layers.Conv2D(6, 3, padding=padding, name="first")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def images_of_bytes(count=32):
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE)).astype(np.float32)


def quantized_network(front, bits, padding="valid", images=None):
    keras.utils.set_random_seed(0)
    float_model = network(front, padding)
    model = quantize(float_model, BitPolicy((bits, bits)))
    calibrate(model, images_of_bytes() if images is None else images)
    return float_model, model


def operators_of_image(content):
    found = [layer.operator for layer in tflite_tools.inspect(content, delegation=False).layers]
    return found[: found.index("CONV_2D")]


@pytest.mark.parametrize("case", list(OPERATORS), ids=lambda case: " ".join(map(str, case)))
def test_operators_of_an_image(case):
    front, bits, input_type, runtime = case
    _, model = quantized_network(FRONTS[front](), bits)
    prepare_for_deployment(model, runtime=runtime)
    content = tflite_tools.convert(model, input_type=input_type)
    assert operators_of_image(content) == OPERATORS[case]
    report = tflite_tools.verify(content, model, images_of_bytes(), integer_images=4)
    assert report.mismatches == 0
    assert report.layers.first_difference is None, str(report.layers)
    assert report.largest_output_difference == 0
    assert report.integers.float_operators == ()
    if runtime == "xnnpack":
        assert report.integers.kernel_sets[0].fallbacks == ()


@pytest.mark.parametrize("front", list(FRONTS))
def test_eight_bits_of_an_image_lose_nothing(front):
    """What the first layer reads of all bytes is what the float model reads."""
    float_model, model = quantized_network(FRONTS[front](), 8)
    images = images_of_bytes()
    prepare_for_deployment(model)
    reads = keras.Model(model.input, WrappedModel(model).wrapper("first.input").output)
    expected = float_model.get_layer("front")(images).numpy()
    # Half a byte where the byte of zero moved, half a step where channels share one grid.
    step = np.abs(expected[images == 255.0].max() - expected[images == 0.0].min()) / 255
    assert np.abs(reads(images).numpy() - expected).max() < 0.52 * step


def test_a_moved_offset_leaves_the_sums():
    """Where nothing is padded, the first layer makes on average what it made before."""
    _, model = quantized_network(FRONTS["-1 to 1"](), 8)
    images = images_of_bytes()
    wrapped = WrappedModel(model)
    reader = wrapped.graph.sole_reader("first")

    def mean_of_first():
        made = keras.Model(model.input, wrapped.wrapper(reader.name).output)(images)
        return made.numpy().mean((0, 1, 2))

    before, offset = mean_of_first(), -128 / 127.5
    assert _move_offset(wrapped, wrapped.graph.by_name["front"], offset)
    np.testing.assert_allclose(mean_of_first(), before, atol=5e-4)
    wrapped.wrapper("front").layer.offset = -1.0  # without what went into the normalization
    assert np.abs(mean_of_first() - before).max() > 2e-3


def test_an_offset_moves_once():
    _, model = quantized_network(FRONTS["-1 to 1"](), 8)
    for _ in range(2):
        prepare_for_deployment(model)
        assert WrappedModel(model).wrapper("front").layer.offset == pytest.approx(-128 / 127.5)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_images_that_are_no_bytes_keep_their_grid(padding):
    images = images_of_bytes() / 255
    _, model = quantized_network(layers.Rescaling(2.0, -1.0, name="front"), 8, padding, images)
    before = WrappedModel(model).activation_grid("first.input")
    prepare_for_deployment(model)
    after = WrappedModel(model)
    assert after.activation_grid("first.input") == before
    assert after.wrapper("front").layer.offset == -1.0


def test_a_pixel_range_is_what_the_input_of_the_model_takes():
    """Also in front of a Rescaling, whose images may be numbers from 0 to 1."""
    images = images_of_bytes() / 255
    front = layers.Rescaling(2.0, -1.0, name="front")
    _, model = quantized_network(front, 8, images=images)
    prepare_for_deployment(model)
    expected = model(images).numpy()
    for input_type in ("uint8", "int8"):
        content = tflite_tools.convert(model, input_type=input_type, pixel_range=(0.0, 1.0))
        given = as_inputs(content, images)
        assert given.min() == np.iinfo(input_type).min
        (found,) = tflite_tools.run(content, [given]).outputs.values()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        report = tflite_tools.verify(content, model, images, integer_images=2)
        assert report.mismatches == 0
        assert report.largest_output_difference == 0


def test_what_stays_in_float_is_said():
    _, model = quantized_network(FRONTS["channels"](), 8)
    prepare_for_deployment(model)
    report = tflite_tools.verify(tflite_tools.convert(model), model, images_of_bytes(4))
    assert report.integers.float_operators == ("MUL -> front.scaled", "ADD -> front.result")
    assert "in float: MUL -> front.scaled" in str(report.integers)


def test_bytes_of_pixels():
    pixels = Pixels(1 / 255, -0.5)
    assert pixels.zero is None  # 127.5
    assert pixels.then(layers.Rescaling(2.0, 1.0)).zero == 0
    assert Pixels(1 / 128, -1.0).zero == 128
    assert Pixels(-1 / 255, 1.0).zero is None
    assert not pixels.then(layers.Rescaling([1.0, 2.0], 0.0)).is_scalar
    np.testing.assert_array_equal(Pixels(2.0, 1.0).values().ravel(), np.arange(256) * 2 + 1)
