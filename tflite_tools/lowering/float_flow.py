"""Which tensors of a quantized model stay floats on the way to layers in float."""

from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel


def stays_float(wrapped: WrappedModel, name: str) -> bool:
    """Whether only float layers read a tensor, perhaps behind layers that pass it on.

    Integer layers stand behind an identity layer that quantizes.
    """
    readers = wrapped.graph.readers(name)
    has_grid = name in wrapped.graph.outputs or wrapped.output_quantizer(name)
    return bool(readers) and not has_grid and all(_reads_float(wrapped, it) for it in readers)


def _reads_float(wrapped: WrappedModel, reader: LayerCall) -> bool:
    if reader.role is Role.PASSING:
        return stays_float(wrapped, reader.name)
    return reader.role is Role.LINEAR
