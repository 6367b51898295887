"""The statistics of one subnet, measured on training images."""

import dataclasses
from typing import Any

import numpy as np

from qfa_tf.layers import StatisticsLayout
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.arguments import instance
from quantize_configs.errors import InvalidInputError


class CalibrationError(InvalidInputError):
    """A calibration does not belong to the supernet or architecture it is used with."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Normalization statistics and activation ranges of one architecture.

    Attributes:
      architecture: What was calibrated.
      space: Fingerprint of the space.
      statistics: float32 vector in the order of `StatisticsLayout`.
      images: Number of images it was measured on.
    """

    architecture: Architecture
    space: str
    statistics: np.ndarray
    images: int

    def check(self, space: SearchSpace, architecture: Architecture) -> None:
        """Raises CalibrationError unless this is the calibration of `architecture`.

        Raises:
          InvalidTypeError: `architecture` is none.
        """
        instance("arch", architecture, Architecture, "space.sample(0)")
        if self.space != space.fingerprint:
            raise CalibrationError(
                f"The calibration belongs to the space {self.space}, the supernet to "
                f"{space.fingerprint}. Calibrate with this supernet."
            )
        if self.architecture != architecture:
            raise CalibrationError(
                "The calibration belongs to another architecture:\n"
                f"{self.architecture.describe()}\nReceived:\n{architecture.describe()}\n"
                "Each architecture needs a calibration of its own."
            )

    def read(self, layout: StatisticsLayout, name: str) -> np.ndarray:
        """One entry of the statistics."""
        return layout.read(self.statistics, name)


def require_calibration(calibration: Any, space: SearchSpace, architecture: Any) -> None:
    """Checks what a caller gives together.

    Raises:
      InvalidTypeError: One of them is something else.
      CalibrationError: The calibration is that of another architecture or space.
    """
    given = instance("calibration", calibration, Calibration, "net.calibrate(dataset, arch)")
    given.check(space, architecture)
