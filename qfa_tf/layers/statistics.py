"""Statistics of one subnet as a flat vector: normalization, activation ranges, output ranges.

Nothing in a supernet stores statistics. A forward pass either takes them from its own batch
(training), also returns them (calibration), or is given them (inference). One float32 vector
holds all of them, so that they can be averaged, stored and passed to a compiled graph.
"""

import dataclasses
import enum

import numpy as np
import tensorflow as tf

from qfa_tf.layers.squeeze_excite import PARTS
from qfa_tf.space import SearchSpace


class Mode(enum.Enum):
    """Where a forward pass has its statistics from."""

    TRAIN = "train"  # the batch; nothing is recorded
    CALIBRATE = "calibrate"  # the batch, recorded
    FROZEN = "frozen"  # given


@dataclasses.dataclass(frozen=True)
class Entry:
    """One named piece of the vector: `size` numbers from `start`."""

    name: str
    start: int
    size: int

    @property
    def slice(self) -> slice:
        """Its place."""
        return slice(self.start, self.start + self.size)


class StatisticsLayout:
    """Order of the statistics of a space.

    Entries, by site: `<site>.range` (activation range: low, high), `<site>.mean` and
    `<site>.variance` (batch normalization, padded to the largest width), `<site>.linear` (extremes
    before a hard-swish), `<site>.output` (extremes of what the site puts out); `<block>.se.<part>`
    (extremes in squeeze-excite), `<block>.sum` (extremes of a residual sum). Entries of a group (a
    block, `stem` or `head`) lie side by side.
    """

    def __init__(self, space: SearchSpace):
        self.groups: dict[str, list[Entry]] = {}
        self.size = 0
        for site in space.sites:
            group = group_of(site)
            self._add(group, f"{site.name}.range", 2)
            if has_normalization(site.name):
                width = output_width(space, site)
                self._add(group, f"{site.name}.mean", width)
                self._add(group, f"{site.name}.variance", width)
            if activation_of(space, site) == "hard_swish":
                self._add(group, f"{site.name}.linear", 2)
            self._add(group, f"{site.name}.output", 2)
            if site.kind == "depthwise" and space.stages[site.stage].squeeze_excite:
                for part in PARTS:
                    self._add(group, f"{group}.se.{part}", 2)
            ends_block = site.name.endswith(".project")
            if ends_block and space.has_residual(site.stage, site.block):
                self._add(group, f"{group}.sum", 2)
        self.entries = {entry.name: entry for group in self.groups.values() for entry in group}

    def _add(self, group: str, name: str, size: int) -> None:
        self.groups.setdefault(group, []).append(Entry(name, self.size, size))
        self.size += size

    def read(self, statistics, name: str):
        """The piece of a vector (NumPy or TensorFlow) called `name`."""
        return statistics[self.entries[name].slice]

    def pack(self, group: str, recorded: dict[str, tf.Tensor]) -> tf.Tensor:
        """Concatenates what one group recorded, padded to the largest widths."""
        pieces = []
        for entry in self.groups[group]:
            values = tf.cast(recorded[entry.name], tf.float32)
            values = tf.pad(values, [[0, entry.size - tf.shape(values)[0]]])
            pieces.append(tf.ensure_shape(values, [entry.size]))
        return tf.concat(pieces, 0)

    def group_size(self, group: str) -> int:
        """How many numbers a group has."""
        return sum(entry.size for entry in self.groups[group])

    def combine(
        self, vectors: list[np.ndarray], weights: list[int], precision: type = np.float64
    ) -> np.ndarray:
        """Statistics over several batches.

        Activation ranges and normalization are weighted means (the paper's calibration); output
        ranges, which deployment must not clip, are extremes.

        Args:
          vectors: float32 [size] each.
          weights: Images per batch.
          precision: What the means are computed in.
        """
        stacked = np.stack(vectors).astype(precision)
        combined = np.average(stacked, axis=0, weights=np.asarray(weights, precision))
        for entry in self.entries.values():
            if not entry.name.endswith((".range", ".mean", ".variance")):
                low, high = stacked[:, entry.slice].T
                combined[entry.slice] = low.min(), high.max()
        return combined.astype(np.float32)


def group_of(site) -> str:
    """Name of the group a site's statistics belong to."""
    if site.stage is not None:
        return f"s{site.stage}.b{site.block}"
    return "stem" if site.name == "stem" else "head"


def has_normalization(site_name: str) -> bool:
    """Whether batch normalization follows a site's convolution."""
    return site_name not in ("head.mix", "classifier")


def activation_of(space: SearchSpace, site) -> str:
    """Activation function after a site's convolution."""
    if site.name == "stem":
        return space.stem.activation
    if site.stage is not None:
        linear = site.name.endswith(".project")
        return "linear" if linear else space.stages[site.stage].activation
    return "linear" if site.name == "classifier" else space.head.activation


def output_width(space: SearchSpace, site) -> int:
    """Largest number of output channels of a site."""
    if site.stage is not None:
        if site.name.endswith(".project"):
            return space.stages[site.stage].width
        return space.max_mid_width(site.stage, site.block)
    widths = {
        "stem": space.stem.width,
        "head.expand": space.head.expand_width,
        "head.mix": space.head.mix_width,
        "classifier": space.num_classes,
    }
    return widths[site.name]


def input_width(space: SearchSpace, site) -> int:
    """Largest number of input channels of a site."""
    if site.stage is not None:
        if site.name.endswith(".expand"):
            return space.block_input_width(site.stage, site.block)
        return space.max_mid_width(site.stage, site.block)
    last = space.head.mix_width or space.head.expand_width
    widths = {
        "stem": space.input_channels,
        "head.expand": space.stages[-1].width,
        "head.mix": space.head.expand_width,
        "classifier": last,
    }
    return widths[site.name]
