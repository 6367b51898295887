"""`verify` and `compare_float`: several inputs and outputs, labels of any shape, float models."""

import json

import numpy as np
import pytest

import tflite_tools
from quantize_configs import (
    BitPolicy,
    InvalidInputError,
    InvalidTypeError,
    MissingFileError,
    calibrate,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.deployment import prepared_runtime
from quantize_configs.keras_backend import keras

layers = keras.layers
COUNT = 12
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(COUNT, 8, 8, 3)).astype(np.float32)
OTHERS = RNG.normal(size=(COUNT, 5)).astype(np.float32)
XNNPACK = (tflite_tools.KernelSet.XNNPACK,)


def _converted(model, images, bits=(8, 8)):
    quantized = quantize(model, BitPolicy(bits))
    calibrate(quantized, images)
    prepare_for_deployment(quantized)
    return quantized, tflite_tools.convert(quantized)


@pytest.fixture(scope="module")
def two_of_each():
    """A float model with two inputs and outputs, its quantized model and its file."""
    keras.utils.set_random_seed(0)
    image, other = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="other")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    y = layers.Concatenate(name="joined")([x, layers.Dense(4, name="dense")(other)])
    outputs = [layers.Dense(3, name="first")(y), layers.Dense(4, name="second")(x)]
    model = keras.Model([image, other], outputs)
    return model, *_converted(model, [IMAGES, OTHERS])


def test_several_inputs_and_outputs(two_of_each):
    _, quantized, flatbuffer = two_of_each
    answers = [values.argmax(-1) for values in quantized.predict([IMAGES, OTHERS], verbose=0)]
    wrong = (answers[1] + 1) % 4
    by_list = tflite_tools.verify(
        flatbuffer, quantized, [IMAGES, OTHERS], labels=answers, kernel_sets=XNNPACK
    )
    assert by_list.mismatches == 0
    assert [output.name for output in by_list.outputs] == ["first", "second"]
    assert by_list.top1_agreement == 1.0
    assert [output.keras_accuracy for output in by_list.outputs] == [1.0, 1.0]
    by_name = tflite_tools.verify(
        flatbuffer,
        quantized,
        {"other": OTHERS, "image": IMAGES},
        labels={"second": wrong, "first": None},
        kernel_sets=XNNPACK,
    )
    assert by_name.outputs[0].keras_accuracy is None
    assert by_name.litert_accuracy == by_name.outputs[1].litert_accuracy == 0.0
    assert "second: top-1 agreement with Keras 100.00%; accuracy: Keras 0.00%" in str(by_name)
    assert len(json.loads(json.dumps(by_name.as_dict()))["outputs"]) == 2


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES, None, "2 inputs .'image', 'other'.; give a list"),
        ([IMAGES], None, "2 inputs"),
        ({"image": IMAGES}, None, "one entry for each input by name"),
        ([IMAGES, OTHERS[:3]], None, "for the input 'other'.*equally many"),
        ([IMAGES, OTHERS], np.zeros(COUNT), "2 outputs"),
        ([IMAGES, OTHERS], [np.zeros(3), None], "12 images need as many labels"),
    ],
)
def test_what_does_not_fit_several_inputs(two_of_each, images, labels, words):
    _, quantized, flatbuffer = two_of_each
    with pytest.raises(InvalidInputError, match=words):
        tflite_tools.verify(flatbuffer, quantized, images, labels=labels)


def test_against_the_float_model(two_of_each, tmp_path):
    model, quantized, flatbuffer = two_of_each
    report = tflite_tools.compare_float(flatbuffer, model, [IMAGES, OTHERS])
    assert report.images == COUNT
    names = [layer.name for layer in report.layers]
    assert {"conv", "mean", "first", "second"} <= set(names)
    ratios = [layer.sqnr for layer in report.worst_first]
    assert ratios == sorted(ratios)
    found = tflite_tools.run(flatbuffer, [IMAGES, OTHERS]).outputs
    for output, expected in zip(
        report.outputs, model.predict([IMAGES, OTHERS], verbose=0), strict=True
    ):
        values = found[f"{output.name}.float"]
        noise = np.sum((values - expected) ** 2, dtype=np.float64)
        sqnr = 10 * np.log10(np.sum(expected**2, dtype=np.float64) / noise)
        assert output.sqnr == pytest.approx(sqnr, abs=0.01)
        assert output.equal_answers == np.mean(values.argmax(-1) == expected.argmax(-1))
        assert output.sqnr > 20
    assert str(report).splitlines()[2].startswith("tensor")
    json.dumps(report.as_dict(), allow_nan=False)
    report.plot(tmp_path / "layers.png")
    assert (tmp_path / "layers.png").stat().st_size > 1000
    verified = tflite_tools.verify(
        flatbuffer, quantized, [IMAGES, OTHERS], float_model=model, kernel_sets=XNNPACK
    )
    assert verified.against_float == report
    assert "first: the answer of the float model on" in str(verified)


def test_fewer_bits_are_farther_from_the_float_model(two_of_each):
    model, _, flatbuffer = two_of_each
    _, coarse = _converted(model, [IMAGES, OTHERS], (3, 4))
    fine, low = (
        tflite_tools.compare_float(one, model, [IMAGES, OTHERS]) for one in (flatbuffer, coarse)
    )
    for before, after in zip(fine.outputs, low.outputs, strict=True):
        assert before.sqnr > after.sqnr + 6


