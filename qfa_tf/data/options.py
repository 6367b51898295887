"""What can be chosen when a data set is loaded."""

import dataclasses
from collections.abc import Callable

from qfa_tf.data.errors import DataError
from qfa_tf.data.splitting import SplitSizes
from quantize_configs.errors import InvalidInputError
from quantize_configs.options import check_options, option

MEMORY_LIMIT = 512 << 20


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """Options of `load`; None stands for the default everywhere.

    Attributes:
      skip_damaged: Whether damaged image files are left out instead of refused.
      on_progress: Told how many of how many files were scanned.
      *: See the declarations; `eval_crop` in `Split` too. Images of one small size that take no
        more than `memory_limit` are decoded once and stay in memory (as uint8), all others are
        decoded when they are needed.

    Raises:
      DataError: A value is not allowed.
    """

    search_validation: int | None = option(
        None, "training images held out for the search; None for a tenth, at most 10,000", minimum=0
    )
    test: int | None = option(
        None,
        "images held out for testing where the data set has no test images; None for a fifth, at "
        "most 10,000",
        minimum=0,
    )
    calibration: int | None = option(
        None, "training images for calibration; None for all, at most 2,048", minimum=0
    )
    eval_crop: float | None = option(
        None,
        "share of the shorter side that evaluation uses, such as 0.875; None for whole images, "
        "stretched to a square",
        minimum=0,
        maximum=1,
    )
    memory_limit: int | None = option(
        None, "bytes of images that stay in memory; None for 512 MiB", minimum=0
    )
    skip_damaged: bool = False
    on_progress: Callable[[int, int], None] | None = None

    def __post_init__(self):
        self.sizes  # noqa: B018 - checks them
        if self.eval_crop is not None and not 0 < self.eval_crop <= 1:
            raise DataError(
                "eval_crop must be None or a number above 0, at most 1, such as 0.875. "
                f"Received: {self.eval_crop!r}."
            )
        if self.memory_limit is not None and not isinstance(self.memory_limit, int):
            raise DataError(
                f"memory_limit must be a number of bytes, 0 or more. Received: "
                f"{self.memory_limit!r}."
            )
        try:
            check_options(self)
        except InvalidInputError as error:
            raise DataError(str(error)) from None

    @property
    def bytes_in_memory(self) -> int:
        """The limit as a number."""
        return MEMORY_LIMIT if self.memory_limit is None else self.memory_limit

    @property
    def sizes(self) -> SplitSizes:
        """The numbers of images."""
        return SplitSizes(self.search_validation, self.test, self.calibration)
