"""The flatbuffers of one graph that comparisons run, each written once."""

from tflite_tools.flatbuffer.emitter import emit, needs_older_versions
from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.graph import IntegerGraph


class EmittedModels:
    """A graph as it is deployed and as a debug model, in which every tensor is an output.

    Args:
      graph: A valid graph; it must not change any more.
    """

    def __init__(self, graph: IntegerGraph):
        self._graph = graph
        self._needs_older_versions = needs_older_versions(graph)
        self._written: dict[tuple[bool, bool], bytes] = {}

    def deployed(self, kernel_set: KernelSet = KernelSet.XNNPACK) -> bytes:
        """The flatbuffer as `emit` writes it, for a kernel set."""
        return self._emitted(False, self._for_reference(kernel_set))

    def debug(self, kernel_set: KernelSet = KernelSet.XNNPACK) -> bytes:
        """The debug model for a kernel set."""
        return self._emitted(True, self._for_reference(kernel_set))

    def _for_reference(self, kernel_set) -> bool:
        return kernel_set is KernelSet.REFERENCE and self._needs_older_versions

    def _emitted(self, all_outputs: bool, for_reference: bool) -> bytes:
        key = all_outputs, for_reference
        if key not in self._written:
            self._written[key] = emit(
                self._graph, all_outputs=all_outputs, for_reference=for_reference
            )
        return self._written[key]
