"""Exact mixed-precision LiteRT export: integer graph, emitter, reference, verification."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "benchmark_options": ["BenchmarkOptions", "DeviceFiles"],
        "benchmarking": ["BenchmarkReport", "benchmark", "benchmark_all", "open_device"],
        "conversion": ["convert"],
        "delegates": ["check_delegate"],
        "device_comparison": ["compare_device"],
        "graph": ["IntegerGraph"],
        "inspection": ["Inspection", "inspect"],
        "layer_comparison": ["LayerReport", "compare_layers"],
        "metadata": ["with_metadata"],
        "profiling": ["Profile", "profile"],
        "runtime": ["FlatbufferError", "KernelSet", "run"],
        "support": ["UnsupportedCombinationError"],
        "integer_comparison": ["IntegerReport", "compare_integers"],
        "verification": ["VerificationReport", "verify"],
    },
)
