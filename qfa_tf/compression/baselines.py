"""What a float model does by itself: as it is, and with TFLite's own full integers."""

import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits, Split

FLOAT, TFLITE = "float model", "TFLite, 8 bits"
BATCH = 64
REPRESENTATIVE = 200
"""Images that TFLite's converter takes its ranges from."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A model that was not trained any further.

    Attributes:
      accuracy: Share of the test images.
      flatbuffer: TFLite's file of it; None where the converter does not take the model.
    """

    accuracy: float
    flatbuffer: bytes | None


def baselines(model: Any, data: "DataSplits") -> dict[str, Baseline]:
    """The float model, and TFLite's file of it with integers of 8 bits and float ends.

    The second one is left out where the converter does not take the model.

    Args:
      model: A `tf_keras` classifier of images from 0 to 1.
      data: Images and labels; the test split is measured.
    """
    size = model.input_shape[1:3]
    batches = list(_batches(data.test, size))
    hits = sum(_hits(model(images, training=False), labels) for images, labels in batches)
    count = sum(len(labels) for _, labels in batches)
    found = {FLOAT: Baseline(hits / count, converted_by_tflite(model, None))}
    calibration = [images for images, _ in _batches(data.calibration, size)]
    integers = converted_by_tflite(model, np.concatenate(calibration)[:REPRESENTATIVE])
    if integers is not None:
        found[TFLITE] = Baseline(litert_accuracy(integers, data.test), integers)
    return found


def litert_accuracy(flatbuffer: bytes, split: "Split") -> float:
    """Share of the images that a file with float ends answers rightly in LiteRT, one by one.

    Args:
      flatbuffer: Of a classifier with one input and one output.
      split: Images and labels; images are resized to what the file takes.
    """
    from tflite_tools.flatbuffer import runtime

    interpreter = runtime.load(flatbuffer)
    interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    right = count = 0
    for images, labels in _batches(split, tuple(entry["shape"][1:3])):
        for image, label in zip(images, labels, strict=True):
            interpreter.set_tensor(entry["index"], image[None])
            interpreter.invoke()
            right += int(np.argmax(interpreter.get_tensor(exit_["index"])) == label)
            count += 1
    return right / count


def _batches(split: "Split", size: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    import tensorflow as tf

    from qfa_tf.data import batches

    for images, labels in batches(split, BATCH):
        yield tf.image.resize(images, size).numpy(), np.asarray(labels)


def _hits(answers: Any, labels: np.ndarray) -> int:
    return int((np.argmax(np.asarray(answers), -1) == labels).sum())


def converted_by_tflite(model: Any, images: np.ndarray | None) -> bytes | None:
    """TFLite's file of a model; None where the converter does not take it.

    Args:
      model: A `tf_keras` model with one input.
      images: For ranges of full integers between float ends; None for a file of float operators.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if images is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter warns of its own defaults
            return converter.convert()
    except (ValueError, RuntimeError):
        return None
