"""On which grid each tensor of a quantized model is written, and on which it is read."""

from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.layer_roles import Role, activation_of, shares_grid
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel

Grid = tuple[float, int, int]
"""(step, zero point, bits), unsigned codes."""


RATIO_TOLERANCE = 2.0**-17  # twice the nudge of quantize_configs.deployment
LARGEST_RATIO = 128.0


def is_exact_move(source: Grid, target: Grid) -> bool:
    """Whether XNNPACK's QUANTIZE, which has 8 binary places, goes exactly from grid to grid."""
    if WIDE_BITS in (source[2], target[2]):
        return False
    ratio = source[0] / target[0]
    k = 256.0 * ratio
    nearest = round(k)
    return nearest >= 1 and ratio <= LARGEST_RATIO and abs(k - nearest) <= RATIO_TOLERANCE * nearest


def is_identity(call: LayerCall) -> bool:
    """Whether a call changes nothing but, perhaps, the grid."""
    return call.role is Role.ACTIVATION and activation_of(call.layer) == "linear"


def grid_holder(wrapped: WrappedModel, name: str) -> tuple[str, list[str]] | None:
    """The layer that holds the grid that a tensor is written on, and who is this very tensor.

    The layer itself, or the first one with a quantizer behind identity layers, layers that pass
    grids on, and a Concatenate. None where there is none.
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
    return last, names


def written_grid(wrapped: WrappedModel, name: str) -> tuple[Grid, list[str]] | None:
    """Grid that a tensor is written on, and the names of all tensors that are this one.

    See `grid_holder`.
    """
    found = grid_holder(wrapped, name)
    return None if found is None else (wrapped.activation_grid(found[0]), found[1])


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
