"""The profiler of the LiteRT runtime on this computer, through its C interface.

The Python classes of the runtime do not show it, so `libLiteRt.so` of the wheel is called through
ctypes. Its option identifiers ("runtime_options_string", "xnnpack") are no documented contract:
whoever calls this catches ProfilerUnavailableError and measures operators one by one.
"""

import contextlib
import ctypes
import dataclasses
import pathlib
import tempfile

import numpy as np

from quantize_configs.errors import UnavailableError
from tflite_tools.flatbuffer.native_notes import without_notes

_CPU = 1
_SIGNATURE = 0
_ELEMENT_TYPES = {np.float32: 1, np.int32: 2, np.uint8: 3, np.int16: 7, np.int8: 9}
_BUILTIN_EVENT, _DELEGATE_EVENT = 2, 8
_PARTITION = "XNNPackDelegate"  # some builds report a partition as one operator as well
_KERNEL_MODES = {"xnnpack": "delegate", "builtin": "builtin", "reference": "reference"}
_KEPT = 0.9
"""Part of the times of an operator, the shortest, that is averaged: others were interrupted."""
_Handle = ctypes.c_void_p


class ProfilerUnavailableError(UnavailableError, RuntimeError):
    """The runtime has no such profiler, or refuses the model."""


@dataclasses.dataclass(frozen=True)
class ProfiledEvents:
    """What ran, in order.

    Attributes:
      names: Of operators, as the runtime or the delegate calls them.
      delegated: Whether each ran inside the delegate.
      microseconds: Mean per inference without the longest tenth; the runtime counts whole ones.
      summary: The table that the runtime prints, which may be empty.
    """

    names: tuple[str, ...]
    delegated: tuple[bool, ...]
    microseconds: tuple[float, ...]
    summary: str


def profile_events(
    flatbuffer: bytes, runs: int = 50, num_threads: int = 1, kernel_set: str = "xnnpack"
) -> ProfiledEvents:
    """Profiles a model with uninitialised inputs.

    Args:
      flatbuffer: Bytes of a .tflite file.
      runs: Inferences to average.
      num_threads: CPU threads.
      kernel_set: A `tflite_tools.flatbuffer.runtime.KernelSet`.

    Raises:
      ProfilerUnavailableError: The runtime does not offer it.
    """
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(flatbuffer)
        file.flush()
        try:
            mode = _KERNEL_MODES[str(kernel_set)]
            with without_notes(), _Session(file.name, num_threads, mode) as session:
                return session.profile(runs)
        except (OSError, AttributeError, ImportError) as error:
            raise ProfilerUnavailableError(
                f"The installed ai-edge-litert has no profiler that this release knows: {error}"
            ) from error


