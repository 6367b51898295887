"""How many weights and biases a node has, and with which nodes it is counted."""

from collections.abc import Iterator
from typing import NamedTuple

from qfa_tf.network import Convolution, Image, Network, Node, SqueezeExcite, Values, kernel_size


class Parameters(NamedTuple):
    """Sizes of the weights of a node. MACs are `weights` times the output positions.

    Attributes:
      weights: Number of weights.
      biases: Number of output channels, each of which carries one bias on the device.
    """

    weights: int
    biases: int


class Unit(NamedTuple):
    """A site and what follows it up to the next one, in the same slot.

    Attributes:
      nodes: At least one.
    """

    nodes: tuple[Node, ...]

    @property
    def site(self) -> Convolution | None:
        """The site; None where other nodes begin a slot."""
        first = self.nodes[0]
        return first if isinstance(first, Convolution) else None


def units(network: Network) -> list[Unit]:
    """Returns all nodes but the image in units, in order."""
    return [Unit(tuple(nodes)) for nodes in _runs(network)]


def _runs(network: Network) -> Iterator[list[Node]]:
    run: list[Node] = []
    for node in network.nodes:
        if isinstance(node, Image):
            continue
        if run and (isinstance(node, Convolution) or node.slot != run[0].slot):
            yield run
            run = []
        run.append(node)
    if run:
        yield run


def parameters(network: Network, node: Node, chosen: Values) -> Parameters:
    """Returns the sizes of a node; those of both convolutions of a squeeze-excite together.

    Every output channel of a site counts one bias, as deployed: batch norm folds into it, and an
    operator that is trained without one carries one as well.

    Args:
      network: Of the node.
      node: Any of its nodes; most have no weights.
      chosen: Values of the choices of its shape, by name.
    """
    if not isinstance(node, Convolution | SqueezeExcite):
        return Parameters(0, 0)
    inputs, outputs = (network.width(name).value(chosen) for name in (node.inputs[0], node.name))
    if isinstance(node, Convolution):
        return Parameters(node.weights(inputs, outputs, kernel_size(node, chosen)), outputs)
    inner = node.width.value(chosen)
    return Parameters(2 * outputs * inner, inner + outputs)
