"""The operators of a latency table as models that a device can measure."""

import dataclasses

from qfa_tf.cost.latency_table import OperatorKey
from qfa_tf.cost.site_tables import Setting
from qfa_tf.cost.tflite_size import container_bits
from qfa_tf.latency.subnet_graph import WIDE, SubnetGraphWriter, layer_of_site
from qfa_tf.network import (
    Concatenation,
    Convolution,
    Function,
    Image,
    Network,
    Node,
    Product,
)
from qfa_tf.network.nodes import TABLES
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.lowering.grids import Value

NARROW = 4
"""Stands for all activation bits below 8, which take the same operators."""
SMALL_COPIES = 8
_WORK = 2_000_000
"""Multiply-accumulates of a model, below which it gets up to so many copies of its operator."""
MOST_COPIES = 32
_CACHE_BYTES = 3_000_000
_FEW_BYTES = 32_000
"""Operators with more weights than this get copies until they fill a cache: in a network, the
weights of the other layers have been there in between."""
_WORK_PER_ELEMENT = 8
"""Of an operator without weights."""


def measured_as(key: OperatorKey, network: Network, node: Node) -> OperatorKey:
    """The operator that stands for all that are the same one on the device.

    Weight bits matter only through the container, activation bits only when they bring a QUANTIZE.

    Args:
      key: The operator.
      network: A network in which it occurs.
      node: A node at which it does.
    """
    if not isinstance(node, Convolution) or key.operator != node.kind:
        return key
    container = container_bits(node.kind, key.input_channels, key.weight_bits)
    quantizes = (
        key.activation_bits < WIDE
        and (container < WIDE or not _reads_nonnegative(network, node))
        and not _reads_table(network, node)
    )
    return key._replace(weight_bits=container, activation_bits=NARROW if quantizes else WIDE)


def operator_model(
    key: OperatorKey, network: Network, node: Node, setting: Setting
) -> tuple[bytes, int]:
    """A model of one operator and what belongs to it, and how many copies of it the model holds.

    Copies read one tensor and have weights of their own.

    Args:
      key: From `measured_as`.
      network: A network in which it occurs.
      node: A node at which it does.
      setting: That of the node.
    """
    copies = max(1, min(SMALL_COPIES, _WORK // max(1, work(key))))
    size = weight_bytes(key)
    if size > _FEW_BYTES:
        copies = max(copies, min(MOST_COPIES, round(_CACHE_BYTES / size)))
    writer = SubnetGraphWriter()
    _write(writer, key, network, node, setting, copies)
    return emit(writer.graph), copies


def work(key: OperatorKey) -> int:
    """Multiply-accumulates, or what stands for them in operators without weights."""
    size = -(-key.input_size // key.stride)
    if key.operator == "depthwise":
        return size**2 * key.kernel_size**2 * key.output_channels
    if key.operator in ("convolution", "pointwise", "dense"):
        kernel = key.kernel_size * (key.kernel_width or key.kernel_size)
        return size**2 * kernel * key.input_channels // key.groups * key.output_channels
    return _WORK_PER_ELEMENT * size**2 * key.input_channels


def weight_bytes(key: OperatorKey) -> float:
    """Bytes of the weights of an operator from `measured_as`."""
    if key.operator not in ("convolution", "depthwise", "pointwise", "dense"):
        return 0.0
    inputs = 1 if key.operator == "depthwise" else key.input_channels // key.groups
    kernel = key.kernel_size * (key.kernel_width or key.kernel_size)
    return kernel * inputs * key.output_channels * key.weight_bits / 8


def _write(
    writer: SubnetGraphWriter,
    key: OperatorKey,
    network: Network,
    node: Node,
    setting: Setting,
    copies: int,
) -> None:
    size, channels = key.input_size, key.input_channels
    if not isinstance(node, Convolution) or key.operator != node.kind:
        nonnegative = key.operator == "squeeze_excite" and network.is_nonnegative(node.inputs[0])
        other = writer.source("z", size, channels, WIDE, False) if key.operator == "add" else None
        others = _other_inputs(writer, network, node, setting, size)
        if isinstance(node, Concatenation):
            value, *others = others
        elif network.is_vector(node.inputs[0]):
            value = writer.vector("x", channels, WIDE, nonnegative)
        else:
            value = writer.source("x", size, channels, WIDE, nonnegative)
        for copy in range(copies):
            name = f"y{copy}"
            if isinstance(node, Convolution):
                result = writer.hard_swish(name, value, WIDE)
            elif key.operator == "squeeze_excite":
                result = writer.squeeze_excite(name, value, key.output_channels, WIDE)
            elif other is not None:
                writer.result(writer.read(other, name, WIDE))  # for who reads it besides
                result = writer.add(name, value, other, WIDE)
            else:
                own = dataclasses.replace(node, name=name)
                result = writer.plain(own, [value, *others], WIDE)
            writer.result(result)
        return
    bits, nonnegative = key.activation_bits, _reads_nonnegative(network, node)
    sizes = (channels, key.output_channels, key.kernel_size, key.weight_bits)
    layer = layer_of_site(network, node, *sizes).without_table()
    for copy in range(copies):
        if _reads_image(network, node):
            if not copy:
                image = writer.image(setting.resolution, channels, "uint8")
            value = writer.read(image, f"y{copy}", bits)
        elif not copy or bits < WIDE:  # each QUANTIZE reads a tensor of its own
            name = f"x{copy}"
            if network.is_vector(node.inputs[0]):
                value = writer.vector(name, channels, bits, nonnegative)
            else:
                value = writer.source(name, size, channels, bits, nonnegative)
        writer.result(writer.linear(layer.renamed(f"y{copy}"), value, WIDE))


def _other_inputs(
    writer: SubnetGraphWriter, network: Network, node: Node, setting: Setting, size: int
) -> list[Value]:
    """What a product reads besides its first input, or all that a concatenation joins."""
    if not isinstance(node, Product | Concatenation):
        return []
    names = node.inputs if isinstance(node, Concatenation) else node.inputs[1:]
    values = []
    for number, name in enumerate(names):
        width = network.width(name).value(setting.shape)
        nonnegative = network.is_nonnegative(name)
        if network.is_vector(name):
            values.append(writer.vector(f"z{number}", width, WIDE, nonnegative))
        else:
            values.append(writer.source(f"z{number}", size, width, WIDE, nonnegative))
    return values


def _reads_image(network: Network, node: Node) -> bool:
    return isinstance(network.node(node.inputs[0]), Image)


def _reads_nonnegative(network: Network, node: Node) -> bool:
    """Whether the input of a site is never negative; an image has the codes of bytes."""
    return _reads_image(network, node) or network.is_nonnegative(node.inputs[0])


def _reads_table(network: Network, node: Node) -> bool:
    """Whether a QUANTIZE in front becomes part of the table of a hard-swish."""
    source = network.node(node.inputs[0])
    is_table = isinstance(source, Convolution | Function) and source.activation in TABLES
    return is_table and len(network.consumers(source.name)) == 1
