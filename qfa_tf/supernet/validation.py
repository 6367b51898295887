"""What `evaluate` and the `validation_data` of `fit` measure: a few subnets, each calibrated."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.space import Architecture, SearchSpace
from qfa_tf.space.errors import GenomeError
from qfa_tf.supernet.epoch_means import Logs, over_roles
from qfa_tf.supernet.protocol import Supernet

CALIBRATION_BATCHES = 8
COUNT = "images"
ALONE = "subnet"
_SEED = 0


def validated_subnets(net: Supernet, stage: int) -> dict[str, Architecture]:
    """The subnets by role: smallest, largest and a random one that is always the same.

    The smallest has the fewest bits of the stage, the largest the most; the random one draws among
    them. In float stages all are in float. Where one architecture is trained alone it is that one.

    Args:
      net: Compiled.
      stage: Index of the training stage.
    """
    space, recipe = net.space, net.training_method.recipe
    is_float = recipe.stages[stage].is_float
    if recipe.architecture is not None:
        subnets = {ALONE: recipe.architecture}
    else:
        allowed = _allowed(space, recipe.stages[stage].bits)
        ends = [np.array([values[end] for values in allowed], np.int32) for end in (0, -1)]
        genomes = space.canonicalize(np.stack(ends))
        drawn = space.sample_genomes(np.random.default_rng(_SEED), 1, allowed)[0]
        subnets = {
            "smallest": space.decode(genomes[0]),
            "largest": space.decode(genomes[1]),
            "random": space.decode(drawn),
        }
    if is_float:
        subnets = {role: space.float_twin(subnet) for role, subnet in subnets.items()}
    return subnets


def _allowed(space: SearchSpace, bits: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    """Values of each gene with the bits of a stage; with all bits where a site offers none."""
    offered = {*space.weight_bits, *space.activation_bits} & set(bits)
    try:
        return space.restrict(sorted(offered) or None)
    except GenomeError:
        return space.restrict()


class SubnetValidation:
    """Accuracy and loss of these subnets, all in one pass over the images.

    Args:
      net: Compiled.

    Attributes:
      roles: Of the subnets.
      names: Of the means that `add` returns, in order.
    """

    def __init__(self, net: Supernet):
        self._net = net
        self.roles = tuple(validated_subnets(net, 0))
        kinds = ("loss", *net.task.figures)
        self.names = (*kinds, *(f"{role}_{kind}" for role in self.roles for kind in kinds))
        shape = [len(self.roles)]
        with net.distribute_strategy.scope():
            self._genomes = tf.Variable(
                tf.zeros([*shape, net.space.n_genes], tf.int32), trainable=False
            )
            self._statistics = tf.Variable(tf.zeros([*shape, net.layout.size]), trainable=False)
        self.reset()

    def calibrate(self, images: Iterable) -> None:
        """Measures the statistics of each subnet with the weights as they are.

        Args:
          images: Batches of training images.

        Raises:
          InvalidInputError: There are none.
        """
        net, method = self._net, self._net.training_method
        last = max(int(net.optimizer.iterations) - 1, 0)
        subnets = validated_subnets(net, int(method.stage_of(tf.constant(last, tf.int64))))
        batches = list(images)
        self._genomes.assign(np.stack([net.space.encode(subnet) for subnet in subnets.values()]))
        self._statistics.assign(
            np.stack(
                [
                    net.calibrate(batches, subnet, batches=len(batches)).statistics
                    for subnet in subnets.values()
                ]
            )
        )

    def sums(self, images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None) -> Logs:
        """Sums over a batch: losses and hits by role, and the number of images.

        Args:
          images: float32 [N, height, width, channels].
          labels: As the task of the net reads them.
          weights: float32 [N], factors of the losses; None for ones.
        """
        task = self._net.task
        result = {COUNT: tf.cast(tf.shape(images)[0], tf.float32)}
        for place, role in enumerate(self.roles):
            rows, _ = self._net.forward_of(Mode.FROZEN)(
                images, self._genomes[place], self._statistics[place]
            )
            losses = task.losses(labels, rows, tf.zeros_like(rows), 0.0, 0.0)
            losses = losses if weights is None else losses * weights
            result[f"{role}_loss"] = tf.reduce_sum(losses)
            for name, values in zip(task.figures, task.measured(labels, rows), strict=True):
                result[f"{role}_{name}"] = tf.reduce_sum(values)
        return result

    def reset(self) -> None:
        """Forgets all batches."""
        self._totals: Logs = {}

    def add(self, logs: Logs) -> Logs:
        """Adds the sums of a batch; returns the means over all images since `reset`."""
        self._totals = {key: self._totals.get(key, 0.0) + value for key, value in logs.items()}
        means = {
            key: value / self._totals[COUNT] for key, value in self._totals.items() if key != COUNT
        }
        return {**over_roles(means), **means}
