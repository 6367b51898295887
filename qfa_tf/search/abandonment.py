"""When the measurement of a candidate can end early: it will not reach a network that costs less.

The QFA recipe adds 6.66 standard deviations, from a recorded table, to the accuracy so far. Here
the deviation is that of drawing the images seen without replacement from all of them, and the
images not seen yet bound it exactly: whatever they show, they cannot all be more than correct.
"""

import math

DEVIATIONS = 4.0
"""How certain "nearly certain" is: about one wrong decision in 30,000."""


def optimistic_accuracy(correct: int, seen: int, total: int) -> float:
    """Returns what the accuracy on all images can nearly certainly not exceed.

    Args:
      correct: Images classified correctly so far.
      seen: Images seen so far, at least 1.
      total: Images of the full measurement.
    """
    bound = (correct + total - seen) / total
    if seen >= total:
        return bound
    # One more of each kind keeps the deviation above 0 when all or none were correct.
    share = (correct + 1) / (seen + 2)
    deviation = math.sqrt(share * (1 - share) / seen * (total - seen) / max(1, total - 1))
    return min(bound, correct / seen + DEVIATIONS * deviation)


def is_hopeless(correct: int, seen: int, total: int, to_beat: float) -> bool:
    """Whether a measurement of so many images will nearly certainly end below `to_beat`."""
    return seen < total and optimistic_accuracy(correct, seen, total) < to_beat