class _Layout(ctypes.Structure):
    _fields_ = (
        ("rank", ctypes.c_uint, 7),
        ("has_strides", ctypes.c_uint, 1),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


class _RankedTensorType(ctypes.Structure):
    _fields_ = (("element_type", ctypes.c_int), ("layout", _Layout))


class _MemoryUsage(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t) for name in ("total_allocated", "in_use", "private_footprint")
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("event_type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory_begin", _MemoryUsage),
        ("memory_end", _MemoryUsage),
        ("metadata1", ctypes.c_uint64),
        ("metadata2", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


class _Session(contextlib.ExitStack):
    """A compiled model with its buffers, freed on exit."""

    def __init__(self, path: str, num_threads: int, kernel_mode: str):
        super().__init__()
        import ai_edge_litert

        folder = pathlib.Path(ai_edge_litert.__file__).parent
        self._library = ctypes.CDLL(str(folder / "libLiteRt.so"))
        self._libc = ctypes.CDLL(None)
        self._libc.strdup.restype = _Handle
        self._libc.free.argtypes = [_Handle]
        self._free = ctypes.CFUNCTYPE(None, _Handle)(self._libc.free)
        environment = self._create("LiteRtCreateEnvironment", ctypes.c_int(0), None)
        self.callback(self._library.LiteRtDestroyEnvironment, environment)
        model = self._create("LiteRtCreateModelFromFile", environment, path.encode())
        self.callback(self._library.LiteRtDestroyModel, model)
        options = self._create("LiteRtCreateOptions")
        self.callback(self._library.LiteRtDestroyOptions, options)
        self._call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        self._add_text(options, "runtime_options_string", "enable_profiling = true\n")
        text = f'num_threads = {num_threads}\nkernel_mode = "{kernel_mode}"\n'
        self._add_text(options, "xnnpack", text)
        self._compiled = self._create("LiteRtCreateCompiledModel", environment, model, options)
        self.callback(self._library.LiteRtDestroyCompiledModel, self._compiled)
        self._profiler = self._create("LiteRtCompiledModelGetProfiler", self._compiled)
        inputs, outputs = _tensor_types(path)
        self._inputs = self._buffers(environment, inputs, "Input")
        self._outputs = self._buffers(environment, outputs, "Output")

    def profile(self, runs: int) -> ProfiledEvents:
        """Runs the model."""
        for _ in range(3):
            self._run()
        self._call("LiteRtStartProfiler", self._profiler)
        for _ in range(runs):
            self._run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        kept = [
            event
            for event in events
            if event.event_type == _DELEGATE_EVENT
            or (event.event_type == _BUILTIN_EVENT and _PARTITION not in event.tag.decode())
        ]
        if not kept or len(kept) % runs:
            raise ProfilerUnavailableError(
                f"The profiler of the runtime recorded {len(kept)} operators in {runs} inferences, "
                "which are not the same in each."
            )
        length = len(kept) // runs
        times = np.array([event.elapsed_us for event in kept], float).reshape(runs, length)
        summary = ctypes.c_char_p()
        with contextlib.suppress(ProfilerUnavailableError):
            self._call(
                "LiteRtGetProfileSummary", self._profiler, self._compiled, ctypes.byref(summary)
            )
        return ProfiledEvents(
            tuple(event.tag.decode() for event in kept[:length]),
            tuple(event.event_type == _DELEGATE_EVENT for event in kept[:length]),
            tuple(np.sort(times, 0)[: max(1, round(_KEPT * runs))].mean(0).tolist()),
            (summary.value or b"").decode(errors="replace"),
        )

    def _run(self) -> None:
        self._call(
            "LiteRtRunCompiledModel",
            self._compiled,
            ctypes.c_size_t(_SIGNATURE),
            ctypes.c_size_t(len(self._inputs)),
            self._inputs,
            ctypes.c_size_t(len(self._outputs)),
            self._outputs,
        )

    def _buffers(self, environment, tensor_types, direction: str):
        buffers = (_Handle * len(tensor_types))()
        for position, (element_type, shape) in enumerate(tensor_types):
            ranked = _RankedTensorType()
            ranked.element_type = element_type
            ranked.layout.rank = len(shape)
            ranked.layout.dimensions[: len(shape)] = shape
            requirements = self._create(
                f"LiteRtGetCompiledModel{direction}BufferRequirements",
                self._compiled,
                ctypes.c_size_t(_SIGNATURE),
                ctypes.c_size_t(position),
            )
            buffers[position] = self._create(
                "LiteRtCreateManagedTensorBufferFromRequirements",
                environment,
                ctypes.byref(ranked),
                requirements,
            )
            buffer = _Handle(buffers[position])
            self.callback(self._library.LiteRtDestroyTensorBuffer, buffer)
        return buffers

    def _add_text(self, options, identifier: str, text: str) -> None:
        """Attaches a payload of TOML; the runtime frees the copy."""
        payload = _Handle(self._libc.strdup(text.encode()))
        opaque = self._create("LiteRtCreateOpaqueOptions", identifier.encode(), payload, self._free)
        self._call("LiteRtAddOpaqueOptions", options, opaque)

    def _create(self, name: str, *arguments):
        handle = _Handle()
        self._call(name, *arguments, ctypes.byref(handle))
        return handle

    def _call(self, name: str, *arguments) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise ProfilerUnavailableError(f"{name} of the runtime returned status {status}.")


def _tensor_types(path: str):
    """(element type, shape) of the inputs and of the outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)

    def described(details):
        return [
            (_ELEMENT_TYPES[item["dtype"]], [int(size) for size in item["shape"]])
            for item in details
        ]

    return described(interpreter.get_input_details()), described(interpreter.get_output_details())
