"""How many bytes the exporter writes for a subnet, from its genome.

Follows `tflite_tools` with default options: which container each weight goes into (the rules of
`quantize_configs.weight_containers`), where a QUANTIZE is inserted, and what a flatbuffer spends on
operators, tensors, names and metadata. Two things depend on the trained weights and are assumed:
no batch normalization has a negative gain, and biases leave room to spread low-bit inputs. Measured
on real exports the sum is within 1 % (tests/search/test_tflite_bytes.py).
"""

import json
import math

from qfa_tf.cost.choices import ChoiceReader
from qfa_tf.cost.geometry import convolution, squeeze_excite
from qfa_tf.cost.site_tables import Setting, SiteTable
from qfa_tf.space import SearchSpace, Site

PACKED = ((2, 2, 4), (4, 4, 2))
"""Container bits, most weight bits, divisor of the input channels."""
BYTES_PER_CHANNEL = 28
"""Scale (4) and zero point (8) of weight and bias, and the bias itself (4)."""
# What a flatbuffer spends on a file, on an operator with weight, bias and output, and on one with
# an output only: least squares over exports of random digits_tiny subnets.
FILE_BYTES = 1328.0
LINEAR_BYTES = 359.0
PLAIN_BYTES = 140.0
# The same over exports with hard-swish and squeeze-excite: three operators in place of each
# hard-swish; what MEAN, MUL and two convolutions take beside their weights; their operator codes.
HARD_SWISH_BYTES = 358.0
SQUEEZE_EXCITE_BYTES = 1235.0
OPERATOR_CODE_BYTES = 88.0


def tflite_size(space: SearchSpace, reader: ChoiceReader) -> SiteTable:
    """Returns the table whose totals are file sizes in bytes."""
    return SiteTable(
        space,
        reader,
        lambda site, setting: _site_bytes(space, site, setting),
        constant=FILE_BYTES + OPERATOR_CODE_BYTES * _has_extras(space) + _metadata_bytes(space),
    )


def container_bits(site: Site, input_channels: int, weight_bits: int) -> int:
    """Returns the bits in which a weight of a site is stored: 8, 4 or 2."""
    if site.kind in ("pointwise", "dense"):
        for bits, most_bits, divisor in PACKED:
            if weight_bits <= most_bits and input_channels % divisor == 0:
                return bits
    return 8


def _site_bytes(space: SearchSpace, site: Site, setting: Setting) -> float:
    sizes = convolution(space, site, setting.kernel_size, setting.expand_ratio)
    stored = container_bits(site, sizes.weights // sizes.biases, setting.weight_bits)
    total = math.ceil(sizes.weights * stored / 8) + BYTES_PER_CHANNEL * sizes.biases
    total += LINEAR_BYTES + 3 * len(site.name)
    quantizes = 0
    reads_block_input = _is_first_of_block(space, site)
    if reads_block_input and space.has_residual(site.stage, site.block):
        quantizes += 1  # from the 8-bit grid of the sum to the grid of this reader
        total += PLAIN_BYTES
    if setting.activation_bits < 8:  # spread, or clamped at the bottom
        quantizes += stored < 8 or _may_read_negatives(space, site)
    total += quantizes * (PLAIN_BYTES + len(site.name))
    if _activation_after(space, site) == "hard_swish":
        total += HARD_SWISH_BYTES + 3 * len(site.name)
    if site.kind == "depthwise" and space.stages[site.stage].squeeze_excite:
        sizes = squeeze_excite(space, site.stage, site.block, setting.expand_ratio)
        total += sizes.weights + BYTES_PER_CHANNEL * sizes.biases
        total += SQUEEZE_EXCITE_BYTES + 2 * len(site.name)
    total += 2 * len(f'"{site.name}": [8, 8], ')  # the architecture and the bits in the metadata
    if reads_block_input:
        total += len('{"expand_ratio": 4, "kernel_size": 3}, ')
    return total


def _is_first_of_block(space: SearchSpace, site: Site) -> bool:
    if site.stage is None:
        return False
    first = "expand" if space.stages[site.stage].has_expand else "depthwise"
    return site.name.endswith(f".{first}")


def _has_extras(space: SearchSpace) -> bool:
    parts = (space.stem, *space.stages, space.head)
    return any(part.activation == "hard_swish" for part in parts) or any(
        stage.squeeze_excite for stage in space.stages
    )


def _activation_after(space: SearchSpace, site: Site) -> str:
    """The activation function on the output of a site, "" for none."""
    if site.stage is None:
        parts = {"stem": space.stem, "head.expand": space.head, "head.mix": space.head}
        return parts[site.name].activation if site.name in parts else ""
    return "" if site.name.endswith(".project") else space.stages[site.stage].activation


def _may_read_negatives(space: SearchSpace, site: Site) -> bool:
    if site.name == "head.expand":
        return True
    if site.stage is None:
        return space.head.activation == "hard_swish"
    if not _is_first_of_block(space, site):
        return space.stages[site.stage].activation == "hard_swish"
    return (site.stage, site.block) != (0, 0) or space.stem.activation == "hard_swish"


def _metadata_bytes(space: SearchSpace) -> int:
    """Length of what `apps/export.py` stores beside the network, sites and blocks apart."""
    return len(
        json.dumps(
            {
                "name": f"{space.name}-12345678",
                "checkpoint": "step-100000-123456789abc",
                "architecture": {
                    "schema_version": 1,
                    "space": space.name,
                    "resolution": 224,
                    "stages": [[] for _ in space.stages],
                    "bits": {},
                },
                "conversion": {
                    "weight_container": "auto",
                    "input_type": "float32",
                    "output_type": "float32",
                },
            }
        )
    )
