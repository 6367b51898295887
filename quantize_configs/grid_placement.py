"""Which tensors of a model are quantized where they are made, and with how many bits.

A convolution or dense layer reads its input through a quantizer of its own (`<layer>.input`), but
for one in float, which reads the tensor as it is. Integer operators write integers: 16-bit layers
INT16, others INT8. Float layers, pointwise functions and the inputs of the model make floats,
which stay floats on the way to float layers, and from a float layer to a pointwise function.
"""

from collections.abc import Mapping

from quantize_configs.activations import HardSigmoid
from quantize_configs.bit_widths import WIDE_BITS, is_float_pair
from quantize_configs.layer_roles import Role, function_of, kind_of
from quantize_configs.model_graph import LayerCall, ModelGraph

TENSOR_BITS = 8
_READ_WIDE = (Role.LINEAR, Role.POINTWISE)
_FUSED = (Role.NORMALIZATION, Role.ACTIVATION)


class GridPlacement:
    """The grids of tensors, given the bits of linear layers.

    Args:
      graph: Model without quantizers.
      pairs: (weight bits, activation bits) of every linear layer.
    """

    def __init__(self, graph: ModelGraph, pairs: Mapping[str, tuple[int, int]]):
        self._graph = graph
        self._pairs = pairs

    def bits(self, name: str) -> int | None:
        """Bits of the quantizer at the place where a tensor is made, None when it needs none.

        It needs none inside a fused operation, where it passes on the grid of another tensor, or
        where what reads it in the end is one linear layer (through its own quantizer), one
        Concatenate (whose grid its parts share) or a rescaling of the input. Neither does a
        softmax, whose result is float, nor a float tensor that only float layers read (or
        pointwise functions, when a float layer made it). A hard-sigmoid always needs one, because
        the ends of its grid clamp it.
        """
        call = self._graph.by_name[name]
        if isinstance(call.layer, HardSigmoid):
            return TENSOR_BITS
        if call.role is Role.PASSING or self._graph.is_fused_away(name):
            return None
        is_softmax = call.role is Role.POINTWISE and function_of(call.layer) == "softmax"
        if is_softmax and self._is_end(name):
            return None
        bits = WIDE_BITS if self._is_wide(name) else TENSOR_BITS
        return None if self._needs_none(name, bits) else bits

    def reads_narrowed(self, reader: LayerCall, name: str) -> bool:
        """Whether a layer reads a 16-bit tensor with 8 bits, because no kernel reads 16."""
        is_narrow = reader.role not in (*_READ_WIDE, *_FUSED)
        return is_narrow and self.bits(name) == WIDE_BITS

    def _needs_none(self, name: str, bits: int) -> bool:
        graph, is_float = self._graph, self._is_float(name)
        is_of_float_layer = is_float and self._source(name).role is Role.LINEAR
        if is_float and self._is_only_read_as_float(name, is_of_float_layer):
            return True
        reader = graph.final_reader(name)
        if reader is None:
            return is_of_float_layer and self._is_end(name)
        is_direct = graph.sole_reader(name) is reader
        if reader.role is not Role.LINEAR:
            rescales = reader.role is Role.POINTWISE and function_of(reader.layer) == "rescaling"
            return (rescales or kind_of(reader.layer).shares_grid) and bits != WIDE_BITS
        pair = self._pairs[reader.name]
        if is_float_pair(pair):
            return False  # floats were dealt with above
        if pair[1] == WIDE_BITS:
            return is_direct and (is_float or bits == WIDE_BITS)
        return bits != WIDE_BITS

    def _is_end(self, name: str) -> bool:
        return name in self._graph.outputs and not self._graph.readers(name)

    def _is_only_read_as_float(self, name: str, functions_too: bool = False) -> bool:
        if name in self._graph.outputs:
            return False
        readers = self._graph.readers(name)
        return bool(readers) and all(
            self._reads_as_float(reader) or (functions_too and reader.role is Role.POINTWISE)
            for reader in readers
        )

    def _reads_as_float(self, reader: LayerCall) -> bool:
        if reader.role is Role.PASSING:
            return self._is_only_read_as_float(reader.name)
        return reader.role is Role.LINEAR and is_float_pair(self._pairs[reader.name])

    def _source(self, name: str) -> LayerCall:
        """The layer that begins the fused operation that ends in `name`."""
        call = self._graph.by_name[name]
        while call.role in _FUSED:
            call = self._graph.by_name[call.inputs[0]]
        return call

    def _is_wide(self, name: str) -> bool:
        source = self._source(name)
        return source.role is Role.LINEAR and self._pairs[source.name][1] == WIDE_BITS

    def _is_float(self, name: str) -> bool:
        source = self._source(name)
        if source.role is Role.LINEAR:
            return is_float_pair(self._pairs[source.name])
        return source.role in (Role.INPUT, Role.POINTWISE)
