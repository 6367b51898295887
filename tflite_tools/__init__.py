"""Exact mixed-precision LiteRT export: integer graph, emitter, reference, verification."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "benchmarking": ["BenchmarkReport", "benchmark"],
        "conversion": ["convert"],
        "graph": ["IntegerGraph"],
        "inspection": ["Inspection", "inspect"],
        "layer_comparison": ["LayerReport", "compare_layers"],
        "metadata": ["with_metadata"],
        "runtime": ["FlatbufferError", "KernelSet", "run"],
        "support": ["UnsupportedCombinationError"],
        "integer_comparison": ["IntegerReport", "compare_integers"],
        "verification": ["VerificationReport", "verify"],
    },
)
