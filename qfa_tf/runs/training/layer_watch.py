"""Finding the first layer of a subnet whose input or output is not finite."""

import contextlib
from collections.abc import Iterator
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

    found: list[tuple[str, str]] = []
    with contextlib.ExitStack() as stack:
        for site in net.space.sites:
            stack.enter_context(_watched(net.site_layer(site.name), found))
            if site.name.endswith(".depthwise"):
                excite = net.block_layer(site.name.rpartition(".")[0]).squeeze_excite
                if excite is not None:
                    stack.enter_context(_watched(excite, found))
        # Quantizing to a grid that is not finite is an error of TensorFlow.
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            net.run_subnet(Mode.TRAIN, images, genome)
    return found[0] if found else (None, None)


@contextlib.contextmanager
def _watched(layer, found: list[tuple[str, str]]) -> Iterator[None]:
    """Notes what is not finite in the calls of a layer."""
    import tensorflow as tf

    call = layer.call

    def look(role, tensor):
        if not np.isfinite(np.asarray(tensor, np.float32)).all():
            found.append((layer.name, f"the {role} of {layer.name}"))

    def watching(x, *arguments, **keywords):
        look("input", x)
        try:
            result = call(x, *arguments, **keywords)
        except tf.errors.InvalidArgumentError:
            found.append((layer.name, f"the grid of a quantizer of {layer.name}"))
            raise
        look("output", result[0])
        return result

    layer.call = watching
    try:
        yield
    finally:
        layer.call = call
