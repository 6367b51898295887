"""From a subnet of a workdir to the bytes of a `.tflite` file that was verified."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs.checkpoints import restore
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.exporting.options import DEFAULT_RUNTIME, ExportOptions
from qfa_tf.runs.exporting.promises import VERIFIED_BYTES, resized_images, verified_sample
from qfa_tf.runs.measurement import Measurement, calibration_key
from qfa_tf.runs.messages import say
from qfa_tf.runs.training.teacher import float_teacher
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import Architecture

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import Calibration, QFASupernet
    from quantize_configs.keras_backend import keras
    from tflite_tools import VerificationReport

PIXEL_RANGE = (0.0, 1.0)
"""Of the images that training sees, see `qfa_tf.data`."""
TEACHER_BATCH = 64
FLOAT_IMAGES = 32
"""That a file is compared on, tensor by tensor, with its own weights in float."""


@dataclasses.dataclass(frozen=True, eq=False)
class Draft:
    """A file that was not verified yet.

    Attributes:
      name: Of the model.
      architecture: The subnet.
      calibration: Its statistics.
      keras_model: What was extracted.
      flatbuffer: What it was converted to.
    """

    name: str
    architecture: Architecture
    calibration: "Calibration"
    keras_model: "keras.Model"
    flatbuffer: bytes


@dataclasses.dataclass(frozen=True, eq=False)
class VerifiedModel:
    """A file with what is known about it.

    Attributes:
      flatbuffer: As it will be written, accuracies in its metadata.
      accuracy: On test images: of the supernet, of the Keras model and of LiteRT.
      report: Of the verification.
    """

    flatbuffer: bytes
    accuracy: dict[str, Any]
    report: "VerificationReport"


_ACCURACIES = ("supernet", "keras", "litert")


class ModelBuilder:
    """Makes files of the subnets of one workdir; the supernet is restored when it is needed.

    Args:
      workdir: Of a trained supernet.
      config: Of the run.
      data: Of the run.
      options: How subnets become files.
      console: For progress.

    Attributes:
      calibration_key: Identifies the images of the calibration.
    """

    def __init__(
        self,
        workdir: Workdir,
        config: ConfigDict,
        data: "DataSplits",
        options: ExportOptions,
        console: rich.console.Console,
    ):
        settings = (calibration_batch_size(config), config.data.calibration_batches)
        self.calibration_key = calibration_key(data, *settings)
        self._workdir = workdir
        self._data = data
        self._options = options
        self._console = console
        self._measurement = Measurement(data, *settings)

    @functools.cached_property
    def _restored(self) -> tuple["QFASupernet", str]:
        return restore(self._workdir)

    def draft(self, architecture: Architecture, name: str) -> Draft:
        """Calibrates, extracts and converts a subnet.

        Args:
          architecture: Which one.
          name: For the metadata.

        Raises:
          CheckpointError: The weights are damaged.
          UnsupportedCombinationError: LiteRT cannot compute the subnet exactly.
        """
        import tflite_tools
        from quantize_configs.deployment import mark_prepared

        net, checkpoint_key = self._restored
        options = self._options
        calibration = self._measurement.calibrate(net, architecture)
        keras_model = net.extract(
            architecture,
            calibration,
            weight_container=options.weight_container,
            float_sites=options.float_sites,
        )
        if options.runtime != DEFAULT_RUNTIME:
            mark_prepared(keras_model, options.weight_container, options.runtime)
        if options.softmax:
            keras_model = _with_softmax(keras_model)
        flatbuffer = tflite_tools.convert(
            keras_model,
            metadata={
                "name": name,
                "architecture": json.loads(architecture.to_json()),
                "checkpoint": checkpoint_key,
            },
            labels=self._data.class_names or None,
            pixel_range=None if options.input_type == "float32" else PIXEL_RANGE,
            **options.conversion,
        )
        return Draft(name, architecture, calibration, keras_model, flatbuffer)

    def verify(self, draft: Draft) -> VerifiedModel:
        """Compares a file with the simulation, integer by integer, and measures accuracies."""
        import tflite_tools
        from quantize_configs import float_counterpart

        net, _ = self._restored
        supernet = self._measurement.evaluate(net, draft.architecture, draft.calibration, "test")
        test = self._data.test
        sample = verified_sample(test, draft.architecture.resolution)
        if len(sample) < len(test):
            say(
                self._console,
                f"Verifying on {len(sample):,} of the {len(test):,} test images, evenly spaced: "
                f"as many as fit {VERIFIED_BYTES >> 20} MiB.",
            )
        images = sample.read_images()
        resized = resized_images(images, draft.architecture)
        report = tflite_tools.verify(
            draft.flatbuffer,
            draft.keras_model,
            resized,
            labels=sample.labels,
            float_answers=self._float_answers(images),
        )
        in_float = float_counterpart(draft.keras_model)
        few = resized[:: -(-len(resized) // FLOAT_IMAGES)]
        against_float = tflite_tools.compare_float(draft.flatbuffer, in_float, few)
        report = dataclasses.replace(report, against_float=against_float)
        accuracy = {
            "split": "test",
            "images": len(test),
            "verified_images": len(sample),
            "supernet": supernet["accuracy"],
            "keras": report.keras_accuracy,
            "litert": report.litert_accuracy,
        }
        if report.equal_answers is not None:
            accuracy["equal_answers"] = report.equal_answers
        flatbuffer = self._described(draft, accuracy)
        return VerifiedModel(flatbuffer, accuracy, report)

    def least_bytes(self, draft: Draft) -> int:
        """What the file of a draft will take at least: accuracies are yet to be measured."""
        count = len(self._data.test)
        accuracy = {"split": "test", "images": count, "verified_images": count}
        return len(self._described(draft, accuracy | dict.fromkeys(_ACCURACIES, 0.5)))

    def _described(self, draft: Draft, accuracy: dict[str, Any]) -> bytes:
        """The file with accuracies, and with what tells other tools how to use it."""
        return described(
            draft.flatbuffer,
            draft.name,
            draft.architecture,
            accuracy,
            output_name=self._options.output_name,
            probabilities=self._options.softmax,
        )

    def _float_answers(self, images: np.ndarray) -> np.ndarray | None:
        """What the Keras model that taught the supernet answers, int [N]; None without one."""
        try:
            model = float_teacher(self._workdir, self._data)
        except RunError as error:
            say(self._console, f"The answers of the float model are not known: {error}")
            return None
        if model is None:
            return None
        starts = range(0, len(images), TEACHER_BATCH)
        parts = [np.asarray(model(images[s : s + TEACHER_BATCH])).argmax(-1) for s in starts]
        return np.concatenate(parts)


def described(
    flatbuffer: bytes,
    name: str,
    architecture: Architecture,
    accuracy: Mapping[str, Any],
    **options: Any,
) -> bytes:
    """The file with what is known of it, for this package and for other tools.

    Args:
      flatbuffer: From `tflite_tools.convert`.
      name: Of the model.
      architecture: What it is.
      accuracy: What was measured, JSON types.
      **options: Of `tflite_tools.with_task_metadata`.
    """
    import tflite_tools

    return tflite_tools.with_task_metadata(
        tflite_tools.with_metadata(flatbuffer, {"accuracy": dict(accuracy)}),
        name=name,
        description=f"{architecture.describe()} Made by qfa_tf.",
        pixel_range=PIXEL_RANGE,
        **options,
    )


def _with_softmax(model: "keras.Model") -> "keras.Model":
    """The same weights, with probabilities as the answer."""
    from quantize_configs.keras_backend import keras

    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    return keras.Model(model.input, probabilities, name=model.name)
