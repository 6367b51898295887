"""Which layer of a model gets how many bits."""

import dataclasses
import types
from collections.abc import Iterable, Mapping

from quantize_configs.bit_widths import FLOAT_PAIRS, QUANTIZED_BITS, WIDE_BITS, is_pair
from quantize_configs.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class BitPolicy:
    """Weight and activation bits per layer.

    A pair is (bits of the weight, bits of the layer's input), each from 2 to 8, or

    - (2 to 8, 16): integer weights and 16-bit activations, which XNNPACK does not run;
    - (32, 32): the layer computes in float32;
    - (16, 32): the same, with weights stored as float16.

    Attributes:
      default: Pair of every linear layer that `layers` does not name.
      layers: Pairs by layer name.

    Raises:
      InvalidInputError: A pair is none of these.
    """

    default: tuple[int, int] = (8, 8)
    layers: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "default", _pair("default", self.default))
        if not isinstance(self.layers, Mapping):
            raise InvalidInputError(
                "layers must map names of layers to pairs of bits, as in {'conv_3': (4, 4)}. "
                f"Received: {self.layers!r:.200}"
            )
        layers = {name: _pair(f"layer {name!r}", pair) for name, pair in self.layers.items()}
        object.__setattr__(self, "layers", types.MappingProxyType(layers))

    @classmethod
    def from_budget(
        cls,
        model,
        sensitivity,
        *,
        weight_bytes: float,
        activation_bits: int = 8,
        accounting: str = "file",
    ) -> "BitPolicy":
        """The policy of least loss whose weights fit a budget, by integer programming.

        Args:
          model: The float model that `sensitivity` measured.
          sensitivity: Result of `quantize_configs.sensitivity`.
          weight_bytes: Most bytes of all weights together (biases and scales come on top).
          activation_bits: Of every layer.
          accounting: "file" counts what `tflite_tools.convert` stores (only dense layers and 1x1
            convolutions are packed, 3 bits take 4), "bits" counts bits / 8 for every weight.

        Raises:
          InvalidInputError: The budget cannot be reached (the sentence says what can), or the
            arguments do not fit.
        """
        from quantize_configs.bit_assignment import assign_bits

        bits = assign_bits(model, sensitivity, weight_bytes, accounting)
        pairs = {name: (number, activation_bits) for name, number in bits.items()}
        return cls((8, activation_bits), pairs)

    def of(self, name: str) -> tuple[int, int]:
        """(weight bits, activation bits) of a layer."""
        return self.layers.get(name, self.default)

    def check_names(self, linear_layers: Iterable[str]) -> None:
        """Raises ValueError when the policy names a layer that is not a linear one."""
        known = list(linear_layers)
        unknown = sorted(set(self.layers) - set(known))
        if unknown:
            raise InvalidInputError(
                f"The bit policy names {unknown}, which are no convolution or dense layers of the "
                f"model. Layers that take bits: {known}."
            )


def _pair(place: str, pair) -> tuple[int, int]:
    bits = tuple(pair) if isinstance(pair, Iterable) else (pair,)
    if len(bits) != 2 or not is_pair(bits):
        low, high = QUANTIZED_BITS[0], QUANTIZED_BITS[-1]
        raise InvalidInputError(
            f"Bits of {place} must be a pair (weight bits, activation bits): ({low} to {high}, "
            f"{WIDE_BITS}) for 16-bit activations, {FLOAT_PAIRS[0]} for float32, {FLOAT_PAIRS[1]} "
            f"for float32 with float16 weights, otherwise each from {low} to {high}. Received: "
            f"{pair!r}."
        )
    return int(bits[0]), int(bits[1])
