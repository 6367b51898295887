"""Latency of subnets on a device, from a table of measured operators.

docs/latency_tables.md describes the file. A network takes the sum of its operators, times a
factor, and a constant.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qfa_tf.cost.choices import ChoiceReader
from qfa_tf.cost.errors import LatencyTableError
from qfa_tf.cost.geometry import convolution, output_size
from qfa_tf.cost.site_tables import Setting, SiteTable
from qfa_tf.space import SearchSpace, Site
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
    """

    operator: str
    input_size: int
    input_channels: int
    output_channels: int
    kernel_size: int = 1
    stride: int = 1
    weight_bits: int = 8
    activation_bits: int = 8


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

    def figure(site: Site, setting: Setting) -> float:
        keys = site_operators(space, site, setting)
        alone = sum(table.rows.get(key, np.nan) for key in keys)
        return table.factor * alone / MICROSECONDS_PER_MILLISECOND

    constant = table.fixed_microseconds / MICROSECONDS_PER_MILLISECOND
    return SiteTable(space, reader, figure, constant=constant, by_resolution=True)


def site_operators(space: SearchSpace, site: Site, setting: Setting) -> list[OperatorKey]:
    """The operators that come with a site: its convolution, and what follows it."""
    sizes = convolution(space, site, setting.kernel_size, setting.expand_ratio)
    size, channels = output_size(space, site, setting.resolution), sizes.biases
    stride, kernel_size = _stride(space, site), 1
    input_size = _input_size(space, site, setting.resolution, size)
    if site.kind == "depthwise":
        kernel_size, inputs = setting.kernel_size, channels
    else:
        kernel_size = space.stem.kernel_size if site.name == "stem" else 1
        inputs = sizes.weights // (channels * kernel_size**2)
    bits = (setting.weight_bits, setting.activation_bits)
    found = [OperatorKey(site.kind, input_size, inputs, channels, kernel_size, stride, *bits)]
    if _activation(space, site) == "hard_swish":
        found.append(OperatorKey("hard_swish", size, channels, channels))
    if site.kind == "depthwise" and space.stages[site.stage].squeeze_excite:
        squeezed = space.squeeze_width(channels)
        found.append(OperatorKey("squeeze_excite", size, channels, squeezed))
    if site.name.endswith(".project") and space.has_residual(site.stage, site.block):
        found.append(OperatorKey("add", size, channels, channels))
    if site.name == "head.expand":
        found.append(OperatorKey("pool", size, channels, channels))
    return found


def operators(space: SearchSpace, choices: Sequence[Sequence[int]]) -> list[OperatorKey]:
    """Every operator that the genomes with these values per gene have, sorted: what to measure."""
    return sorted(occurrences(space, choices))


def occurrences(
    space: SearchSpace, choices: Sequence[Sequence[int]]
) -> dict[OperatorKey, tuple[Site, Setting]]:
    """Maps every operator to one place where it occurs.

    Args:
      space: Search space.
      choices: Allowed values per gene, from `SearchSpace.restrict`.
    """

    def allowed(name: str) -> Sequence[int]:
        column = space.gene_index.get(name)
        return space.lookup(name).choices if column is None else choices[column]

    found = {}
    for site in space.sites:
        kernels, ratios = (1,), (1,)
        if site.stage is not None:
            if site.block >= max(allowed(f"s{site.stage}.depth")):
                continue
            kernels = allowed(f"s{site.stage}.b{site.block}.kernel_size")
            ratios = allowed(f"s{site.stage}.b{site.block}.expand_ratio")
        for setting in _settings(
            allowed("resolution"),
            kernels,
            ratios,
            allowed(f"{site.name}.weight_bits"),
            allowed(f"{site.name}.activation_bits"),
        ):
            for key in site_operators(space, site, setting):
                found.setdefault(key, (site, setting))
    return found


def _settings(resolutions, kernels, ratios, weight_bits, activation_bits) -> Iterator[Setting]:
    for resolution in resolutions:
        for kernel in kernels:
            for ratio in ratios:
                for weight in weight_bits:
                    for activation in activation_bits:
                        pair = min(weight, 8), min(activation, 8)
                        yield Setting(resolution, kernel, ratio, *pair)


def _input_size(space: SearchSpace, site: Site, resolution: int, output: int) -> int:
    if site.name == "stem":
        return resolution
    if site.kind == "depthwise" and site.block == 0:
        return space.feature_size(resolution, site.stage - 1)
    return output


def _stride(space: SearchSpace, site: Site) -> int:
    if site.name == "stem":
        return space.stem.stride
    return space.block_stride(site.stage, site.block) if site.kind == "depthwise" else 1


def _activation(space: SearchSpace, site: Site) -> str:
    if site.name == "stem":
        return space.stem.activation
    if site.stage is not None:
        return "linear" if site.name.endswith(".project") else space.stages[site.stage].activation
    return "linear" if site.name == "classifier" else space.head.activation


def _key_and_value(row: dict[str, Any]) -> tuple[OperatorKey, float]:
    fields = dict(row)
    value = _time(fields.pop("microseconds"))
    key = OperatorKey(**fields)
    if key.operator not in OPERATORS:
        raise ValueError(f"operator must be one of {OPERATORS}, received {key.operator!r}")
    if not all(isinstance(number, int) and number > 0 for number in key[1:]):
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
