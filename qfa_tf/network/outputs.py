"""What the outputs of a network can be taken for."""

from qfa_tf.network.network import Network
from qfa_tf.network.nodes import Convolution, Function


def why_no_logits(network: Network) -> str:
    """Why the outputs of a network are no logits of classes; empty where they can be.

    Logits are one vector (or a map of one position) of at least two numbers that no activation
    function has bounded.

    Args:
      network: Whose outputs are asked about.
    """
    if len(network.outputs) > 1:
        return f"it has the outputs {list(network.outputs)}"
    (name,) = network.outputs
    node = network.node(name)
    if not network.is_vector(name) and network.size(name, network.resolution.values[-1]) > 1:
        return f"its output {name!r} is a map"
    if isinstance(node, Convolution | Function) and node.activation != "linear":
        return f"its output {name!r} ends with {node.activation!r}, which gives no logits"
    if network.largest_width(name) < 2:
        return f"its output {name!r} is one number"
    return ""
