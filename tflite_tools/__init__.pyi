from .benchmarking.delegates import check_delegate
from .benchmarking.measurement import BenchmarkReport, benchmark, benchmark_all, open_device
from .benchmarking.options import BenchmarkOptions, DeviceFiles
from .benchmarking.profile_report import Profile
from .benchmarking.profiling import profile
from .conversion import convert
from .errors import QFAError
from .flatbuffer.inspection import Inspection, inspect
from .flatbuffer.metadata import with_metadata
from .flatbuffer.overlays import write_overlays
from .flatbuffer.runtime import FlatbufferError, KernelSet, run
from .flatbuffer.task_metadata import with_task_metadata
from .integer_graph.graph import IntegerGraph
from .runtimes.comparison import compare_runtimes
from .runtimes.report import RuntimesReport
from .support.table import UnsupportedCombinationError
from .verification.devices import compare_device
from .verification.float_comparison import FloatReport, compare_float
from .verification.integers import IntegerReport, compare_integers
from .verification.layers import LayerReport, compare_layers
from .verification.report import VerificationReport, verify
from .web_page.writing import write_page

__all__ = [
    "BenchmarkOptions",
    "BenchmarkReport",
    "DeviceFiles",
    "FlatbufferError",
    "FloatReport",
    "Inspection",
    "IntegerGraph",
    "IntegerReport",
    "KernelSet",
    "LayerReport",
    "Profile",
    "QFAError",
    "RuntimesReport",
    "UnsupportedCombinationError",
    "VerificationReport",
    "benchmark",
    "benchmark_all",
    "check_delegate",
    "compare_device",
    "compare_float",
    "compare_integers",
    "compare_layers",
    "compare_runtimes",
    "convert",
    "inspect",
    "open_device",
    "profile",
    "run",
    "verify",
    "with_metadata",
    "with_task_metadata",
    "write_overlays",
    "write_page",
]
