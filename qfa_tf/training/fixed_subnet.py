"""One subnet for every training step, in place of drawing several."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.space import Architecture, SearchSpace

SUBNET = "subnet"


class FixedSubnet:
    """Gives every step the same architecture, in float stages its float twin.

    Args:
      space: Search space.
      architecture: Of that space.
      float_stages: Per training stage, whether nothing but sites with fixed bits is quantized.

    Attributes:
      float_twin: Genome int32 [n_genes] of the architecture with 32 bits wherever bits can be
        chosen.
      stage_genomes: The genome of each stage, int32 [stages, n_genes].

    Raises:
      ArchitectureError: The architecture is of another space.
    """

    roles = (SUBNET,)

    def __init__(
        self, space: SearchSpace, architecture: Architecture, float_stages: Sequence[bool]
    ):
        genome = space.encode(architecture)
        self.float_twin = space.encode(space.float_twin(architecture))
        self.stage_genomes = np.stack(
            [self.float_twin if is_float else genome for is_float in float_stages]
        )
        self._table = tf.constant(self.stage_genomes, tf.int32)

    def draw(self, step: tf.Tensor, stage: tf.Tensor) -> tf.Tensor:
        """The genome of one step, int32 [1, n_genes]; see `SubnetSampler.draw`."""
        del step
        return tf.gather(self._table, stage)[None]
