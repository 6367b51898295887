"""In which type the weights of a layer are stored on the device.

Weights below 8 bits fit INT8 containers at any layer. Packed INT4 and INT2 weights are exact and
fast only in FULLY_CONNECTED operators, hence for dense layers and 1x1 convolutions.
"""

from typing import TYPE_CHECKING

import numpy as np

from quantize_configs.errors import InvalidInputError

if TYPE_CHECKING:
    from quantize_configs.folding import FoldedLinear

POLICIES = ("auto", "packed", "int8")
CONTAINERS = {"int8": (-127, 127), "int4": (-8, 7), "int2": (-2, 1)}
INT8_BITS, CODES_OF_INT8 = 8, 255
LARGEST_BIASES = {"int8": 2**30, "int4": 2**26, "int2": 2**30}  # XNNPACK's INT4 sums have 28 bits
PACKED = (("int2", 2, 4), ("int4", 4, 2))  # container, most bits, divisor of the input channels


def check_policy(policy: str) -> str:
    """Returns `policy` when it is known; raises InvalidInputError otherwise."""
    if policy not in POLICIES:
        raise InvalidInputError(
            f"weight_container must be one of {POLICIES}. Received: {policy!r}."
        )
    return policy


def is_same(policy: str, other: str) -> bool:
    """Whether two policies store every weight alike; "auto" packs what can be packed."""
    return (policy == "int8") == (other == "int8")


def choose(folded: "FoldedLinear", policy: str = "auto") -> str:
    """Container of one layer: "int8", "int4" or "int2".

    "auto" and "packed" take the smallest container that XNNPACK runs exactly; "int8" never packs,
    nor is anything packed that reads 16-bit activations.

    Raises:
      InvalidInputError: Unknown policy.
    """
    check_policy(policy)
    if policy != "int8" and folded.is_pointwise and folded.input_bits <= INT8_BITS:
        for container, most_bits, divisor in PACKED:
            low, high = CONTAINERS[container]
            fits = low <= folded.codes.min() and folded.codes.max() <= high
            if fits and folded.bits <= most_bits and folded.input_channels % divisor == 0:
                return container
    return "int8"


def code_factor(folded: "FoldedLinear", container: str) -> int:
    """Integer by which all codes are multiplied within the container.

    Codes times f with scales over f are the same weights, but biases get f times finer. With
    16-bit activations they are fine as they are, and small codes keep the sums small.
    """
    if folded.input_bits > INT8_BITS:
        return 1
    low, high = CONTAINERS[container]
    largest, smallest = int(folded.codes.max(initial=0)), int(folded.codes.min(initial=0))
    room = _room_for_biases(folded, container)
    return max(1, min(high // max(largest, 1), low // min(smallest, -1), room))


def input_factor(folded: "FoldedLinear", container: str) -> int:
    """Integer by which the input codes of a layer are spread before it reads them.

    Packed weights leave no room for a code factor, but inputs below 8 bits do: one QUANTIZE
    spreads their codes over the 256 of INT8, the scale is divided by the same integer, and biases
    get finer by it.
    """
    if container == "int8":
        return 1
    room = _room_for_biases(folded, container) // code_factor(folded, container)
    return max(1, min(CODES_OF_INT8 // (2**folded.input_bits - 1), room))


def _room_for_biases(folded: "FoldedLinear", container: str) -> int:
    """By how much the integer biases can still be multiplied."""
    largest = np.max(np.abs(folded.bias) / (folded.input_scale * folded.scales), initial=1.0)
    return int(LARGEST_BIASES[container] // largest)


def bias_units(folded: "FoldedLinear", container: str) -> np.ndarray:
    """What one unit of the integer bias is worth, float64 [output channels]."""
    factor = code_factor(folded, container) * input_factor(folded, container)
    return folded.input_scale * folded.scales / factor
