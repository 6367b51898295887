"""The same few subnets measured again and again while the supernet trains."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from ml_collections import ConfigDict

from qfa_tf.runs.building import build_space
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.evaluator import SEARCH_SPLIT, Measurement
from qfa_tf.runs.probes import uniform_bits
from qfa_tf.runs.quantizer_table import quantizer_rows

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import QFASupernet

CALIBRATION_BATCHES = 8
IMAGES = 2000


class TrainingProbes:
    """The smallest and the largest subnet at each bit-width, calibrated on few batches.

    Accuracies are on search-validation images, at most 2000 of them; they are for looking at and
    are not stored for the search.

    Args:
      config: Of the run, complete.
      data: Of the run.

    Attributes:
      rows: Of the last measurement, by `subnet`, `bits`, `accuracy`, `loss`.
      quantizers: The same, see `quantizer_rows`.
    """

    def __init__(self, config: ConfigDict, data: "DataSplits"):
        self.rows: list[dict[str, object]] = []
        self.quantizers: list[dict[str, object]] = []
        space = build_space(config)
        self._subnets = [
            (name, bits, make(bits=bits))
            for bits in uniform_bits(space)
            for name, make in (("smallest", space.smallest), ("largest", space.largest))
        ]
        self._measurement = Measurement(
            _with_fewer_images(data),
            calibration_batch_size(config),
            min(CALIBRATION_BATCHES, config.data.calibration_batches),
        )

    def measure(self, net: "QFASupernet") -> None:
        """Fills `rows` and `quantizers` from the weights as they are."""
        self.rows, calibrations = [], {}
        for name, bits, architecture in self._subnets:
            calibration = self._measurement.calibrate(net, architecture)
            result = self._measurement.evaluate(net, architecture, calibration, SEARCH_SPLIT)
            self.rows.append(
                {
                    "subnet": name,
                    "bits": bits,
                    "accuracy": result["accuracy"],
                    "loss": result["loss"],
                }
            )
            if name == "largest":
                calibrations[bits] = calibration
        self.quantizers = list(quantizer_rows(net, calibrations))

    def summary(self) -> str:
        """The accuracies in a line."""
        parts = [f"{row['subnet']} {row['bits']} bit {row['accuracy']:.3f}" for row in self.rows]
        return f"probes: {'  '.join(parts)}"


def _with_fewer_images(data: "DataSplits") -> "DataSplits":
    split = data.search_validation
    if len(split) <= IMAGES:
        return data
    chosen = np.linspace(0, len(split) - 1, IMAGES).astype(np.int64)
    return dataclasses.replace(data, search_validation=split.take(chosen))
