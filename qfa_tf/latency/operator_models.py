"""The operators of a latency table as models that a device can measure."""

from qfa_tf.cost.latency_table import OperatorKey
from qfa_tf.cost.site_tables import Setting
from qfa_tf.cost.tflite_size import container_bits
from qfa_tf.latency.subnet_graph import DENSE_SITES, WIDE, SubnetGraphWriter, layer_of_site
from qfa_tf.space import SearchSpace, Site
from tflite_tools.flatbuffer.emitter import emit

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
_NONNEGATIVE = ("relu", "relu6")


def measured_as(key: OperatorKey, space: SearchSpace, site: Site) -> OperatorKey:
    """The operator that stands for all that are the same one on the device.

    Weight bits matter only through the container, activation bits only when they bring a QUANTIZE.

    Args:
      key: The operator.
      space: A space in which it occurs.
      site: A site at which it does.
    """
    if key.operator != site.kind:
        return key
    container = container_bits(site, key.input_channels, key.weight_bits)
    quantizes = (
        key.activation_bits < WIDE
        and (container < WIDE or not _reads_nonnegative(space, site))
        and not _reads_table(space, site)
    )
    return key._replace(weight_bits=container, activation_bits=NARROW if quantizes else WIDE)


def operator_model(
    key: OperatorKey, space: SearchSpace, site: Site, setting: Setting
) -> tuple[bytes, int]:
    """A model of one operator and what belongs to it, and how many copies of it the model holds.

    Copies read one tensor and have weights of their own.

    Args:
      key: From `measured_as`.
      space: A space in which it occurs.
      site: A site at which it does.
      setting: That of the site.
    """
    copies = max(1, min(SMALL_COPIES, _WORK // max(1, work(key))))
    size = weight_bytes(key)
    if size > _FEW_BYTES:
        copies = max(copies, min(MOST_COPIES, round(_CACHE_BYTES / size)))
    writer = SubnetGraphWriter()
    _write(writer, key, space, site, setting, copies)
    return emit(writer.graph), copies


def work(key: OperatorKey) -> int:
    """Multiply-accumulates, or what stands for them in operators without weights."""
    size = -(-key.input_size // key.stride)
    if key.operator == "depthwise":
        return size**2 * key.kernel_size**2 * key.output_channels
    if key.operator in ("convolution", "pointwise", "dense"):
        return size**2 * key.kernel_size**2 * key.input_channels * key.output_channels
    return _WORK_PER_ELEMENT * size**2 * key.input_channels


def weight_bytes(key: OperatorKey) -> float:
    """Bytes of the weights of an operator from `measured_as`."""
    if key.operator not in ("convolution", "depthwise", "pointwise", "dense"):
        return 0.0
    inputs = 1 if key.operator == "depthwise" else key.input_channels
    return key.kernel_size**2 * inputs * key.output_channels * key.weight_bits / 8


def _write(writer, key, space, site, setting, copies) -> None:
    size, channels = key.input_size, key.input_channels
    if key.operator != site.kind:
        nonnegative = key.operator == "squeeze_excite" and _is_nonnegative(space, site)
        value = writer.source("x", size, channels, WIDE, nonnegative)
        other = writer.source("z", size, channels, WIDE, False) if key.operator == "add" else None
        for copy in range(copies):
            if key.operator == "hard_swish":
                result = writer.hard_swish(f"y{copy}", value, WIDE)
            elif key.operator == "squeeze_excite":
                result = writer.squeeze_excite(f"y{copy}", value, key.output_channels, WIDE)
            elif key.operator == "add":
                writer.result(writer.read(other, f"y{copy}", WIDE))  # for who reads it besides
                result = writer.add(f"y{copy}", value, other, WIDE)
            else:
                result = writer.mean(f"y{copy}", value, WIDE)
            writer.result(result)
        return
    bits, nonnegative = key.activation_bits, _reads_nonnegative(space, site)
    layer = layer_of_site(
        space, site, key.output_channels, channels, key.weight_bits, key.kernel_size
    ).without_table()
    for copy in range(copies):
        if site.name == "stem":
            if not copy:
                image = writer.image(setting.resolution, channels, "uint8")
            value = writer.read(image, f"y{copy}", bits)
        elif not copy or bits < WIDE:  # each QUANTIZE reads a tensor of its own
            name = f"x{copy}"
            if site.name in DENSE_SITES:
                value = writer.vector(name, channels, bits, nonnegative)
            else:
                value = writer.source(name, size, channels, bits, nonnegative)
        writer.result(writer.linear(layer.renamed(f"y{copy}"), value, WIDE))


def _reads_nonnegative(space: SearchSpace, site: Site) -> bool:
    """Whether the input of a site is never negative."""
    if site.name == "stem":
        return True  # an image
    if site.stage is None:
        return site.name != "head.expand" and space.head.activation in _NONNEGATIVE
    if site.name.endswith(".project"):
        return space.stages[site.stage].activation in _NONNEGATIVE
    if site.kind == "depthwise" and space.stages[site.stage].has_expand:
        return space.stages[site.stage].activation in _NONNEGATIVE
    first = (site.stage, site.block) == (0, 0)
    return first and space.stem.activation in _NONNEGATIVE


def _reads_table(space: SearchSpace, site: Site) -> bool:
    """Whether a QUANTIZE in front becomes part of the table of a hard-swish."""
    if site.stage is None or site.name.endswith(".expand"):
        return False
    stage = space.stages[site.stage]
    if stage.activation in _NONNEGATIVE:
        return False
    return stage.has_expand if site.kind == "depthwise" else not stage.squeeze_excite


def _is_nonnegative(space: SearchSpace, site: Site) -> bool:
    return space.stages[site.stage].activation in _NONNEGATIVE
