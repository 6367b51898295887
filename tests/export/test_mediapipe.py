"""MediaPipe Tasks takes a file as it is, knows its classes by name, and gives LiteRT's answers."""

import json
import subprocess
import sys

import numpy as np
import pytest

import tflite_tools
from tflite_tools.runtimes.runtime import installed_place

PYTHON = installed_place() / "mediapipe" / "bin" / "python"
LABELS = [f"digit {number}" for number in range(10)]
IMAGES = 200
CLIENT = """
import json, sys
import numpy as np
import mediapipe
from mediapipe.tasks.python import vision

try:
    classifier = vision.ImageClassifier.create_from_model_path(sys.argv[1])
except ValueError as error:
    print(json.dumps({"refusal": str(error)}))
    sys.exit()
answers = []
for image in np.load(sys.argv[2]):
    pixels = np.ascontiguousarray(image)
    shown = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    best = classifier.classify(shown).classifications[0].categories[0]
    answers.append([best.index, best.category_name])
print(json.dumps({"answers": answers}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="needs sh scripts/install_runtimes.sh mediapipe"
    ),
]


@pytest.fixture(scope="module")
def model():
    """A trained classifier of coloured digits."""
    from sklearn.datasets import load_digits

    from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(0)
    digits = load_digits()
    images = np.kron(digits.images / 16, np.ones((1, 3, 3)))[..., None].repeat(3, -1)
    images = images.astype(np.float32)
    built = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    built.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    built.fit(images[:1500], digits.target[:1500], epochs=8, verbose=0)
    quantized = quantize(built, BitPolicy((4, 8)))
    calibrate(quantized, images[:256])
    prepare_for_deployment(quantized)
    return quantized, np.rint(images[-IMAGES:] * 255).astype(np.uint8)


def asked(tmp_path, model, images, output_type):
    content = tflite_tools.with_task_metadata(
        tflite_tools.convert(
            model,
            input_type="uint8",
            output_type=output_type,
            pixel_range=(0.0, 1.0),
            labels=LABELS,
        ),
        name="digits",
    )
    (tmp_path / "model.tflite").write_bytes(content)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "client.py").write_text(CLIENT)
    command = [PYTHON, "client.py", "model.tflite", "images.npy"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    print(ran.stderr, file=sys.stderr)
    return content, json.loads(ran.stdout)


@pytest.mark.parametrize("output_type", ["float32", "uint8"])
def test_answers_are_those_of_litert(tmp_path, model, output_type):
    content, told = asked(tmp_path, *model, output_type)
    (ours,) = tflite_tools.run(content, [model[1]]).outputs.values()
    assert ours.dtype == output_type
    assert told["answers"] == [[int(best), LABELS[best]] for best in ours.argmax(-1)]


def test_integer_outputs_are_refused_by_its_sentence(tmp_path, model):
    _, told = asked(tmp_path, *model, "int8")
    assert "UINT8 or FLOAT32" in told["refusal"]
