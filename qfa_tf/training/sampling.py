"""Drawing the subnets of a training step inside the graph."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.space import SearchSpace
from qfa_tf.training.uniform_numbers import stateless_uniform
from quantize_configs.errors import InvalidInputError
from quantize_configs.fake_quantization import FLOAT_BITS

BOTH_FLOAT_PROBABILITY = 0.2


class SubnetSampler:
    """Draws [smallest, largest, random, ...] genomes from (seed, step), without any state.

    The smallest and the largest subnet have the extreme depths, expand ratios and resolution,
    and one random kernel size and one random bit-width for the whole net (the sandwich rule as
    in QFA). All other subnets draw every gene independently.

    Where a draw leaves exactly one of the weight and the activation of a site in float, both
    become float with probability 0.2, otherwise the float one is drawn again without float.

    Args:
      space: Search space.
      stage_bits: Allowed bit-widths per training stage, 32 among them for float.
      random_subnets: How many random subnets follow the smallest and the largest one.
      seed: Any int.
    """

    def __init__(
        self,
        space: SearchSpace,
        stage_bits: Sequence[Sequence[int]],
        random_subnets: int,
        seed: int,
    ):
        self.random_subnets = random_subnets
        self._seed = seed
        genes = space.genes
        is_bits = np.array([gene.is_bits for gene in genes], bool)
        is_kernel = np.array([gene.role == "kernel_size" for gene in genes], bool)
        self._shared = tf.constant(np.where(is_kernel, 1, np.where(is_bits, 2, 0)), tf.int32)
        tables = [_choice_table(genes, bits) for bits in stage_bits]
        width = max(table.shape[1] for table, _ in tables)
        padded = [np.pad(table, ((0, 0), (0, width - table.shape[1]))) for table, _ in tables]
        self._choices = tf.constant(np.stack(padded), tf.int32)  # also of a space without genes
        self._quantized_counts = tf.constant(np.stack([counts for _, counts in tables]), tf.int32)
        has_float = [FLOAT_BITS in bits for bits in stage_bits]
        float_bits = np.array(has_float, np.int32)[:, None] * is_bits.astype(np.int32)
        self._counts = self._quantized_counts + float_bits
        pairs = [
            (space.gene_index[site.weight_bits], space.gene_index[site.activation_bits])
            for site in space.network.sites
            if site.weight_bits in space.gene_index and site.activation_bits in space.gene_index
        ]
        partner = np.arange(len(genes))
        for weight, activation in pairs:
            partner[weight], partner[activation] = activation, weight
        self._partner = tf.constant(partner, tf.int32)

    @property
    def roles(self) -> tuple[str, ...]:
        """What the rows of a draw are."""
        return ("smallest", "largest", *["random"] * self.random_subnets)

    def draw(self, step: tf.Tensor, stage: tf.Tensor) -> tf.Tensor:
        """Genomes of one step, int32 [2 + random_subnets, n_genes] (not canonical).

        Args:
          step: int64 scalar, number of the training step.
          stage: int32 scalar, index of the training stage.
        """
        n_genes = self._shared.shape[0]
        rows = 2 + self.random_subnets
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(step, tf.int64)])
        for_genes, for_nets = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        uniform = stateless_uniform([3, rows, n_genes], for_genes)
        position, again, coin = tf.unstack(uniform)
        extremes = self._extremes(stateless_uniform([2, 2], for_nets))
        position = tf.concat([extremes, position[2:]], 0)
        # Places in tables are gathered: XLA compiles a slice anew for every place.
        counts = tf.gather(self._counts, stage)
        quantized = tf.gather(self._quantized_counts, stage)
        values = self._pick(stage, position, counts)
        other = tf.gather(values, self._partner, axis=1)
        mixed = (values == FLOAT_BITS) != (other == FLOAT_BITS)
        # One coin per pair: both members must decide alike.
        coin = tf.minimum(coin, tf.gather(coin, self._partner, axis=1))
        both_float = coin < 1.0 - np.sqrt(1.0 - BOTH_FLOAT_PROBABILITY)
        redrawn = self._pick(stage, again, quantized)
        resolved = tf.where(both_float, FLOAT_BITS, tf.where(values == FLOAT_BITS, redrawn, values))
        return tf.where(mixed, resolved, values)

    def _extremes(self, shared: tf.Tensor) -> tf.Tensor:
        """Positions in [0, 1) of all genes of the smallest and the largest subnet.

        Args:
          shared: float32 [2, 2]: position of the kernel size and of the bits, per subnet.
        """
        below_one = np.nextafter(np.float32(1), np.float32(0))
        ends = tf.constant([[0.0], [below_one]], tf.float32)
        return tf.gather(tf.concat([ends, shared], 1), self._shared, axis=1)

    def _pick(self, stage, position, counts):
        index = tf.cast(position * tf.cast(counts, tf.float32), tf.int32)
        index = tf.clip_by_value(index, 0, tf.maximum(counts - 1, 0))
        table = tf.broadcast_to(
            tf.gather(self._choices, stage), [tf.shape(index)[0], *self._choices.shape[1:]]
        )
        return tf.gather(table, index, axis=2, batch_dims=2)


def _choice_table(genes, bits):
    """Values per gene [n_genes, width], float last, and how many of them are quantized."""
    rows, counts = [], []
    for gene in genes:
        allowed = gene.choices
        if gene.is_bits:
            allowed = [value for value in gene.choices if value in bits]
            if not allowed and FLOAT_BITS not in bits:
                raise InvalidInputError(
                    f"A training stage allows the bits {tuple(bits)}, but {gene.name} offers "
                    f"{gene.choices}. Each stage must leave every site a choice."
                )
            counts.append(len(allowed))
            allowed = [*allowed, FLOAT_BITS]
        else:
            counts.append(len(allowed))
        rows.append(list(allowed))
    width = max(map(len, rows), default=1)
    table = np.array([row + row[-1:] * (width - len(row)) for row in rows], np.int32)
    return table.reshape(len(rows), width), np.array(counts, np.int32)
