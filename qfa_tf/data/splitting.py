"""How many examples each split gets, and which."""

import dataclasses

import numpy as np

from qfa_tf.data.errors import DataError
from quantize_configs.errors import InvalidInputError

SPLIT_SEED = 20211206

SEARCH_VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
MOST_SEARCH_VALIDATION = 10_000  # as in the QFA recipe
MOST_TEST = 10_000
MOST_CALIBRATION = 2_048


@dataclasses.dataclass(frozen=True)
class SplitSizes:
    """Numbers of examples; None for the default.

    Attributes:
      search_validation: Held out of the training images: a tenth of them, at most 10,000.
      test: Held out of the training images where the data set has no test images: a fifth of
        them, at most 10,000.
      calibration: Of the training images that are left: all, at most 2,048.
    """

    search_validation: int | None = None
    test: int | None = None
    calibration: int | None = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_int = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value is not None and (not is_int or value < 1):
                raise DataError(
                    f"{field.name} must be a number of images above 0, or None for the default. "
                    f"Received: {value!r}."
                )

    def held_out(self, examples: int, *, with_test: bool) -> tuple[int, ...]:
        """Sizes of (search validation, test), or of search validation alone.

        Args:
          examples: Number of training images before anything is held out.
          with_test: Whether the test images are held out of them, too.

        Raises:
          DataError: They leave nothing to train on.
        """
        sizes = [self.search_validation or max(1, min(MOST_SEARCH_VALIDATION, examples // 10))]
        if with_test:
            sizes.append(self.test or max(1, min(MOST_TEST, examples // 5)))
        if sum(sizes) >= examples:
            raise DataError(
                f"There are only {examples} training images, and {' + '.join(map(str, sizes))} of "
                "them are to be held out for search validation and test. Ask for fewer."
            )
        return tuple(sizes)

    def calibrating(self, examples: int) -> int:
        """Number of calibration images out of `examples` training images."""
        size = self.calibration or min(MOST_CALIBRATION, examples)
        if size > examples:
            raise DataError(
                f"calibration is to have {size} images, but only {examples} are left to train on."
            )
        return size


def stratified_indices(
    labels: np.ndarray, sizes: tuple[int, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """Disjoint random index sets of the given sizes, plus the rest, with equal label shares.

    Args:
      labels: int [N].
      sizes: How many examples each set gets; together at most N.
      rng: Source of randomness.

    Returns:
      len(sizes) + 1 index arrays; the last one holds what is left.

    Raises:
      InvalidInputError: There are too few examples.
    """
    if sum(sizes) > len(labels):
        raise InvalidInputError(
            f"{sizes} examples were asked for, but the data set has only {len(labels)}."
        )
    # Sorting each class by a random rank in [0, 1) interleaves the classes evenly.
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    order = np.argsort(ranks, kind="stable")
    return np.split(order, np.cumsum(sizes))


def random_indices(
    examples: int, sizes: tuple[int, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """The same for `examples` images of unknown labels."""
    return np.split(rng.permutation(examples), np.cumsum(sizes))
