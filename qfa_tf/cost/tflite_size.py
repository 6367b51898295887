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
from qfa_tf.cost.geometry import Parameters, Unit, parameters
from qfa_tf.cost.site_tables import Setting, SiteTable
from qfa_tf.network import (
    Concatenation,
    Convolution,
    Function,
    Network,
    Node,
    Pooling,
    Product,
    SqueezeExcite,
    Sum,
)
from qfa_tf.network.nodes import TABLES
from qfa_tf.space import SearchSpace

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
# What TFLite Metadata take beside the description: their tables, and the archive with the labels.
TASK_METADATA_BYTES = 760.0
DESCRIPTION_BYTES = 19.0
"""Of a site in the description, on average: "expand w4a4, " and its share of "s0.b0: k3 e4"."""
LABEL_LETTERS = 5
"""Assumed length of the name of a class, which stands in the file twice."""


def tflite_size(space: SearchSpace, reader: ChoiceReader) -> SiteTable:
    """Returns the table whose totals are file sizes in bytes."""
    network = space.network
    firsts = _first_sites(network)
    return SiteTable(
        space,
        reader,
        lambda unit, setting: sum(
            _node_bytes(space, node, unit, setting)
            + (_block_bytes(space, node, setting) if node.name in firsts else 0)
            for node in unit.nodes
        ),
        constant=FILE_BYTES
        + OPERATOR_CODE_BYTES * _has_extras(network)
        + _metadata_bytes(space)
        + TASK_METADATA_BYTES,
    )


def container_bits(kind: str, input_channels: int, weight_bits: int) -> int:
    """Returns the bits in which a weight of a site of `kind` is stored: 8, 4 or 2."""
    if kind in ("pointwise", "dense"):
        for bits, most_bits, divisor in PACKED:
            if weight_bits <= most_bits and input_channels % divisor == 0:
                return bits
    return 8


def _node_bytes(space: SearchSpace, node: Node, unit: Unit, setting: Setting) -> float:
    network, name = space.network, (unit.site or node).name
    sizes = parameters(network, node, setting.shape)
    if isinstance(node, Convolution):
        return _site_bytes(network, node, setting, sizes)
    if isinstance(node, SqueezeExcite):
        total = sizes.weights + BYTES_PER_CHANNEL * sizes.biases
        return total + SQUEEZE_EXCITE_BYTES + 2 * len(name)
    if isinstance(node, Sum | Product | Concatenation | Pooling):
        return PLAIN_BYTES
    if isinstance(node, Function) and node.activation in TABLES:
        return HARD_SWISH_BYTES + 3 * len(name)
    return 0  # fused into what precedes it, or in FILE_BYTES


def _site_bytes(network: Network, site: Convolution, setting: Setting, sizes: Parameters) -> float:
    inputs = network.width(site.inputs[0]).value(setting.shape)
    stored = container_bits(site.kind, inputs, setting.weight_bits)
    total = float(math.ceil(sizes.weights * stored / 8) + BYTES_PER_CHANNEL * sizes.biases)
    total += LINEAR_BYTES + 3 * len(site.name)
    # From the 8-bit grid of a tensor that others read, too, to the grid of this reader.
    quantizes = int(network.shares_input(site))
    if setting.activation_bits < 8:  # spread, or clamped at the bottom
        quantizes += stored < 8 or not network.is_nonnegative(site.inputs[0])
    total += quantizes * (PLAIN_BYTES + len(site.name))
    if site.activation in TABLES:
        total += HARD_SWISH_BYTES + 3 * len(site.name)
    # The architecture and the bits in the metadata, and the description.
    return total + 2 * len(f'"{site.name}": [8, 8], ') + DESCRIPTION_BYTES


def _block_bytes(space: SearchSpace, site: Node, setting: Setting) -> int:
    """What a block takes in the architecture of the metadata."""
    names = space.layout.block_choices[str(site.slot)]
    chosen = {role: setting.shape.get(name, 1) for role, name in names.items()}
    return len(f"{json.dumps(chosen)}, ")


def _first_sites(network: Network) -> set[str]:
    """The first site of every slot."""
    first: dict[str, str] = {}
    for site in network.sites:
        if site.slot is not None:
            first.setdefault(site.slot, site.name)
    return set(first.values())


def _has_extras(network: Network) -> bool:
    return any(
        isinstance(node, SqueezeExcite)
        or (isinstance(node, Convolution | Function) and node.activation in TABLES)
        for node in network.nodes
    )


def _metadata_bytes(space: SearchSpace) -> int:
    """Length of what `apps/export.py` stores beside the network, sites and blocks apart."""
    labels = ["n" * LABEL_LETTERS] * space.num_classes
    accuracy = 0.8898305084745762
    stored = len(
        json.dumps(
            {
                "labels": labels,
                "accuracy": {
                    "split": "test",
                    "images": 1000,
                    "verified_images": 1000,
                    **dict.fromkeys(("supernet", "keras", "litert"), accuracy),
                },
                "pixels": {"image": [0.00392156862745098, 0.0]},
                "name": f"{space.name}-12345678",
                "checkpoint": "step-100000-123456789abc",
                "architecture": {
                    "schema_version": 1,
                    "space": space.name,
                    "resolution": 224,
                    "stages": [[] for _ in space.network.stages],
                    "bits": {},
                },
                "conversion": {
                    "weight_container": "auto",
                    "input_type": "uint8",
                    "output_type": "float32",
                    "pixel_range": [0.0, 1.0],
                    "runtime": "xnnpack",
                },
            }
        )
    )
    description = len(f"{space.name}, 224 px, depths 2-2 Made by qfa_tf.")
    return stored + description + sum(map(len, labels)) + len(labels)
