"""TFLite Metadata: what other tools read of a file, and that the file computes as before."""

import io
import zipfile

import numpy as np
import pytest

import tflite_tools
from quantize_configs.errors import InvalidInputError
from tflite_tools.flatbuffer import metadata_schema_generated as tables
from tflite_tools.flatbuffer.metadata import read_metadata
from tflite_tools.flatbuffer.task_metadata import ENTRY_NAME, without_task_metadata

LABELS = ["sun", "moon", "stars"]
SIZE = 8


@pytest.fixture(scope="module")
def model():
    from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(0)
    built = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(LABELS)),
        ]
    )
    quantized = quantize(built, BitPolicy((4, 8)))
    calibrate(quantized, images())
    prepare_for_deployment(quantized)
    return quantized


def images():
    return np.random.default_rng(0).random((32, SIZE, SIZE, 3)).astype(np.float32)


def entry(flatbuffer):
    """The metadata as another tool reads it, by the accessors of the schema."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(flatbuffer)
    (found,) = [
        model.Metadata(index)
        for index in range(model.MetadataLength())
        if model.Metadata(index).Name() == ENTRY_NAME.encode()
    ]
    content = model.Buffers(found.Buffer()).DataAsNumpy().tobytes()
    assert tables.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    return tables.ModelMetadata.GetRootAs(content)


@pytest.mark.parametrize(
    ("input_type", "pixel_range", "mean", "std", "limits"),
    [
        ("uint8", (0.0, 1.0), 0.0, 255.0, (0.0, 255.0)),
        ("uint8", (-1.0, 1.0), 127.5, 127.5, (0.0, 255.0)),
        ("float32", (-1.0, 1.0), 127.5, 127.5, (-1.0, 1.0)),
    ],
)
def test_what_is_read_back(model, input_type, pixel_range, mean, std, limits):
    plain = tflite_tools.convert(
        model, input_type=input_type, pixel_range=pixel_range, labels=LABELS
    )
    described = tflite_tools.with_task_metadata(
        plain, name="sky", description="What shines.", pixel_range=pixel_range
    )
    metadata = entry(described)
    assert metadata.Name() == b"sky"
    assert metadata.Description() == b"What shines."
    graph = metadata.SubgraphMetadata(0)
    image, answer = graph.InputTensorMetadata(0), graph.OutputTensorMetadata(0)
    assert image.Name() == b"image"
    assert image.Content().ContentPropertiesType() == tables.ContentProperties.ImageProperties
    options = tables.NormalizationOptionsT.InitFromObj(_options(image))
    np.testing.assert_allclose([options.mean[0], options.std[0]], [mean, std], rtol=1e-6)
    assert (image.Stats().Min(0), image.Stats().Max(0)) == limits
    assert answer.Name() == b"logits"
    file = answer.AssociatedFiles(0)
    assert file.Type() == tables.AssociatedFileType.TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        assert archive.testzip() is None
        assert archive.read(file.Name().decode()).decode().splitlines() == LABELS


def _options(image):
    unit = image.ProcessUnits(0)
    assert unit.OptionsType() == tables.ProcessUnitOptions.NormalizationOptions
    options, table = tables.NormalizationOptions(), unit.Options()
    options.Init(table.Bytes, table.Pos)
    return options


def test_it_computes_the_same_and_can_be_verified_and_extended(model):
    plain = tflite_tools.convert(model, input_type="uint8", pixel_range=(0.0, 1.0), labels=LABELS)
    described = tflite_tools.with_task_metadata(plain, name="sky")
    again = tflite_tools.with_task_metadata(described, name="sky")
    assert again == described, "the same words give the same bytes, also the second time"
    codes = np.rint(images() * 255).astype(np.uint8)
    for one, other in zip(
        tflite_tools.run(plain, [codes]).outputs.values(),
        tflite_tools.run(described, [codes]).outputs.values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert tflite_tools.verify(described, model, images()).mismatches == 0
    assert read_metadata(described)["labels"] == LABELS
    more = tflite_tools.with_metadata(described, {"accuracy": 0.5})
    assert read_metadata(more)["accuracy"] == 0.5
    assert entry(more).Name() == b"sky"
    with zipfile.ZipFile(io.BytesIO(more)) as archive:
        assert archive.namelist() == ["labels.txt"]
    assert without_task_metadata(more) == without_task_metadata(
        tflite_tools.with_metadata(plain, {"accuracy": 0.5})
    )


def test_signature_has_names_a_person_would_choose(model):
    from ai_edge_litert.interpreter import Interpreter

    plain = tflite_tools.convert(model, input_type="uint8", pixel_range=(0.0, 1.0), labels=LABELS)
    described = tflite_tools.with_task_metadata(
        plain, name="sky", output_name="probabilities", probabilities=True
    )
    signature = Interpreter(model_content=described).get_signature_list()["serving_default"]
    assert signature == {"inputs": ["image"], "outputs": ["probabilities"]}
    answer = entry(described).SubgraphMetadata(0).OutputTensorMetadata(0)
    assert (answer.Stats().Min(0), answer.Stats().Max(0)) == (0.0, 1.0)


def test_what_is_refused(model):
    with pytest.raises(InvalidInputError, match="pixel_range"):
        tflite_tools.with_task_metadata(tflite_tools.convert(model), name="sky")
    with pytest.raises(tflite_tools.FlatbufferError):
        tflite_tools.with_task_metadata(b"nothing of the kind", name="sky")
    dense = _dense()
    with pytest.raises(InvalidInputError, match=r"An image is \[1, height, width"):
        tflite_tools.with_task_metadata(tflite_tools.convert(dense), name="sky")


def _dense():
    from quantize_configs import BitPolicy, calibrate, quantize
    from quantize_configs.keras_backend import keras

    built = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    quantized = quantize(built, BitPolicy())
    calibrate(quantized, np.random.default_rng(0).random((32, 4)).astype(np.float32))
    return quantized
