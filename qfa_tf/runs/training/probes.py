"""The same few subnets measured again and again during a training."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from qfa_tf.runs.building import build_architecture, build_space, is_float_stage
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.measurement import SEARCH_SPLIT, Measurement
from qfa_tf.runs.training.final_table import bits_label, uniform_bits
from qfa_tf.runs.training.quantizer_table import kernel_sizes_of, quantizer_rows
from qfa_tf.space import FLOAT_BITS, Architecture, SearchSpace

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import Calibration, QFASupernet

CALIBRATION_BATCHES = 8
IMAGES = 2000
ALONE = "subnet"


class TrainingProbes:
    """The smallest and the largest subnet at each bit-width, or the one that is trained alone.

    In float stages, where no quantizer that could be chosen is trained, they are in float. They are
    calibrated on few batches. Accuracies are on search-validation images, at most 2000 of them;
    they are for looking at and are not stored for the search.

    Args:
      config: Of the run, complete.
      data: Of the run.

    Attributes:
      rows: Of the last measurement, by `subnet`, `bits`, `accuracy`, `loss`.
      quantizers: The same, see `quantizer_rows`.
    """

    def __init__(self, config: ConfigDict, data: "DataSplits"):
        self.rows: list[dict[str, Any]] = []
        self.quantizers: list[dict[str, Any]] = []
        self._config = config
        self._space = build_space(config)
        self._alone = build_architecture(config)
        self._measurement = Measurement(
            _with_fewer_images(data),
            calibration_batch_size(config),
            min(CALIBRATION_BATCHES, config.data.calibration_batches),
        )

    def measure(self, net: "QFASupernet", stage: int) -> None:
        """Fills `rows` and `quantizers` from the weights as a stage has left them."""
        self.rows = []
        calibrations: dict[int | str, Calibration] = {}
        for name, bits, architecture in self._subnets(is_float_stage(self._config, stage)):
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
            if name != "smallest":
                calibrations[bits] = calibration
        self.quantizers = [
            row
            for row in quantizer_rows(net, calibrations)
            if self._alone is None or _belongs_to(self._space, self._alone, row)
        ]

    def _subnets(self, is_float: bool) -> list[tuple[str, int | str, Architecture]]:
        """(name, bits, architecture) of the subnets to measure."""
        space = self._space
        if self._alone is not None:
            architecture = space.float_twin(self._alone) if is_float else self._alone
            return [(ALONE, bits_label(space, architecture), architecture)]
        return [
            (name, bits, make(bits=bits))
            for bits in ((FLOAT_BITS,) if is_float else uniform_bits(space))
            for name, make in (("smallest", space.smallest), ("largest", space.largest))
        ]

    def summary(self) -> str:
        """The accuracies in a line."""
        parts = [f"{row['subnet']} {row['bits']} bit {row['accuracy']:.3f}" for row in self.rows]
        return f"probes: {'  '.join(parts)}"


def _belongs_to(space: SearchSpace, architecture: Architecture, row: Mapping[str, Any]) -> bool:
    """Whether a subnet has the site, the bits and the kernel size of a row of `quantizer_rows`."""
    site, size = row["site"], row["kernel_size"]
    if row["bits"] not in architecture.site_bits.get(site, ()):
        return False
    if size == "":
        return True
    return kernel_sizes_of(space, architecture)[site] == size


def _with_fewer_images(data: "DataSplits") -> "DataSplits":
    split = data.search_validation
    if len(split) <= IMAGES:
        return data
    chosen = np.linspace(0, len(split) - 1, IMAGES).astype(np.int64)
    return dataclasses.replace(data, search_validation=split.take(chosen))
