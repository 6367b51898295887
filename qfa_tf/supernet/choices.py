"""From a genome tensor to what each layer of a supernet has to do, by a few table look-ups."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.layers import SiteChoice
from qfa_tf.layers.execution import Channels, Execution
from qfa_tf.layers.precision import PrecisionBank
from qfa_tf.layers.squeeze_excite import ExciteChoice
from qfa_tf.network import Convolution, SqueezeExcite, Width
from qfa_tf.network.choices import parts_of
from qfa_tf.network.network import largest
from qfa_tf.space import Fixed, SearchSpace

Choice = SiteChoice | ExciteChoice | Channels


class ChoiceTables:
    """Reads genomes of one space.

    Args:
      space: Search space.
      precision: Learned quantizer parameters of its sites.
    """

    def __init__(self, space: SearchSpace, precision: PrecisionBank):
        network = space.network
        self._precision = precision
        fixed = [choice for choice in space.choices if isinstance(choice, Fixed)]
        # After the genome come the fixed choices, then kernel size 1 of other sites.
        self._constants = np.array([*(choice.value for choice in fixed), 1], np.int32)
        columns = {choice.name: space.n_genes + i for i, choice in enumerate(fixed)}
        columns |= space.gene_index
        one = space.n_genes + len(fixed)
        self._columns = {
            "weight_bits": [columns[site.weight_bits] for site in network.sites],
            "activation_bits": [columns[site.activation_bits] for site in network.sites],
            "kernel_size": [
                one if isinstance(site.kernel_size, int) else columns[site.kernel_size]
                for site in network.sites
            ],
        }
        self._nodes = network.nodes
        self._sites = [site.name for site in network.sites]
        self._width_of = {node.name: network.width(node.name) for node in network.nodes}
        inner = [node.width for node in network.nodes if isinstance(node, SqueezeExcite)]
        # Few widths are distinct, and most of their tensors are shared by many layers.
        widths = dict.fromkeys([*self._width_of.values(), *inner])
        parts = dict.fromkeys(part for width in widths for part in parts_of(width))
        self._parts = {
            width: [(part, largest(network, part)) for part in parts_of(width)] for width in widths
        }
        smallest, most = network.ends
        self._elastic = [part for part in parts if part.value(smallest) < part.value(most)]
        self._widths = _WidthTable(space, self._elastic, columns) if self._elastic else None

    def read(self, genome: tf.Tensor, execution: Execution) -> dict[str, Choice]:
        """What `genome`, int32 [n_genes], chose for every node.

        The choices of skipped blocks are of no use but well-formed.

        Args:
          genome: Of the space.
          execution: What makes tensors of them.

        Returns:
          By node: the choice of a site or of a squeeze-excite, the channels of the result of any
          other node.
        """
        values = tf.concat([genome, self._constants], 0)
        read = {name: tf.gather(values, columns) for name, columns in self._columns.items()}
        precision = self._precision.read(
            read["weight_bits"], read["activation_bits"], read["kernel_size"]
        )
        kernel_sizes = dict(zip(self._sites, tf.unstack(read["kernel_size"]), strict=True))
        channels = self._channels(values, execution)
        choices: dict[str, Choice] = {}
        for node in self._nodes:
            own = channels[self._width_of[node.name]]
            choices[node.name] = own
            if isinstance(node, Convolution):
                incoming = channels[self._width_of[node.inputs[0]]]
                choices[node.name] = SiteChoice(
                    *precision[node.name], incoming, own, kernel_sizes[node.name], execution
                )
            elif isinstance(node, SqueezeExcite):
                choices[node.name] = ExciteChoice(own, channels[node.width], execution)
        return choices

    def _channels(self, values: tf.Tensor, execution: Execution) -> dict[Width, Channels]:
        """The channels that every width stands for."""
        counts: dict[Width, Any] = {}
        if self._widths is not None:
            rows = tf.unstack(self._widths.read(values)[:, None])
            counts = dict(zip(self._elastic, rows, strict=True))
        channels = {}
        for width, parts in self._parts.items():
            sizes = [size for _, size in parts]
            channels[width] = Channels.fixed(sizes)
            if any(part in counts for part, _ in parts):
                own = [counts.get(part, np.array([size], np.int32)) for part, size in parts]
                channels[width] = execution.channels(sizes, own)
        return channels


class _WidthTable:
    """Widths as functions of a few choices each.

    Args:
      space: Search space.
      widths: At least one, each with choices.
      columns: By choice, its place among all values.
    """

    def __init__(self, space: SearchSpace, widths: Sequence[Width], columns: dict[str, int]):
        names = [width.choices for width in widths]
        most = max(map(len, names))
        allowed = {choice.name: choice.choices for choice in space.choices}
        top = max(max(allowed[name]) for own in names for name in own)
        self._places = np.full((most, len(widths)), columns[space.network.resolution.name])
        self._steps = np.zeros((most, len(widths), top + 1), np.int32)
        starts: list[int] = []
        table: list[int] = []
        for row, (width, own) in enumerate(zip(widths, names, strict=True)):
            starts.append(len(table))
            counts = [len(allowed[name]) for name in own]
            for i, name in enumerate(own):
                self._places[i, row] = columns[name]
                stride = math.prod(counts[i + 1 :])
                # What is not offered, as by skipped blocks, reads as the largest.
                self._steps[i, row] = stride * (counts[i] - 1)
                self._steps[i, row, list(allowed[name])] = stride * np.arange(counts[i])
            for chosen in itertools.product(*(allowed[name] for name in own)):
                table.append(width.value(dict(zip(own, chosen, strict=True))))
        self._starts = np.array(starts, np.int32)
        self._table = np.array(table, np.int32)
        self._used = [i for i in range(most) if self._steps[i].any()]

    def read(self, values: tf.Tensor) -> tf.Tensor:
        """int32 [widths] from all values of a genome, fixed ones included."""
        index = tf.constant(self._starts)
        for i in self._used:
            steps = self._steps[i]
            chosen = tf.minimum(tf.gather(values, self._places[i]), steps.shape[1] - 1)
            index += tf.gather(steps, chosen, axis=1, batch_dims=1)
        return tf.gather(self._table, index)
