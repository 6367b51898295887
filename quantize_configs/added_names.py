"""Names of the layers that `quantize` adds, which no layer of a model may have already."""

from quantize_configs.layers.kinds import Refuse, UnsupportedLayerError, raise_refusal
from quantize_configs.model_graph import ModelGraph

READ, GIVEN, NARROWED = "input", "quantized", "narrowed"
"""What is put behind the name of a layer: for the quantizer that it reads through, that of an input
of the model, and that of a 16-bit tensor for readers of 8 bits."""


def refuse_taken_names(graph: ModelGraph, refuse: Refuse = raise_refusal) -> None:
    """Refuses layers with a name that `quantize` would give to another one.

    Args:
      graph: Of the float model.
      refuse: See `ModelGraph`.

    Raises:
      UnsupportedLayerError: There is one.
    """
    for call in graph.calls:
        for ending in (READ, GIVEN, NARROWED):
            taken = graph.by_name.get(f"{call.name}.{ending}")
            if taken is not None:
                error = UnsupportedLayerError(
                    f"Layer {taken.name!r} ({type(taken.layer).__name__}) has the name that the "
                    f"quantizer beside layer {call.name!r} gets. Give one of them another name."
                )
                refuse(taken.name, error)
