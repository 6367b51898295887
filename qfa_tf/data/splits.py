"""Four splits of a labelled image set.

Training and calibration come from the training images; search sees only images held out of them;
the test images are for the final table.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
      images: float32 [N, height, width, channels] in [0, 1].
      labels: int32 [N].
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                "A split needs images [N, height, width, channels] and labels [N]. Received: "
                f"{self.images.shape} and {self.labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """The examples at `indices`."""
        return Split(self.images[indices], self.labels[indices])


@dataclasses.dataclass(frozen=True)
class DataSplits:
    """The splits of one data set.

    Attributes:
      name: Of the data set.
      num_classes: Number of labels.
      train: For the weights.
      calibration: Training images for statistics.
      search_validation: For the search and for predictors.
      test: For the final figures only.
    """

    name: str
    num_classes: int
    train: Split
    calibration: Split
    search_validation: Split
    test: Split


def stratified_indices(
    labels: np.ndarray, sizes: tuple[int, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """Disjoint random index sets of the given sizes, plus the rest, with equal label shares.

    Args:
      labels: int [N].
      sizes: How many examples each set gets; together fewer than N.
      rng: Source of randomness.

    Returns:
      len(sizes) + 1 index arrays; the last one holds what is left.
    """
    if sum(sizes) >= len(labels):
        raise ValueError(
            f"{sizes} examples were asked for, but the data set has only {len(labels)}."
        )
    # Sorting each class by a random rank in [0, 1) interleaves the classes evenly.
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    order = np.argsort(ranks, kind="stable")
    return np.split(order, np.cumsum(sizes))
