"""From a genome tensor to what each layer of a supernet has to do, by a few table look-ups."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.layers import SiteChoice
from qfa_tf.layers.precision import PrecisionBank
from qfa_tf.network import Network, Node, SqueezeExcite, Width
from qfa_tf.network.choices import distinct, parts_of
from qfa_tf.space import Fixed, SearchSpace


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
        self._sites = [site.name for site in network.sites]
        excites = [node for node in network.nodes if isinstance(node, SqueezeExcite)]
        self._excites = [node.name for node in excites]
        widths = [_site_widths(network, site) for site in network.sites]
        widths += [_excite_widths(network, node) for node in excites]
        self._widths = _WidthTable(space, widths, columns)

    def read(self, genome: tf.Tensor) -> dict[str, SiteChoice | tf.Tensor]:
        """What `genome`, int32 [n_genes], chose for every layer.

        The choices of skipped blocks are of no use but well-formed. Those of a squeeze-excite are
        int32 [2], its channels and those between its convolutions.
        """
        values = tf.concat([genome, self._constants], 0)
        read = {name: tf.gather(values, columns) for name, columns in self._columns.items()}
        precision = self._precision.read(
            read["weight_bits"], read["activation_bits"], read["kernel_size"]
        )
        widths = self._widths.read(values)
        count = len(self._sites)
        rows = zip(
            self._sites,
            tf.unstack(widths[:count, :2]),
            tf.unstack(widths[:count, 1:2]),
            tf.unstack(widths[:count, 2:]),
            tf.unstack(read["kernel_size"]),
            strict=True,
        )
        choices = {
            site: SiteChoice(*precision[site], shape, output, parts, kernel_size)
            for site, shape, output, parts, kernel_size in rows
        }
        if self._excites:
            shapes = tf.unstack(widths[count:, :2])
            choices |= dict(zip(self._excites, shapes, strict=True))
        return choices


class _WidthTable:
    """Widths of many layers, each a function of a few choices.

    Args:
      space: Search space.
      widths: By layer, its widths; padded with the last one to one length.
      columns: By choice, its place among all values.
    """

    def __init__(
        self, space: SearchSpace, widths: Sequence[Sequence[Width]], columns: dict[str, int]
    ):
        longest = max(map(len, widths))
        names = [distinct(*(name for width in row for name in width.choices)) for row in widths]
        most = max(1, max(map(len, names)))
        allowed = {choice.name: choice.choices for choice in space.choices}
        top = max((max(allowed[name]) for row in names for name in row), default=0)
        self._places = np.full((most, len(widths)), columns[space.network.resolution.name])
        self._steps = np.zeros((most, len(widths), top + 1), np.int32)
        starts: list[int] = []
        table: list[list[int]] = []
        for layer, (row, own) in enumerate(zip(widths, names, strict=True)):
            starts.append(len(table))
            counts = [len(allowed[name]) for name in own]
            for i, name in enumerate(own):
                self._places[i, layer] = columns[name]
                stride = math.prod(counts[i + 1 :])
                # What is not offered, as by skipped blocks, reads as the largest.
                self._steps[i, layer] = stride * (counts[i] - 1)
                self._steps[i, layer, list(allowed[name])] = stride * np.arange(counts[i])
            for chosen in itertools.product(*(allowed[name] for name in own)):
                values = dict(zip(own, chosen, strict=True))
                numbers = [width.value(values) for width in row]
                table.append(numbers + numbers[-1:] * (longest - len(numbers)))
        self._starts = np.array(starts, np.int32)
        self._table = np.array(table, np.int32)
        self._used = [i for i in range(most) if self._steps[i].any()]

    def read(self, values: tf.Tensor) -> tf.Tensor:
        """int32 [layers, widths] from all values of a genome, fixed ones included."""
        index = tf.constant(self._starts)
        for i in self._used:
            steps = self._steps[i]
            chosen = tf.minimum(tf.gather(values, self._places[i]), steps.shape[1] - 1)
            index += tf.gather(steps, chosen, axis=1, batch_dims=1)
        return tf.gather(self._table, index)


def _site_widths(network: Network, site: Node) -> list[Width]:
    """Input, output, and the parts of the input."""
    incoming = network.width(site.inputs[0])
    return [incoming, network.width(site.name), *parts_of(incoming)]


def _excite_widths(network: Network, node: SqueezeExcite) -> list[Width]:
    return [network.width(node.name), node.width]
