"""Latency of subnets on a device, from a table of measured operators.

docs/latency_tables.md describes the file. A network takes the sum of its operators, times a
factor, and a constant.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qfa_tf.cost.choices import ChoiceReader
from qfa_tf.cost.errors import LatencyTableError
from qfa_tf.cost.geometry import Unit, units
from qfa_tf.cost.site_cost import CHARGED_BITS
from qfa_tf.cost.site_tables import Setting, SiteTable
from qfa_tf.network import (
    Concatenation,
    Convolution,
    Function,
    GlobalPooling,
    Network,
    Node,
    Padding,
    Pooling,
    Product,
    SqueezeExcite,
    Sum,
    Upsampling,
    kernel_size,
)
from qfa_tf.network.nodes import TABLES
from qfa_tf.space import SearchSpace
from quantize_configs.files import write_text

SCHEMA_VERSION = 1
KIND = "latency_table"
OPERATORS = (
    "convolution",
    "depthwise",
    "pointwise",
    "dense",
    "add",
    "pool",
    "hard_swish",
    "squeeze_excite",
    "multiply",
    "concatenate",
    "max_pool",
    "average_pool",
    "reduce_max",
    "pad",
    "resize",
    "relu",
    "relu6",
    *(name for name in TABLES if name != "hard_swish"),
)
MICROSECONDS_PER_MILLISECOND = 1000
_SHOWN = 3


class OperatorKey(NamedTuple):
    """What identifies a row.

    Attributes:
      operator: One of OPERATORS.
      input_size: Height and width of the input.
      input_channels: Of the input.
      output_channels: Of the output; of squeeze-excite, the channels between its convolutions.
      kernel_size: 1 where there is none.
      stride: 1 where there is none.
      weight_bits: 2, 3, 4 or 8; 8 where there are no weights.
      activation_bits: Of the input; 8 where it is not quantized to fewer.
      kernel_width: Of a kernel that is not square; 0 elsewhere.
      groups: Of a convolution.
      dilation: Of a kernel whose weights are so far apart; 1 elsewhere.
    """

    operator: str
    input_size: int
    input_channels: int
    output_channels: int
    kernel_size: int = 1
    stride: int = 1
    weight_bits: int = 8
    activation_bits: int = 8
    kernel_width: int = 0
    groups: int = 1
    dilation: int = 1


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """Measured operators of one device.

    Attributes:
      name: For `latency_ms@NAME`; letters, digits, `_`, `.` and `-`.
      device: What was measured, for people.
      versions: Of the runtime and whatever else matters.
      date: ISO 8601.
      rows: Microseconds per operator, measured alone.
      fixed_microseconds: Per inference, whatever the network.
      factor: By which operators take longer in a network than alone.
    """

    name: str
    device: str
    versions: Mapping[str, str]
    date: str
    rows: Mapping[OperatorKey, float]
    fixed_microseconds: float = 0.0
    factor: float = 1.0

    def write(self, path: str | os.PathLike) -> None:
        """Writes the table as JSON, one line per row.

        Raises:
          FileWriteError: The file cannot be written; the old one is untouched.
        """
        head = {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "name": self.name,
            "device": self.device,
            "versions": dict(self.versions),
            "date": self.date,
            "fixed_microseconds": self.fixed_microseconds,
            "factor": self.factor,
        }
        rows = [
            json.dumps({**key._asdict(), "microseconds": value})
            for key, value in sorted(self.rows.items())
        ]
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        lines.append('"rows": [\n' + ",\n".join(rows) + "\n]")
        write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "LatencyTable":
        """Reads a table.

        Raises:
          LatencyTableError: No such file, damaged, or of another schema version.
        """
        path = pathlib.Path(path)
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(fields, dict) or fields.get("kind") != KIND:
                raise LatencyTableError(f"{path} is no latency table (see docs/latency_tables.md).")
            if fields.get("schema_version") != SCHEMA_VERSION:
                raise LatencyTableError(
                    f"{path} has schema version {fields.get('schema_version')!r}; this release "
                    f"reads {SCHEMA_VERSION}. Measure it again."
                )
            rows = {}
            for row in fields["rows"]:
                key, value = _key_and_value(row)
                if key in rows:
                    raise ValueError(f"two rows for {key._asdict()}")
                rows[key] = value
            return cls(
                name=_name(fields["name"]),
                device=str(fields["device"]),
                versions={str(k): str(v) for k, v in fields["versions"].items()},
                date=str(fields["date"]),
                rows=rows,
                fixed_microseconds=_time(fields.get("fixed_microseconds", 0.0)),
                factor=_time(fields.get("factor", 1.0)),
            )
        except LatencyTableError:
            raise
        except FileNotFoundError:
            raise LatencyTableError(f"There is no latency table {path}.") from None
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise LatencyTableError(
                f"{path} is no valid latency table: {error!r}. docs/latency_tables.md describes "
                "the format."
            ) from error

    def require(self, space: SearchSpace, choices: Sequence[Sequence[int]]) -> None:
        """Raises LatencyTableError unless there is a row for each operator of the genomes.

        Args:
          space: Search space.
          choices: Allowed values per gene, from `SearchSpace.restrict`.
        """
        missing = [key for key in operators(space, choices) if key not in self.rows]
        if missing:
            shown = "; ".join(str(key._asdict()) for key in missing[:_SHOWN])
            raise LatencyTableError(
                f"Latency table {self.name!r} misses {len(missing)} operators of space "
                f"{space.name!r}, such as {shown}. Measure these on the device, or search fewer "
                "bit-widths."
            )


def latency(space: SearchSpace, reader: ChoiceReader, table: LatencyTable) -> SiteTable:
    """Returns the table whose totals are milliseconds; NaN where the latency table misses a row."""

    def figure(unit: Unit, setting: Setting) -> float:
        keys = unit_operators(space.network, unit, setting)
        alone = sum(table.rows.get(key, np.nan) for key, _ in keys)
        return table.factor * alone / MICROSECONDS_PER_MILLISECOND

    constant = table.fixed_microseconds / MICROSECONDS_PER_MILLISECOND
    return SiteTable(space, reader, figure, constant=constant, by_resolution=True)


def unit_operators(
    network: Network, unit: Unit, setting: Setting
) -> list[tuple[OperatorKey, Node]]:
    """The operators of a site and of what follows it, each with its node."""
    found = []
    for node in unit.nodes:
        found += [(key, node) for key in _node_operators(network, node, setting)]
    return found


def _node_operators(network: Network, node: Node, setting: Setting) -> list[OperatorKey]:
    size, source = network.size(node.name, setting.resolution), node.inputs[0]
    input_size = network.size(source, setting.resolution)
    inputs, channels = (network.width(name).value(setting.shape) for name in (source, node.name))
    if isinstance(node, Convolution):
        bits = (setting.weight_bits, setting.activation_bits)
        kernel = kernel_size(node, setting.shape)
        form = (node.kernel_width or 0, node.groups, node.dilation)
        sizes = (input_size, inputs, channels, kernel, node.stride)
        keys = [OperatorKey(node.kind, *sizes, *bits, *form)]
    elif isinstance(node, SqueezeExcite):
        inner = node.width.value(setting.shape)
        return [OperatorKey("squeeze_excite", size, channels, inner)]
    elif isinstance(node, Pooling):
        name = f"{node.reduction}_pool"
        return [OperatorKey(name, input_size, channels, channels, node.window, node.stride)]
    elif isinstance(node, GlobalPooling):
        if node.reduction == "max":
            return [OperatorKey("reduce_max", input_size, channels, channels)]
        return [OperatorKey("pool", input_size, channels, channels)]
    else:
        kind = _NAMES.get(type(node))
        keys = [] if kind is None else [OperatorKey(kind, input_size, channels, channels)]
    if isinstance(node, Convolution | Function) and _is_operator(network, node):
        keys.append(OperatorKey(node.activation, size, channels, channels))
    return keys


_NAMES: Mapping[type[Node], str] = {
    Sum: "add",
    Product: "multiply",
    Concatenation: "concatenate",
    Padding: "pad",
    Upsampling: "resize",
}


def _is_operator(network: Network, node: Convolution | Function) -> bool:
    """Whether the activation function of a node is an operator of its own."""
    if node.activation in TABLES or isinstance(node, Convolution):
        return node.activation in TABLES
    source = network.node(node.inputs[0])
    fuses = isinstance(source, Sum) and len(network.consumers(source.name)) == 1
    return node.activation != "linear" and not fuses


def operators(space: SearchSpace, choices: Sequence[Sequence[int]]) -> list[OperatorKey]:
    """Every operator that the genomes with these values per gene have, sorted: what to measure."""
    return sorted(occurrences(space, choices))


def occurrences(
    space: SearchSpace, choices: Sequence[Sequence[int]]
) -> dict[OperatorKey, tuple[Node, Setting]]:
    """Maps every operator to one place where it occurs.

    Args:
      space: Search space.
      choices: Allowed values per gene, from `SearchSpace.restrict`.
    """
    network = space.network
    allowed = {choice.name: tuple(choice.choices) for choice in space.choices}
    allowed |= {gene.name: tuple(choices[gene.column]) for gene in space.genes}
    found: dict[OperatorKey, tuple[Node, Setting]] = {}
    for unit in units(network):
        slot = unit.nodes[0].slot
        if slot is not None:
            own = network.slot(slot)
            if own.position >= max(allowed[own.depth]):
                continue
        for setting in _settings(network, unit, allowed):
            for key, node in unit_operators(network, unit, setting):
                found.setdefault(key, (node, setting))
    return found


def _settings(
    network: Network, unit: Unit, allowed: Mapping[str, Sequence[int]]
) -> Iterator[Setting]:
    shapes = {name for node in unit.nodes for name in network.shape_choices(node)}
    names = [choice.name for choice in network.choices if choice.name in shapes]
    site = unit.site
    bits = (site.weight_bits, site.activation_bits) if site else ()
    wide = (CHARGED_BITS,) * (2 - len(bits))
    options = [allowed[name] for name in (network.resolution.name, *names, *bits)]
    for resolution, *values in itertools.product(*options):
        shape = dict(zip(names, values, strict=False))
        pair = [min(value, CHARGED_BITS) for value in values[len(names) :]]
        yield Setting(resolution, shape, *pair, *wide)


def _key_and_value(row: dict[str, Any]) -> tuple[OperatorKey, float]:
    fields = dict(row)
    value = _time(fields.pop("microseconds"))
    key = OperatorKey(**fields)
    if key.operator not in OPERATORS:
        raise ValueError(f"operator must be one of {OPERATORS}, received {key.operator!r}")
    positive = key._replace(kernel_width=key.kernel_width or 1)
    if not all(isinstance(number, int) and number > 0 for number in positive[1:]):
        raise ValueError(f"sizes and bits must be positive ints, received {row}")
    return key, value


def _time(value: Any) -> float:
    value = float(value)
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"times must be finite and at least 0, received {value}")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.replace("-", "_").replace(".", "_").isidentifier():
        raise ValueError(f"name must start with a letter and hold no spaces, received {value!r}")
    return value
