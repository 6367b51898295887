"""The cost of one site, as a row of a table for people."""

import dataclasses

CHARGED_BITS = 8
"""What a site is charged when it is float in training: how it is deployed by default."""


@dataclasses.dataclass(frozen=True)
class SiteCost:
    """Cost of one site of one architecture, or of the squeeze-excite of one block.

    Attributes:
      site: Its name; `s2.b0.se` for squeeze-excite.
      output_size: Height and width of the output.
      macs: Multiply-accumulates, in the unit of the accounting.
      weight_bits: Bits of a weight, 8 where training is in float.
      activation_bits: Bits of an input value, 8 where training is in float.
      mflops_8bit: What the site adds to the metric of this name; macs * weight_bits *
        activation_bits / 64 / 1e6 with accounting "exact".
      params: Weights and biases.
      weight_bytes: weights * weight_bits / 8 + 4 per bias.
    """

    site: str
    output_size: int
    macs: int
    weight_bits: int
    activation_bits: int
    mflops_8bit: float
    params: int
    weight_bytes: float
