"""The outputs of a network, side by side in one row per image while it is trained."""

import dataclasses
import math
from collections.abc import Mapping

import tensorflow as tf

from qfa_tf.network import Network
from quantize_configs.errors import UnsupportedError


@dataclasses.dataclass(frozen=True)
class Heads:
    """Names and shapes of all outputs.

    Attributes:
      shapes: By name of the output, without the images: (channels,) of a vector, (height, width,
        channels) of a map.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, network: Network) -> "Heads":
        """The outputs of a network.

        Raises:
          UnsupportedError: One is a map, and images have several sizes.
        """
        sizes = network.resolution.values
        shapes = {}
        for name in network.outputs:
            width, side = network.largest_width(name), network.size(name, sizes[-1])
            is_map = side > 1 and not network.is_vector(name)
            if is_map and len(sizes) > 1:
                raise UnsupportedError(
                    f"The output {name!r} is a map, whose size follows that of the image, and the "
                    f"space has the resolutions {sizes}. Give it one resolution."
                )
            shapes[name] = (side, side, width) if is_map else (width,)
        return cls(shapes)

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def is_vector(self) -> bool:
        """Whether there is one output, a vector: logits of classes, if nothing else is said."""
        return len(self.shapes) == 1 and all(len(shape) == 1 for shape in self.shapes.values())

    def pack(self, results: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Rows [N, size] of the results [N, height, width, channels] by name of the output."""
        rows = [
            tf.reshape(results[name], [-1, math.prod(shape)]) for name, shape in self.shapes.items()
        ]
        return rows[0] if len(rows) == 1 else tf.concat(rows, -1)

    def split(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs [N, *shape] by name, from rows [N, size]."""
        parts = tf.split(rows, [math.prod(shape) for shape in self.shapes.values()], -1)
        return {
            name: tf.reshape(part, [-1, *shape])
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def unpack(self, rows: tf.Tensor) -> tf.Tensor | dict[str, tf.Tensor]:
        """The only output [N, *shape], or all of them by name."""
        if self.is_vector:
            return rows
        outputs = self.split(rows)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs
