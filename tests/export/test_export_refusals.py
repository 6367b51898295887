"""What convert and verify refuse, and that the message names the layer."""

import functools

import numpy as np
import pytest

import tflite_tools
from quantize_configs import (
    BitPolicy,
    UncalibratedError,
    UnsupportedLayerError,
    calibrate,
    quantize,
)
from quantize_configs.keras_backend import keras
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.lowering import lower
from tflite_tools.verification.report import ForeignModelError

layers = keras.layers
SHAPE = (8, 8, 4)
IMAGES = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)


def chain(*parts, shape=SHAPE):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *parts], name="chain")


def calibrated(model, **options):
    model = quantize(model, BitPolicy((4, 4)), **options)
    calibrate(model, [IMAGES])
    return model


def conv(**options):
    return layers.Conv2D(4, 3, name="conv", **options)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: calibrated(chain(conv(), layers.MaxPooling2D()), tensor_quantizers=False),
            None,
            "output of layer 'conv' has no grid.*tensor_quantizers=True",
        ),
        (
            lambda: calibrated(chain(conv(), shape=(None, None, 4))),
            None,
            r"has the shape \(None, None, None, 4\)",
        ),
        (
            lambda: calibrated(chain(conv()), zero_point="fractional"),
            ValueError,
            "'conv.input' has a fractional zero point.*zero_point='integer'",
        ),
        (
            lambda: quantize(chain(conv()), BitPolicy()),
            UncalibratedError,
            "'conv.input' has no range yet. Run quantize_configs.calibrate",
        ),
        (lambda: chain(conv()), ValueError, "weight of layer 'conv' is not quantized"),
        (lambda: layers.Dense(2, name="alone"), TypeError, "must be a Model.*'alone'"),
    ],
)
def test_convert_refuses(build, error, message):
    with pytest.raises(error or UnsupportedLayerError, match=message):
        tflite_tools.convert(build())


@functools.cache
def model():
    return calibrated(chain(conv(), layers.Flatten(name="flatten"), layers.Dense(3, name="dense")))


@pytest.mark.parametrize("option", ["weight_container", "input_type", "output_type"])
def test_unknown_options(option):
    with pytest.raises(ValueError, match=f"{option} must be one of .*Received: 'int16'"):
        tflite_tools.convert(model(), **{option: "int16"})


def test_verify_refuses_the_file_of_another_model():
    flatbuffer = tflite_tools.convert(model())
    bias = model().get_layer("quant_dense").layer.bias
    bias.assign(bias + 1.0)
    with pytest.raises(ForeignModelError, match="from this one before it changed"):
        tflite_tools.verify(flatbuffer, model(), IMAGES)
    other = calibrated(chain(conv(), layers.Flatten()))
    with pytest.raises(ForeignModelError, match="another model"):
        tflite_tools.verify(flatbuffer, other, IMAGES)
    with pytest.raises(ForeignModelError, match=r"not written by tflite_tools\.convert"):
        tflite_tools.verify(emit(lower(model())), model(), IMAGES)


def test_verify_refuses_wrong_images_and_labels():
    flatbuffer = tflite_tools.convert(model())
    for images in (IMAGES[:, :6], IMAGES[:0], IMAGES[0]):
        with pytest.raises(ValueError, match=r"of the shape \(8, 8, 4\). Received"):
            tflite_tools.verify(flatbuffer, model(), images)
    with pytest.raises(ValueError, match=r"need as many labels\. Received the shape \(3,\)"):
        tflite_tools.verify(flatbuffer, model(), IMAGES, labels=np.zeros(3, int))


def test_verify_takes_labels_for_outputs_that_there_are():
    images = keras.Input(SHAPE)
    two = calibrated(keras.Model(images, [layers.Conv2D(4, 1)(images), layers.Dense(2)(images)]))
    content = tflite_tools.convert(two)
    assert tflite_tools.verify(content, two, IMAGES).mismatches == 0
    with pytest.raises(ValueError, match="Received"):
        tflite_tools.verify(content, two, IMAGES, labels={"nothing": np.zeros(4, int)})


def test_report_as_plain_data():
    report = tflite_tools.verify(
        tflite_tools.convert(model(), metadata={"note": 1}),
        model(),
        IMAGES,
        labels=np.zeros(4, int),
        kernel_sets=["builtin"],
    )
    plain = report.as_dict()
    assert plain["mismatches"] == 0
    assert plain["elements"] == report.elements > 0
    shares = {0.0, 0.25, 0.5, 0.75, 1.0}  # of four images
    assert {plain["keras_accuracy"], plain["litert_accuracy"]} <= shares
    assert [item["kernel_set"] for item in plain["integers"]["kernel_sets"]] == ["builtin"]
    assert "top-1 agreement with Keras" in str(report)
