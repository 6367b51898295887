"""Statistics of one subnet as a flat vector: normalization, activation ranges, output ranges.

Nothing in a supernet stores statistics. A forward pass either takes them from its own batch
(training), also returns them (calibration), or is given them (inference). One float32 vector
holds all of them, so that they can be averaged, stored and passed to a compiled graph.
"""

import dataclasses
import enum
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from qfa_tf.layers.squeeze_excite import PARTS
from qfa_tf.network import (
    Concatenation,
    Convolution,
    Function,
    GlobalPooling,
    Image,
    Network,
    Node,
    Pooling,
    Product,
    Rescaling,
    SqueezeExcite,
    Sum,
    Upsampling,
)
from qfa_tf.network.nodes import TABLES

MAKE_GRIDS = (Sum, Product, Concatenation, Function, Rescaling)
"""Nodes without weights whose results may need a grid of their own."""


class Mode(enum.Enum):
    """Where a forward pass has its statistics from."""

    TRAIN = "train"  # the batch; nothing is recorded
    CALIBRATE = "calibrate"  # the batch, recorded
    SETTLE = "settle"  # given ranges of activations, else the batch, recorded
    FROZEN = "frozen"  # given

    @property
    def records(self) -> bool:
        """Whether statistics are recorded."""
        return self in (Mode.CALIBRATE, Mode.SETTLE)

    @property
    def takes_statistics(self) -> bool:
        """Whether statistics are given, at least ranges of activations."""
        return self in (Mode.SETTLE, Mode.FROZEN)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One named piece of the vector: `size` numbers from `start`.

    Attributes:
      name: `<node>.<what>`, or `<node>` alone.
      start: Place of its first number.
      size: How many numbers it has.
      is_mean: Whether batches are averaged; else the numbers are a minimum and a maximum.
    """

    name: str
    start: int
    size: int
    is_mean: bool

    @property
    def slice(self) -> slice:
        """Its place."""
        return slice(self.start, self.start + self.size)


class StatisticsLayout:
    """Order of the statistics of a network.

    Entries of a site: `<site>.range` (activation range: low, high), `<site>.mean` and
    `<site>.variance` (batch normalization, padded to the largest width), `<site>.linear` (extremes
    before a hard-swish), `<site>.output` (extremes of what the site puts out). Of squeeze-excite:
    `<node>.<part>` (extremes), see `PARTS`. Of other nodes that make a grid, such as sums:
    `<node>` (extremes). Entries of a section of the network lie side by side.

    Attributes:
      sections: The entries by sections of the network, see `Network.sections`.
      entries: All entries by name.
      size: Length of the vector.
    """

    def __init__(self, network: Network):
        self.sections: list[list[Entry]] = []
        self.size = 0
        for _, nodes in network.sections():
            self.sections.append([])
            for node in nodes:
                for name, size, is_mean in _entries(network, node):
                    self.sections[-1].append(Entry(name, self.size, size, is_mean))
                    self.size += size
        self.entries = {entry.name: entry for section in self.sections for entry in section}

    def read(self, statistics, name: str):
        """The piece of a vector (NumPy or TensorFlow) called `name`."""
        return statistics[self.entries[name].slice]

    def pack(self, section: int, recorded: dict[str, tf.Tensor]) -> tf.Tensor:
        """Concatenates what one section recorded, padded to the largest widths."""
        pieces = [tf.zeros([0])]
        for entry in self.sections[section]:
            values = tf.cast(recorded[entry.name], tf.float32)
            values = tf.pad(values, [[0, entry.size - tf.shape(values)[0]]])
            pieces.append(tf.ensure_shape(values, [entry.size]))
        return tf.concat(pieces, 0)

    def section_size(self, section: int) -> int:
        """How many numbers a section has."""
        return sum(entry.size for entry in self.sections[section])

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
        stacked: np.ndarray = np.stack(vectors).astype(precision)
        combined = np.average(stacked, axis=0, weights=np.asarray(weights, precision))
        for entry in self.entries.values():
            if not entry.is_mean:
                low, high = stacked[:, entry.slice].T
                combined[entry.slice] = low.min(), high.max()
        return combined.astype(np.float32)


def _entries(network: Network, node: Node) -> Iterator[tuple[str, int, bool]]:
    """(name, size, whether it is a mean) of what is recorded at a node."""
    if isinstance(node, Convolution):
        yield f"{node.name}.range", 2, True
        if node.normalization:
            width = network.largest_width(node.name)
            yield f"{node.name}.mean", width, True
            yield f"{node.name}.variance", width, True
        if node.activation in TABLES:
            yield f"{node.name}.linear", 2, False
        yield f"{node.name}.output", 2, False
    elif isinstance(node, SqueezeExcite):
        for part in PARTS:
            yield f"{node.name}.{part}", 2, False
    elif _makes_grid(network, node):
        yield node.name, 2, False


def _makes_grid(network: Network, node: Node) -> bool:
    """Whether the result of a node without weights may need a grid of its own on the device."""
    if isinstance(node, Pooling):
        return node.reduction == "average"
    if isinstance(node, GlobalPooling) and node.reduction == "max":
        return False
    if isinstance(node, Upsampling):
        return node.interpolation == "bilinear"
    if isinstance(node, Image | GlobalPooling):  # one site reads it on its own grid
        readers = network.consumers(node.name)
        is_alone = len(readers) == 1 and isinstance(readers[0], Convolution)
        return not is_alone and (len(readers) > 1 or isinstance(node, GlobalPooling))
    return isinstance(node, MAKE_GRIDS)