def test_files_of_bytes_against_the_float_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6, 6, 2), name="image"), layers.Conv2D(4, 3), layers.Flatten()]
    )
    images = np.round(RNG.random((8, 6, 6, 2)) * 255).astype(np.float32) / np.float32(255)
    quantized = quantize(model, BitPolicy((8, 8)))
    calibrate(quantized, images)
    prepare_for_deployment(quantized)
    reports = [
        tflite_tools.compare_float(tflite_tools.convert(quantized, **options), model, images)
        for options in ({}, {"input_type": "uint8", "pixel_range": (0.0, 1.0)})
    ]
    assert reports[1].outputs[0].sqnr > 35
    assert reports[1].outputs[0].sqnr == pytest.approx(reports[0].outputs[0].sqnr, abs=3)


def test_outputs_that_end_in_float_are_compared():
    keras.utils.set_random_seed(0)
    ends = [layers.Dense(4, name="logits"), layers.Softmax(name="answers")]
    model = keras.Sequential([keras.Input((5,)), *ends])
    _, flatbuffer = _converted(model, OTHERS)
    report = tflite_tools.compare_float(flatbuffer, model, OTHERS)
    assert [output.name for output in report.outputs] == ["answers"]
    (found,) = tflite_tools.run(flatbuffer, [OTHERS]).outputs.values()
    expected = model.predict(OTHERS, verbose=0)
    noise = np.sum((found - expected) ** 2, dtype=np.float64)
    sqnr = 10 * np.log10(np.sum(expected**2, dtype=np.float64) / noise)
    assert report.outputs[0].sqnr == pytest.approx(sqnr, abs=0.01)


def test_another_float_model_is_refused(two_of_each):
    _, _, flatbuffer = two_of_each
    other = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(InvalidInputError, match="converted from another model"):
        tflite_tools.compare_float(flatbuffer, other, np.zeros((1, 2)))


def test_files_of_other_kernels_are_compared_with_theirs(two_of_each):
    """Whatever the model was converted for since."""
    _, quantized, _ = two_of_each
    images = [IMAGES, OTHERS]
    for_builtin = tflite_tools.convert(quantized, runtime="builtin")
    tflite_tools.convert(quantized, runtime="xnnpack")
    report = tflite_tools.verify(for_builtin, quantized, images)
    assert (report.runtime, report.layers.first_difference) == ("builtin", None)
    assert prepared_runtime(quantized) == "xnnpack"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_threads": 0}, "num_threads must be a whole number of at least 1"),
        ({"integer_images": -3}, "integer_images must be a whole number"),
        ({"kernel_sets": ["cpu"]}, "some of xnnpack, builtin, reference"),
        ({"images": [np.full_like(IMAGES, np.nan), OTHERS]}, "are not finite"),
    ],
)
def test_arguments_of_verify_are_checked(two_of_each, changes, words):
    _, quantized, flatbuffer = two_of_each
    with pytest.raises(InvalidInputError, match=words):
        tflite_tools.verify(flatbuffer, quantized, **({"images": [IMAGES, OTHERS]} | changes))


def test_labels_in_every_shape():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="logits")])
    quantized, flatbuffer = _converted(model, OTHERS)
    answers = quantized.predict(OTHERS, verbose=0).argmax(-1)
    for labels in (answers, answers[:, None], np.eye(4)[answers], list(answers)):
        report = tflite_tools.verify(
            flatbuffer, quantized, OTHERS, labels=labels, kernel_sets=XNNPACK
        )
        assert report.keras_accuracy == report.litert_accuracy == 1.0
    with pytest.raises(InvalidInputError, match="labels must have the shape"):
        tflite_tools.verify(flatbuffer, quantized, OTHERS, labels=np.zeros((COUNT, 1, 1)))


def test_answers_of_the_float_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="logits")])
    quantized, flatbuffer = _converted(model, OTHERS)
    expected = model.predict(OTHERS, verbose=0)
    (outputs,) = tflite_tools.run(flatbuffer, [OTHERS]).outputs.values()
    share = np.mean(outputs.argmax(-1) == expected.argmax(-1))
    for answers in (expected, expected.argmax(-1)):
        report = tflite_tools.verify(
            flatbuffer, quantized, OTHERS, float_answers=answers, kernel_sets=XNNPACK
        )
        assert report.equal_answers == report.as_dict()["equal_answers"] == share > 0.8
        assert f"the answer of the float model on {share:.2%} of {COUNT} images" in str(report)
    wrong = (outputs.argmax(-1) + 1) % 4
    report = tflite_tools.verify(
        flatbuffer, quantized, OTHERS, float_answers=wrong, kernel_sets=XNNPACK
    )
    assert report.equal_answers == 0


def test_a_path_stands_for_its_bytes(two_of_each, tmp_path):
    model, quantized, flatbuffer = two_of_each
    path = tmp_path / "model.tflite"
    path.write_bytes(flatbuffer)
    images = [IMAGES[:2], OTHERS[:2]]
    for function in (
        lambda file: tflite_tools.verify(file, quantized, images, kernel_sets=XNNPACK),
        lambda file: tflite_tools.compare_float(file, model, images),
        lambda file: tflite_tools.inspect(file, delegation=False),
    ):
        expected = function(flatbuffer)
        assert function(path) == function(str(path)) == expected
        with pytest.raises(MissingFileError, match=r"There is no model at .*other.tflite"):
            function(tmp_path / "other.tflite")
        with pytest.raises(InvalidTypeError, match=r"bytes of a .tflite file or as its path.*int"):
            function(3)
