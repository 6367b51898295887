"""How sure an accuracy is, and whether two networks that saw the same images really differ."""

import math

import numpy as np

Z95 = 1.959963984540054
"""Two-sided 95 % of a normal distribution."""
SIGNIFICANCE = 0.05
_ROUNDING = 1e-9


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """Returns the 95 % interval of an accuracy, fractions from 0 to 1.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Args:
      accuracy: Share of correct images.
      images: Number of images, at least 1.
    """
    z2 = Z95 * Z95 / images
    middle = (accuracy + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(accuracy * (1 - accuracy) / images + z2 / (4 * images))
    return max(0.0, middle - half), min(1.0, middle + half)


def with_interval(accuracy: float, images: int) -> str:
    """Returns such as "97.99 % (95.7 to 99.1)"."""
    low, high = wilson(accuracy, images)
    return f"{100 * accuracy:.2f} % ({100 * low:.1f} to {100 * high:.1f})"


def mcnemar(first: bytes, second: bytes) -> float:
    """Returns the exact two-sided p-value that two networks are equally accurate.

    Only the images on which one is right and the other wrong count: each falls to either side like
    a coin. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages" (1947).

    Args:
      first: A byte per image, 1 where the network was right.
      second: Of the other one, on the same images.

    Raises:
      ValueError: They are of different lengths.
    """
    if len(first) != len(second):
        raise ValueError(
            f"Networks are compared on the same images. Received: {len(first)} and {len(second)}."
        )
    one, other = np.frombuffer(first, np.uint8) > 0, np.frombuffer(second, np.uint8) > 0
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = only_one + only_other
    if not discordant:
        return 1.0
    from scipy.special import bdtr  # the binomial distribution function

    return float(min(1.0, 2 * bdtr(min(only_one, only_other), discordant, 0.5)))


def within_standard_error(best: bytes, other: bytes) -> bool:
    """Whether a network is at most one standard error less accurate than another one.

    The error is that of the difference on the same images. Breiman, Friedman, Olshen and Stone,
    "Classification and Regression Trees" (1984), take the simplest model within it.

    Args:
      best: A byte per image, 1 where the more accurate network was right.
      other: Of the other one, on the same images.
    """
    lost = (np.frombuffer(best, np.uint8) > 0).astype(np.float64)
    lost -= np.frombuffer(other, np.uint8) > 0
    if len(lost) < 2:
        return True
    error = lost.std(ddof=1) / math.sqrt(len(lost))
    return bool(lost.mean() <= error * (1 + _ROUNDING))


def distinguishable(first: bytes | None, second: bytes | None) -> bool:
    """Whether two networks differ beyond noise; True where their answers were not kept."""
    if first is None or second is None:
        return True
    return mcnemar(first, second) < SIGNIFICANCE
