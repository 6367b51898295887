"""On which grid each tensor of a quantized model is written, and on which it is read."""

from quantize_configs.layer_roles import Role, activation_of, shares_grid
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel

Grid = tuple[float, int, int]
"""(step, zero point, bits), unsigned codes."""


def is_identity(call: LayerCall) -> bool:
    """Whether a call changes nothing but, perhaps, the grid."""
    return call.role is Role.ACTIVATION and activation_of(call.layer) == "linear"


def written_grid(wrapped: WrappedModel, name: str) -> tuple[Grid, list[str]] | None:
    """Grid that a tensor is written on, and the names of all tensors that are this one.

    The grid is that of the tensor itself, or the first one behind identity layers, layers that
    pass grids on, and a Concatenate. None where there is none.
    """
    names, last, is_same = [name], name, True
    while not wrapped.output_quantizer(last):
        reader = wrapped.graph.sole_reader(last)
        if reader is None or not (is_identity(reader) or shares_grid(reader.layer)):
            return None
        last = reader.name
        is_same = is_same and is_identity(reader)
        if is_same:
            names.append(last)
    return wrapped.activation_grid(last), names


def read_grid(wrapped: WrappedModel, name: str) -> Grid | None:
    """Grid on which the readers of a tensor find it; None for a tensor in float."""
    call = wrapped.graph.by_name[name]
    if wrapped.output_quantizer(name):
        return wrapped.activation_grid(name)
    if call.role is Role.INPUT:
        return None
    if call.role is Role.PASSING:
        return read_grid(wrapped, call.inputs[0])
    written = written_grid(wrapped, name)
    return None if written is None else written[0]
