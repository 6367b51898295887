"""Writing the nodes of a network while the layers of a model are read."""

from collections.abc import Sequence
from typing import Any

from qfa_tf.keras_models.site_values import SiteValues
from qfa_tf.network import BITS, Choice, Constant, Convolution, Image, Network, Node, check
from qfa_tf.network.choices import BITS_ROLES
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.layers.kinds import LayerCall
from quantize_configs.model_graph import ModelGraph


class NetworkWriter:
    """Collects nodes, and knows which node stands for the output of each layer.

    Args:
      graph: Of the model.
      pixel_range: See `read_model`.

    Attributes:
      graph: The same.
      pixel_range: The same.
      values: Trained values by site.
    """

    def __init__(self, graph: ModelGraph, pixel_range: tuple[float, float]):
        self.graph = graph
        self.pixel_range = pixel_range
        self.values: dict[str, SiteValues] = {}
        self._nodes: list[Node] = []
        self._choices: list[Choice] = []
        self._node_of_layer: dict[str, str] = {}
        self._end_of_node: dict[str, str] = {}

    def image(self, call: LayerCall, size: int, channels: int) -> None:
        """Adds the input."""
        self._choices.append(Choice("resolution", (size,), "resolution"))
        self._add(Image(name=call.name, width=Constant(channels)), call.name)

    def source(self, call: LayerCall) -> str:
        """The node that the only input of a layer is."""
        return self._node_of_layer[call.inputs[0]]

    def sources(self, call: LayerCall) -> tuple[str, ...]:
        """The nodes that the inputs of a layer are."""
        return tuple(self._node_of_layer[name] for name in call.inputs)

    def node(self, node_type: type[Node], call: LayerCall, /, *inputs: str, **options: Any) -> None:
        """Adds a node that is called as the layer; `inputs` are those of the layer by default."""
        inputs = inputs or self.sources(call)
        self._add(node_type(name=call.name, label=call.name, inputs=inputs, **options), call.name)

    def inner(self, node_type: type[Node], name: str, call: LayerCall, /, **options: Any) -> str:
        """Adds a node that is a part of a layer and reads what the layer reads; its name."""
        self._nodes.append(node_type(name=name, label=name, inputs=(self.source(call),), **options))
        return name

    def site(
        self,
        call: LayerCall,
        name: str,
        parts: list[str],
        values: SiteValues,
        source: str = "",
        **options: Any,
    ) -> None:
        """Adds a convolution with its values.

        Args:
          call: Of the convolution.
          name: Of the site.
          parts: Names of the layers that it ends with, in order; none where it is only a part of
            one.
          values: Its values.
          source: The node that it reads; that of the layer by default.
          **options: Fields of `Convolution`.
        """
        bits: dict[str, Any] = {role: f"{name}.{role}" for role in BITS_ROLES}
        self._choices += [Choice(bit, BITS[-1:], role) for role, bit in bits.items()]
        self.values[name] = values
        inputs = (source or self.source(call),)
        self._add(Convolution(name=name, label=name, inputs=inputs, **bits, **options), *parts)

    def _add(self, node: Node, *layers: str) -> None:
        self._nodes.append(node)
        self._node_of_layer |= dict.fromkeys(layers, node.name)
        if layers:
            self._end_of_node[node.name] = layers[-1]

    def same(self, call: LayerCall) -> None:
        """Notes that a layer gives what it reads."""
        self._node_of_layer.setdefault(call.name, self.source(call))

    def is_written(self, call: LayerCall) -> bool:
        """Whether a layer was taken together with one before it."""
        return call.name in self._node_of_layer

    def layer_of(self, output: str) -> str:
        """The layer whose tensor the node behind the layer `output` is."""
        return self._end_of_node[self._node_of_layer[output]]

    def network(self, outputs: Sequence[str]) -> Network:
        """The network whose results are the outputs of layers."""
        names = tuple(self._node_of_layer[output] for output in outputs)
        if len(set(names)) < len(names):
            raise UnsupportedLayerError(
                f"The model gives one result twice, as {list(outputs)}. Give each once."
            )
        if not any(isinstance(node, Convolution) for node in self._nodes):
            raise UnsupportedLayerError("The model has no convolution or dense layer to quantize.")
        return check(Network(tuple(self._choices), (), tuple(self._nodes), names))
