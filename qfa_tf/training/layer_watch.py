"""Finding the first layer of a subnet whose input or output is not finite."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from qfa_tf.supernet import QFASupernet


def find_layer(
    net: "QFASupernet", images: "tf.Tensor", genome: "tf.Tensor"
) -> tuple[str | None, str | None]:
    """Runs a subnet on the statistics of the batch, eagerly, layer by layer.

    Returns:
      (layer, what): the first layer that saw or made a value that is not finite, a site such as
      "s1.b0.expand" or squeeze-excite such as "s1.b0.se"; and, for people, what it is, such as
      "the output of s1.b0.expand". None and None when everything is finite.
    """
    import tensorflow as tf

    from qfa_tf.layers import Mode

    watch = _Watch()
    # Quantizing to a grid that is not finite is an error of TensorFlow.
    try:
        net.run_subnet(Mode.TRAIN, images, genome, observer=watch)
    except tf.errors.InvalidArgumentError:
        if watch.running is None:
            raise
        watch.found.append((watch.running, f"the grid of a quantizer of {watch.running}"))
    return watch.found[0] if watch.found else (None, None)


class _Watch:
    """Notes what is not finite."""

    def __init__(self):
        self.found: list[tuple[str, str]] = []
        self.running: str | None = None

    def before(self, layer, x, choice):
        """Looks at the input of a layer."""
        self.running = layer.name
        self._look(layer, "input", x)
        return choice

    def after(self, layer, y):
        """Looks at the output of a layer."""
        self.running = None
        self._look(layer, "output", y)

    def _look(self, layer, role, tensor):
        if not np.isfinite(np.asarray(tensor, np.float32)).all():
            self.found.append((layer.name, f"the {role} of {layer.name}"))
