"""From a genome tensor to what each site of a supernet has to do, by a few table look-ups."""

import numpy as np
import tensorflow as tf

from qfa_tf.layers import SiteChoice
from qfa_tf.layers.precision import PrecisionBank
from qfa_tf.layers.statistics import input_width, output_width
from qfa_tf.space import Fixed, SearchSpace


class ChoiceTables:
    """Reads genomes of one space.

    Args:
      space: Search space.
      precision: Learned quantizer parameters of its sites.
    """

    def __init__(self, space: SearchSpace, precision: PrecisionBank):
        self._space = space
        self._precision = precision
        fixed = [choice for choice in space.choices if isinstance(choice, Fixed)]
        # After the genome come the fixed choices, then kernel size 1 and ratio 0 of other sites.
        self._constants = np.array([choice.value for choice in fixed] + [1, 0], np.int32)
        column = {choice.name: space.n_genes + i for i, choice in enumerate(fixed)}
        column |= space.gene_index
        one, zero = space.n_genes + len(fixed), space.n_genes + len(fixed) + 1
        self._columns = {
            "weight_bits": [column[f"{site.name}.weight_bits"] for site in space.sites],
            "activation_bits": [column[f"{site.name}.activation_bits"] for site in space.sites],
            "kernel_size": [
                column[f"{_block(site)}.kernel_size"] if site.kind == "depthwise" else one
                for site in space.sites
            ],
            "ratio": [
                zero if site.stage is None else column[f"{_block(site)}.expand_ratio"]
                for site in space.sites
            ],
        }
        ratios = max(stage.expand_ratios[-1] for stage in space.stages) + 1
        self._widths = np.array(
            [[_widths(space, site, ratio) for ratio in range(ratios)] for site in space.sites],
            np.int32,
        )

    def read(self, genome: tf.Tensor) -> dict[str, SiteChoice]:
        """What `genome`, int32 [n_genes], chose for every site.

        The choices of skipped blocks are of no use but well-formed.
        """
        values = tf.concat([genome, self._constants], 0)
        read = {name: tf.gather(values, columns) for name, columns in self._columns.items()}
        precision = self._precision.read(
            read["weight_bits"], read["activation_bits"], read["kernel_size"]
        )
        widths = tf.gather(self._widths, read["ratio"], axis=1, batch_dims=1)
        rows = zip(
            self._space.sites,
            tf.unstack(widths[:, :2]),
            tf.unstack(widths[:, 1:2]),
            tf.unstack(widths[:, 1:]),
            tf.unstack(read["kernel_size"]),
            strict=True,
        )
        return {
            site.name: SiteChoice(*precision[site.name], shape, output, squeeze, kernel_size)
            for site, shape, output, squeeze, kernel_size in rows
        }


def _block(site) -> str:
    return f"s{site.stage}.b{site.block}"


def _widths(space: SearchSpace, site, ratio: int) -> tuple[int, int, int]:
    """(input, output, squeeze) channels of a site at an expand ratio, largest where not offered."""
    if site.stage is None:
        return input_width(space, site), output_width(space, site), 0
    ratios = space.stages[site.stage].expand_ratios
    middle = space.mid_width(site.stage, site.block, ratio if ratio in ratios else ratios[-1])
    part = site.name.rpartition(".")[2]
    incoming = space.block_input_width(site.stage, site.block) if part == "expand" else middle
    outgoing = space.stages[site.stage].width if part == "project" else middle
    return incoming, outgoing, space.squeeze_width(middle)
