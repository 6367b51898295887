"""In which type the weights of a layer are stored on the device.

Weights below 8 bits fit INT8 containers at any layer. Packed INT4 and INT2 weights are exact and
fast only in FULLY_CONNECTED operators, hence for dense layers and 1x1 convolutions.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantize_configs.folding import FoldedLinear

POLICIES = ("auto", "packed", "int8")
CONTAINERS = {"int8": (-127, 127), "int4": (-8, 7), "int2": (-2, 1)}
CHANNEL_MULTIPLES = {"int4": 2, "int2": 4}


def choose(folded: "FoldedLinear", policy: str = "auto") -> str:
    """Container of one layer: "int8", "int4" or "int2".

    "auto" and "packed" take the smallest container that XNNPACK runs exactly; "int8" never packs.

    Raises:
      ValueError: Unknown policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"weight_container must be one of {POLICIES}. Received: {policy!r}.")
    if policy != "int8" and folded.is_pointwise:
        for container in ("int2", "int4"):
            low, high = CONTAINERS[container]
            fits = folded.codes.min() >= low and folded.codes.max() <= high
            if fits and folded.input_channels % CHANNEL_MULTIPLES[container] == 0:
                if folded.bits <= {"int2": 2, "int4": 4}[container]:
                    return container
    return "int8"


def code_factor(folded: "FoldedLinear", container: str) -> int:
    """Largest integer by which all codes can be multiplied within the container.

    Codes times f with scales over f are the same weights, but biases get f times finer.
    """
    low, high = CONTAINERS[container]
    largest = max(int(np.max(folded.codes, initial=0)), 0)
    smallest = min(int(np.min(folded.codes, initial=0)), 0)
    factors = [high // largest if largest else high, low // smallest if smallest else -low]
    return max(min(factors), 1)
