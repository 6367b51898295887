"""inspect: layers, types, bits, bytes, delegation and metadata, of our files and of others."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras
from tflite_tools import FlatbufferError
from tflite_tools.flatbuffer.metadata import read_metadata

layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(0, 1, (32, 8, 8, 4)).astype(np.float32)
LABELS = ["cat", "dog", "horse"]


def float_model():
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(images)
    x = layers.Conv2D(8, 1, activation="relu", name="pointwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(3, activation="softmax", name="classes")(x))


@pytest.fixture(scope="module")
def model():
    model = quantize(float_model(), BitPolicy((8, 8), {"conv": (3, 8), "pointwise": (2, 4)}))
    calibrate(model, [IMAGES])
    prepare_for_deployment(model)
    return model


@pytest.fixture(scope="module")
def flatbuffer(model):
    return tflite_tools.convert(
        model,
        input_type="uint8",
        pixel_range=(0.0, 1.0),
        labels=LABELS,
        metadata={"architecture": {"depth": 2}},
    )


def test_our_file(flatbuffer, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(flatbuffer)
    found = tflite_tools.inspect(path)
    assert found.file_bytes == len(flatbuffer)
    assert found.signatures == ("serving_default",)
    assert found.inputs == (("image", "UINT8", (1, 8, 8, 4)),)
    assert found.labels == tuple(LABELS)
    assert found.partitions == 1
    assert {layer.delegate for layer in found.layers} == {"XNNPACK"}
    by_weights = {
        layer.name: (layer.operator, layer.weight_type, layer.weight_bits, layer.activation_bits)
        for layer in found.layers
        if layer.weight_type != "-"
    }
    assert set(by_weights) == {"conv", "pointwise", "classes"}
    quantize(float_model(), BitPolicy(layers=dict.fromkeys(by_weights, (4, 4))))  # are its names
    assert sorted(by_weights.values()) == [
        ("CONV_2D", "INT8", 3, 8),
        ("FULLY_CONNECTED", "INT2", 2, 4),
        ("FULLY_CONNECTED", "INT8", 8, 8),
    ]
    assert found.metadata["architecture"] == {"depth": 2}
    assert found.metadata["bits"]["conv"] == [3, 8]
    assert found.metadata["writer"].startswith("qfa_tf")
    (packed,) = (layer for layer in found.layers if layer.weight_type == "INT2")
    assert packed.constant_bytes == 8 * 8 // 4 + 8 * 4
    assert {layer.tensor for layer in found.layers} > {"classes"}
    text = str(found)
    assert "1 partition(s), 0 operators outside" in text
    assert "cat, dog, horse" in text
    assert found.as_dict()["constant_bytes"] == found.constant_bytes


def test_entries_added_later_change_nothing_else(flatbuffer, model):
    more = tflite_tools.with_metadata(flatbuffer, {"accuracy": {"litert": 0.5}})
    assert read_metadata(more) == {**read_metadata(flatbuffer), "accuracy": {"litert": 0.5}}
    report = tflite_tools.verify(more, model, IMAGES, integer_images=4)
    assert report.mismatches == 0
    assert report.top1_agreement == 1.0


def test_file_of_another_converter():
    converter = tf.lite.TFLiteConverter.from_keras_model(float_model())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    found = tflite_tools.inspect(content)
    assert found.metadata is None
    assert found.labels == ()
    assert found.partitions >= 1
    assert {"CONV_2D", "SOFTMAX"} <= {layer.operator for layer in found.layers}
    assert found.inputs[0][1:] == ("FLOAT32", (1, 8, 8, 4))
    added = tflite_tools.with_metadata(content, {"labels": LABELS})
    assert tflite_tools.inspect(added).labels == tuple(LABELS)


def test_what_is_no_model(tmp_path):
    with pytest.raises(FlatbufferError, match=r"are no \.tflite file"):
        tflite_tools.inspect(b"PK")
    with pytest.raises(FlatbufferError, match="is damaged"):
        tflite_tools.inspect(b"\xff\xff\xff\x7fTFL3")
    with pytest.raises(FileNotFoundError):
        tflite_tools.inspect(tmp_path / "missing.tflite")


def test_labels_must_fit(model):
    with pytest.raises(ValueError, match=r"has 3 classes and needs as many labels\. Received: 2"):
        tflite_tools.convert(model, labels=["a", "b"])


@pytest.mark.parametrize("output_type", ["float32", "int8", "uint8"])
@pytest.mark.parametrize("image", [("uint8", (0.0, 1.0)), ("int8", (-1.0, 1.0)), ("int8", None)])
def test_image_types(model, image, output_type):
    input_type, pixel_range = image
    content = tflite_tools.convert(
        model, input_type=input_type, pixel_range=pixel_range, output_type=output_type
    )
    report = tflite_tools.verify(content, model, IMAGES, integer_images=8)
    assert report.mismatches == 0
    fallbacks = report.integers.kernel_sets[0].fallbacks
    assert len(fallbacks) == (output_type == "uint8")  # the QUANTIZE of the output
    tolerance = 1e-5 if output_type == "float32" else 1 / 256
    assert report.largest_output_difference <= tolerance
    found = tflite_tools.inspect(content, delegation=False)
    assert found.inputs[0][1] == input_type.upper()
    assert found.outputs[0][1] == output_type.upper()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_type": "uint8"}, "what the bytes 0 and 255 stand for. Pass pixel_range="),
        ({"pixel_range": (1.0, 0.0)}, "low below high"),
        ({"pixel_range": "wide"}, "pixel_range must be two numbers"),
        ({"input_type": "int16"}, "input_type must be one of"),
    ],
)
def test_wrong_options(model, options, message):
    with pytest.raises(ValueError, match=message):
        tflite_tools.convert(model, **options)
