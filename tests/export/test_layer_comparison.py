"""verify names the tensor at which a difference begins."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from mobilenet_v3 import SHAPE, mixed_policy

import tflite_tools
from quantize_configs import calibrate, quantize
from quantize_configs.keras_backend import keras
from tflite_tools.verification.layers import compare_layers

IMAGES = 24


def with_changed_scale(flatbuffer, name, factor):
    """The flatbuffer with another scale of one tensor, as a wrong calibration would give it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    (tensor,) = (item for item in model.subgraphs[0].tensors if item.name.decode() == name)
    tensor.quantization.scale = np.asarray(tensor.quantization.scale) * np.float32(factor)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_nothing_differs_as_it_comes(exported_v3):
    report = compare_layers(exported_v3.flatbuffer, exported_v3.model, exported_v3.images[:IMAGES])
    assert report.first_difference is None
    assert len(report.layers) > 15
    assert {layer.bits for layer in report.layers} == {2, 3, 4, 8}
    assert "No tensor differs noticeably" in str(report)


@pytest.mark.parametrize("broken", ["stem.norm", "head.expand.input", "head.expand.norm"])
def test_a_broken_scale_is_found_where_it_is(exported_v3, broken):
    flatbuffer = with_changed_scale(exported_v3.flatbuffer, broken, 1.25)
    report = compare_layers(flatbuffer, exported_v3.model, exported_v3.images[:IMAGES])
    first = report.first_difference
    assert first.name == broken
    assert 0 < first.mean_difference < first.largest_difference
    assert f"The difference begins at {broken!r}" in str(report)
    assert report.as_dict()["first_difference"] == broken


def test_verify_carries_the_layers_and_plots_them(exported_v3, tmp_path):
    report = tflite_tools.verify(
        exported_v3.flatbuffer, exported_v3.model, exported_v3.images[:IMAGES], integer_images=8
    )
    assert report.layers.images == 8
    assert report.as_dict()["layers"]["first_difference"] is None
    path = tmp_path / "layers.png"
    report.layers.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_flatbuffer_of_other_layers_is_refused(exported_v3):
    images = keras.Input(SHAPE, name="other_images")
    x = keras.layers.Conv2D(2, 1, name="other")(images)
    other = quantize(keras.Model(images, x), mixed_policy(keras.Model(images, x)))
    calibrate(other, [exported_v3.images])
    with pytest.raises(ValueError, match="no tensor in common"):
        compare_layers(exported_v3.flatbuffer, other, exported_v3.images)
