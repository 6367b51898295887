"""What of a float model cannot be quantized, or is computed in float, before any work."""

import dataclasses
from collections.abc import Collection, Sequence

from quantize_configs.added_names import refuse_taken_names
from quantize_configs.editable_graph import EditableGraph
from quantize_configs.errors import UnsupportedError
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_roles import kind_of
from quantize_configs.layers.kinds import Role, UnsupportedLayerError
from quantize_configs.layers.registry import LAYERS
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import apply_rules


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A layer that will not go through.

    Attributes:
      layer: Its name.
      reason: Why, and the nearest that works; the sentence that `quantize` refuses it with.
    """

    layer: str
    reason: str


@dataclasses.dataclass(frozen=True)
class SupportReport:
    """Result of `check_support`.

    Attributes:
      model: Name of the model.
      layers: Number of layers that are left after rewriting.
      refused: Layers that will not go through.
      in_float: (layer, function) of layers that are computed in float between two grids, exactly as
        in Keras; empty when something is refused.
      outside_xnnpack: Layers that the built-in kernels run, because XNNPACK has no operator.
      partitions: Parts of the network that XNNPACK runs, with those layers between them; 0 when
        something is refused. A file can have more, where ranges leave what its kernels take.
      unshared: Calls of a layer that is called before, which get a copy of its weights; training
        after `quantize` trains each by itself.
    """

    model: str
    layers: int
    refused: tuple[Refusal, ...]
    in_float: tuple[tuple[str, str], ...]
    unshared: tuple[str, ...] = ()
    outside_xnnpack: tuple[str, ...] = ()
    partitions: int = 0

    @property
    def supported(self) -> bool:
        """Whether `quantize` takes the model."""
        return not self.refused

    def __str__(self) -> str:
        lines = [
            f"{self.model}: {self.layers} layers, {len(self.refused)} refused, "
            f"{len(self.in_float)} in float between grids"
        ]
        width = max([len(item.layer) for item in self.refused] + [0])
        lines += [f"refused   {item.layer:<{width}}  {item.reason}" for item in self.refused]
        by_function: dict[str, list[str]] = {}
        for layer, function in self.in_float:
            by_function.setdefault(function, []).append(layer)
        lines += [f"in float  {name}: {_shown(names)}" for name, names in by_function.items()]
        if self.outside_xnnpack:
            lines.append(f"built-in  {_shown(self.outside_xnnpack)}: XNNPACK has no operator")
        if self.supported:
            plural = "" if self.partitions == 1 else "s"
            lines.append(f"XNNPACK   {self.partitions} partition{plural}")
        if self.unshared:
            lines.append(f"unshared  {_shown(self.unshared)}: a copy of the weights for each call")
        return "\n".join(lines)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def check_support(model: keras.Model) -> SupportReport:
    """Lists every layer of a float model that `quantize` would refuse, and what becomes of others.

    Args:
      model: Functional or sequential model of `tf_keras` or Keras 3; it is not modified.

    Raises:
      InvalidTypeError, InvalidInputError: `model` is no built functional model.
    """
    try:
        model = as_tf_keras(model)
    except UnsupportedError as error:
        return SupportReport(model.name, len(model.layers), (Refusal(model.name, str(error)),), ())
    require_functional(model)
    refused: list[Refusal] = []

    def refuse(layer: str, error: UnsupportedLayerError) -> None:
        refused.append(Refusal(layer, str(error)))

    graph = EditableGraph(model, LAYERS, refuse)
    apply_rules(graph, refuse)
    known = {item.layer for item in refused}
    for name, node in graph.nodes.items():
        if name in known:
            continue
        try:
            kind_of(node.layer)
        except UnsupportedLayerError as error:
            refuse(name, error)
    in_float, outside, partitions = [], set(), 0
    if not refused:
        calls = ModelGraph(graph.rebuilt(), refuse)
        refuse_taken_names(calls, refuse)
        in_float = [
            (call.name, call.kind.function(call.layer) if call.kind.function else "function")
            for call in calls.calls
            if call.role is Role.POINTWISE
        ]
        outside = {call.name for call in calls.calls if call.kind.leaves_xnnpack(call.layer)}
        partitions = _partitions(calls, outside)
    refused += size_refusals(model)
    return SupportReport(
        model.name,
        len(graph.nodes),
        tuple(refused),
        tuple(in_float),
        tuple(graph.unshared),
        tuple(call.name for call in calls.calls if call.name in outside) if outside else (),
        partitions,
    )


def _partitions(graph: ModelGraph, outside: Collection[str]) -> int:
    """Number of parts without the layers of `outside`, as TensorFlow Lite cuts a graph.

    A part grows by everything that needs nothing but what has been computed; then it is the turn of
    the others.
    """
    # What each part reads and makes; the outputs come into float at the end.
    left = [(call.name, call.inputs) for call in graph.calls if call.role is not Role.INPUT]
    left += [(f"{name}.float", (name,)) for name in graph.outputs]
    done = {call.name for call in graph.calls if call.role is Role.INPUT}
    parts = 0
    while left:
        first = next(name for name, inputs in left if done.issuperset(inputs))
        is_outside, rest = first in outside, []
        for name, inputs in left:  # in topological order
            if (name in outside) == is_outside and done.issuperset(inputs):
                done.add(name)
            else:
                rest.append((name, inputs))
        left = rest
        parts += not is_outside
    return parts


def size_refusals(model: keras.Model) -> list[Refusal]:
    """Inputs of a model whose sizes are open."""
    found = []
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            name = tensor._keras_history.layer.name
            reason = (
                f"The input {name!r} has the shape {tuple(tensor.shape)}; only the batch may be "
                "open. Build the model with a fixed input shape and set the weights."
            )
            found.append(Refusal(name, reason))
    return found


def require_sizes(model: keras.Model) -> None:
    """Refuses a model with open sizes.

    Raises:
      UnsupportedLayerError: An input has them.
    """
    for refusal in size_refusals(model):
        raise UnsupportedLayerError(refusal.reason)
