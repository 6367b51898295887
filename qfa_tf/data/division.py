"""Which images go into which split, by what they show instead of where they stand."""

import dataclasses

import numpy as np

from qfa_tf.data.identity import as_uniforms
from qfa_tf.data.splitting import (
    MOST_SEARCH_VALIDATION,
    MOST_TEST,
    SEARCH_VALIDATION_SHARE,
    TEST_SHARE,
    SplitSizes,
)

BY_IMAGE, BY_POSITION = "images", "positions"
RULES = (BY_IMAGE, BY_POSITION)

_GOLDEN = 0.6180339887498949


@dataclasses.dataclass(frozen=True)
class HeldOutShares:
    """Shares of the images that are held out.

    Attributes:
      search_validation: In [0, 1).
      test: The same; 0 where the data set has test images of its own.
    """

    search_validation: float
    test: float

    @classmethod
    def usual(cls, examples: int, *, with_test: bool) -> "HeldOutShares":
        """A tenth and a fifth, halved until both are within the largest numbers.

        They change with the number of images at few numbers only, so that an image keeps its split
        when others come or go.
        """
        test = _at_most(TEST_SHARE, MOST_TEST, examples) if with_test else 0.0
        return cls(_at_most(SEARCH_VALIDATION_SHARE, MOST_SEARCH_VALIDATION, examples), test)


def by_content(content_ids: np.ndarray, shares: HeldOutShares) -> tuple[np.ndarray, ...]:
    """Indices of (search validation, test, training): each image by its own content alone.

    A split that would be empty gets the image that comes closest to it.

    Args:
      content_ids: uint64 [N].
      shares: Of the images.
    """
    order = np.argsort(content_ids, kind="stable")
    place, count = as_uniforms(content_ids[order]), len(order)
    tests = int(np.searchsorted(place, shares.test))
    tests = min(max(tests, 1), count - 2) if shares.test else 0
    held_out = int(np.searchsorted(place, shares.test + shares.search_validation))
    held_out = min(max(held_out, tests + 1), count - 1)
    return order[tests:held_out], order[:tests], order[held_out:]


def by_content_and_class(
    content_ids: np.ndarray, labels: np.ndarray, counts: tuple[int, ...]
) -> list[np.ndarray]:
    """Disjoint index sets of exactly these sizes, and the rest, with equal shares of the classes.

    In each class the images with the lowest numbers come first: images that are added or removed
    move few others, those at the edges.

    Args:
      content_ids: uint64 [N].
      labels: int [N].
      counts: Together at most N.
    """
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ordered = members[np.argsort(content_ids[members], kind="stable")]
        ranks[ordered] = (np.arange(len(members)) + (label * _GOLDEN) % 1.0) / len(members)
    order = np.lexsort((content_ids, ranks))
    return np.split(order, np.cumsum(counts))


def held_out_by_content(
    content_ids: np.ndarray, labels: np.ndarray, sizes: SplitSizes, *, with_test: bool
) -> tuple[np.ndarray, ...]:
    """Indices of (search validation, test, training); test is empty without `with_test`.

    Where numbers of images were asked for they are kept; otherwise `HeldOutShares.usual`.

    Raises:
      DataError: They leave nothing to train on.
    """
    counts = sizes.held_out(len(content_ids), with_test=with_test)
    if sizes.search_validation is None and (sizes.test is None or not with_test):
        shares = HeldOutShares.usual(len(content_ids), with_test=with_test)
        return by_content(content_ids, shares)
    validation, *rest = by_content_and_class(content_ids, labels, counts)
    test = rest[0] if with_test else np.zeros(0, np.int64)
    return validation, test, rest[-1]


def _at_most(share: float, most: int, examples: int) -> float:
    while share * examples > most:
        share /= 2
    return share
