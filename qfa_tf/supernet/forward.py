"""The forward pass of one subnet: the nodes of the network in order, slots under `tf.cond`."""

from typing import Any

import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.layers.activations import extremes
from qfa_tf.layers.execution import EXECUTIONS, Execution
from qfa_tf.layers.observing import Observer, observed
from qfa_tf.layers.operators import OPERATORS
from qfa_tf.network import Convolution, Image, Node, SqueezeExcite
from qfa_tf.supernet.protocol import Supernet

Tensors = dict[str, tf.Tensor]


class ForwardPass:
    """One pass; see `QFASupernet.run_subnet`.

    Args:
      net: Any supernet.
      mode: Where statistics come from.
      genome: int32 [n_genes].
      statistics: float32 [layout.size] in FROZEN mode.
      dropout_seed: int64 [2], or None for no dropout.
      observer: Of layers, in an eager pass. It sees what the subnet has: sliced tensors.
    """

    def __init__(
        self,
        net: Supernet,
        mode: Mode,
        genome: tf.Tensor,
        statistics: Any = None,
        dropout_seed: Any = None,
        observer: Observer | None = None,
    ):
        self._net = net
        self._network = net.space.network
        self._mode = mode
        self._genome = genome
        self._statistics = statistics
        self._dropout_seed = dropout_seed
        self._observer = observer
        self._execution = execution_of(net, observer)
        self._choices = net.choices_of(genome, self._execution)

    def run(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(rows, statistics) for images of the size of the genome: see `QFASupernet.run_subnet`."""
        with self._execution.kernels():
            results, measured = self._run_network(images)
        return self._net.heads.pack(results), measured

    def _run_network(self, images: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        values: Tensors = {self._network.image.name: images}
        parts = []
        for section, (slot, nodes) in enumerate(self._network.sections()):
            if slot is not None and self._network.is_optional(slot):
                parts.append(self._run_optional(section, slot, nodes, values))
            else:
                parts.append(self._run_nodes(section, nodes, values))
        results = {name: values[name] for name in self._network.outputs}
        if not self._mode.records:
            return results, tf.zeros([0])
        return results, tf.concat(parts, 0)

    def run_slot(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """The result of one slot, there or not, for the tensor that it reads."""
        slot = self._network.slot(name)
        values = {slot.source: x}
        for section, (own, nodes) in enumerate(self._network.sections()):
            if own == name:
                self._run_nodes(section, nodes, values)
        return values[slot.output]

    def _run_optional(
        self, section: int, name: str, nodes: tuple[Node, ...], values: Tensors
    ) -> tf.Tensor:
        """A slot that costs nothing where the genome leaves it out."""
        slot = self._network.slot(name)

        def run() -> tuple[tf.Tensor, tf.Tensor]:
            own = dict(values)
            recorded = self._run_nodes(section, nodes, own)
            return own[slot.output], recorded

        def skip() -> tuple[tf.Tensor, tf.Tensor]:
            is_recorded = self._mode.records
            size = self._net.layout.section_size(section) if is_recorded else 0
            return tf.identity(values[slot.source]), tf.zeros([size])

        depth = self._net.space.lookup(slot.depth).read(self._genome)
        values[slot.output], recorded = tf.cond(depth > slot.position, run, skip)
        return recorded

    def _run_nodes(self, section: int, nodes: tuple[Node, ...], values: Tensors) -> tf.Tensor:
        """Adds the results of nodes to `values`; returns their part of the statistics."""
        recorded: Tensors = {}
        for node in nodes:
            if isinstance(node, Image):
                recorded |= self._recorded(node, values[node.name])
                continue
            inputs = [values[name] for name in node.inputs]
            values[node.name], entries = self._run_node(node, inputs, self._defers(node, nodes))
            recorded |= entries
        if not self._mode.records:
            return tf.zeros([0])
        return self._net.layout.pack(section, recorded)

    def _defers(self, node: Node, nodes: tuple[Node, ...]) -> bool:
        """Whether the result of a node is computed by its only reader, as it quantizes it."""
        readers = self._network.consumers(node.name)
        if self._observer is not None or len(readers) != 1:
            return False
        ends = {*self._network.outputs}
        if node.slot is not None:
            ends.add(self._network.slot(node.slot).output)
        (reader,) = readers
        if node.name in ends or reader.name in self._network.outputs or reader not in nodes:
            return False
        return isinstance(reader, Convolution) and self._net.layer(reader.name).quantizes_by_range

    def _run_node(
        self, node: Node, inputs: list[tf.Tensor], defer: bool
    ) -> tuple[tf.Tensor, Tensors]:
        """(result, recorded statistics by their names)."""
        is_recorded = self._mode.records
        if isinstance(node, Convolution):
            return self._run_site(node, inputs[0], defer)
        if isinstance(node, SqueezeExcite):
            layer, choice = self._net.layer(node.name), self._choices[node.name]
            x, parts = observed(self._observer, layer, inputs[0], choice, record=is_recorded)
            return x, {f"{node.name}.{part}": value for part, value in parts.items()}
        x = OPERATORS[type(node)](node, inputs, self._net.arithmetic)
        if not node.keeps_zeros:
            x = self._execution.keep(x, self._choices[node.name])
        return x, self._recorded(node, x)

    def _recorded(self, node: Node, x: tf.Tensor) -> Tensors:
        """The extremes of a result, where they are to be recorded."""
        is_recorded = self._mode.records and node.name in self._net.layout.entries
        if not is_recorded:
            return {}
        return {node.name: extremes(x, self._choices[node.name].active)}

    def _run_site(self, node: Convolution, x: tf.Tensor, defer: bool) -> tuple[tf.Tensor, Tensors]:
        net = self._net
        if node.name in self._network.outputs and net.dropout and self._dropout_seed is not None:
            x = tf.nn.experimental.stateless_dropout(x, net.dropout, self._dropout_seed)

        def stored(entry: str) -> tf.Tensor:
            return net.layout.read(self._statistics, f"{node.name}.{entry}")

        layer, choice = net.layer(node.name), self._choices[node.name]
        x, recorded = observed(self._observer, layer, x, choice, self._mode, stored, defer)
        return x, {f"{node.name}.{entry}": value for entry, value in recorded.items()}


def execution_of(net: Supernet, observer: Observer | None = None) -> Execution:
    """That of the net; an observer sees sliced tensors."""
    return EXECUTIONS["sliced" if observer else net.execution]
