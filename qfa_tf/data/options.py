"""What can be chosen when a data set is loaded."""

import dataclasses
from collections.abc import Callable

from qfa_tf.data.errors import DataError
from qfa_tf.data.splitting import SplitSizes

MEMORY_LIMIT = 512 << 20


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """Options of `load`; None stands for the default everywhere.

    Attributes:
      search_validation: Number of images held out of the training images for the search.
      test: Number of images held out for testing where the data set has no test images.
      calibration: Number of training images for calibration.
      eval_crop: Share of the shorter side that evaluation uses; see `Split`.
      memory_limit: Bytes; images of one small size that take no more are decoded once and stay in
        memory (as uint8), all others are decoded when they are needed.
      skip_damaged: Whether damaged image files are left out instead of refused.
      on_progress: Told how many of how many files were scanned.
    """

    search_validation: int | None = None
    test: int | None = None
    calibration: int | None = None
    eval_crop: float | None = None
    memory_limit: int = MEMORY_LIMIT
    skip_damaged: bool = False
    on_progress: Callable[[int, int], None] | None = None

    def __post_init__(self):
        self.sizes  # noqa: B018 - checks them
        if self.eval_crop is not None and not 0 < self.eval_crop <= 1:
            raise DataError(
                "eval_crop must be None or a number above 0, at most 1, such as 0.875. "
                f"Received: {self.eval_crop!r}."
            )
        if self.memory_limit is None:
            object.__setattr__(self, "memory_limit", MEMORY_LIMIT)
        if not isinstance(self.memory_limit, int) or self.memory_limit < 0:
            raise DataError(
                f"memory_limit must be a number of bytes, 0 or more. Received: "
                f"{self.memory_limit!r}."
            )

    @property
    def sizes(self) -> SplitSizes:
        """The numbers of images."""
        return SplitSizes(self.search_validation, self.test, self.calibration)
