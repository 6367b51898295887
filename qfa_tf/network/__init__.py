"""Elastic networks as plain data: nodes, slots, choices; NumPy only."""

from qfa_tf.network.choices import (
    BITS,
    FLOAT_BITS,
    Choice,
    Chosen,
    Constant,
    Fraction,
    Multiple,
    Total,
    Values,
    Width,
    make_divisible,
)
from qfa_tf.network.errors import InvalidSpaceError
from qfa_tf.network.files import from_json, to_json
from qfa_tf.network.network import Network, kernel_size
from qfa_tf.network.nodes import (
    Concatenation,
    Convolution,
    Function,
    GlobalPooling,
    Image,
    Node,
    Pooling,
    Product,
    Slot,
    SqueezeExcite,
    Sum,
)
from qfa_tf.network.subnet import Subnet, SubnetNode, subnet
from qfa_tf.network.validation import check

__all__ = [
    "BITS",
    "FLOAT_BITS",
    "Choice",
    "Chosen",
    "Concatenation",
    "Constant",
    "Convolution",
    "Fraction",
    "Function",
    "GlobalPooling",
    "Image",
    "InvalidSpaceError",
    "Multiple",
    "Network",
    "Node",
    "Pooling",
    "Product",
    "Slot",
    "SqueezeExcite",
    "Subnet",
    "SubnetNode",
    "Sum",
    "Total",
    "Values",
    "Width",
    "check",
    "from_json",
    "kernel_size",
    "make_divisible",
    "subnet",
    "to_json",
]
