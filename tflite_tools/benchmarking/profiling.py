"""How the time of a model divides among its operators, on this computer or a phone."""

import itertools
import re
from collections.abc import Sequence

from tflite_tools.benchmarking.delegates import find_delegate, kernel_set_of
from tflite_tools.benchmarking.litert_profiler import ProfilerUnavailableError, profile_events
from tflite_tools.benchmarking.operator_units import (
    OperatorUnit,
    as_models,
    empty_model,
    operator_units,
)
from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.benchmarking.profile_report import MICROSECONDS, PROFILER, OperatorTime, Profile
from tflite_tools.devices.device import Device
from tflite_tools.devices.profile_output import ProfileRow, parse_profile
from tflite_tools.flatbuffer.content import ModelFile, content_of
from tflite_tools.flatbuffer.runtime import KernelSet

UNMATCHED = "?"
MOSTLY_COVERED = 0.7
"""Share of the time of a model that a profile must cover; the profiler of the runtime counts whole
microseconds, which many operators of small models do not take."""
LEAST_MEAN_MICROSECONDS = 5.0
"""Of an operator, for whole microseconds to tell them apart."""
_KERNELS = {
    "CONV_2D": r"Convolution|Fully Connected",
    "DEPTHWISE_CONV_2D": r"Convolution",
    "FULLY_CONNECTED": r"Fully Connected",
    "ADD": r"Add",
    "SUB": r"Subtract",
    "MUL": r"Multiply",
    "MEAN": r"Mean|Global Average|Reduce",
    "MAX_POOL_2D": r"Max Pooling",
    "AVERAGE_POOL_2D": r"Average Pooling",
    "PAD": r"Pad",
    "CONCATENATION": r"Concat|Copy",
    "SOFTMAX": r"Softmax",
}
"""What XNNPACK calls the kernels of an operator; others may come anywhere (copies, reshapes)."""
_ANY_KERNEL = re.compile("|".join(_KERNELS.values()))


def profile(
    flatbuffer: ModelFile,
    device: Device,
    options: BenchmarkOptions | None = None,
    *,
    use_profiler: bool = True,
) -> Profile:
    """Measures the operators of a model.

    Args:
      flatbuffer: Bytes of a .tflite file, or its path.
      device: From `tflite_tools.benchmarking.measurement.open_device`.
      options: How to measure.
      use_profiler: Whether to ask the runtime; otherwise, and on this computer where it has no
        profiler or one too coarse for the model, each operator is measured as a model of its own.

    Raises:
      FlatbufferError: The bytes are no model.
      DeviceError: A phone cannot do it.
    """
    content = content_of(flatbuffer)
    options = options or BenchmarkOptions()
    kernels = kernel_set_of(find_delegate(options.delegate)) or KernelSet.XNNPACK
    units = operator_units(content, kernels)
    loaded = device.load("the profiled model", content, options)
    try:
        measured = loaded.run(options)
        whole_ms = measured.mean_ms if measured.median_ms is None else measured.median_ms
        rows = None
        if use_profiler and hasattr(loaded, "profile"):
            rows = parse_profile(loaded.profile(options))
        elif use_profiler:
            rows = _host_rows(content, options, kernels)
    finally:
        loaded.close()
    if rows is not None and not hasattr(loaded, "profile") and not resolves(rows, whole_ms):
        rows = None
    if rows is None:
        source, operators = "single operators", _one_by_one(content, units, device, options)
    else:
        source, operators = PROFILER, match(units, rows)
    return Profile(device.info().device, options.delegate, source, whole_ms, tuple(operators))


def resolves(rows: Sequence[ProfileRow], whole_ms: float) -> bool:
    """Whether whole microseconds tell operators apart.

    In a model of a few microseconds all but one or two operators begin and end within the same
    one, and one of them gets the time of all.

    Args:
      rows: What the runtime counted.
      whole_ms: Of the model.
    """
    counted, whole = sum(row.microseconds for row in rows), whole_ms * MICROSECONDS
    return counted >= MOSTLY_COVERED * whole and whole >= LEAST_MEAN_MICROSECONDS * len(rows)


def match(units: Sequence[OperatorUnit], rows: Sequence[ProfileRow]) -> list[OperatorTime]:
    """Finds the operators of the flatbuffer for what a runtime says that it ran.

    Both are in order of execution. Kernels that only one operator can have are anchors; others
    (tables, conversions, copies) belong to the pointwise operators between these, or to the next
    anchor.
    """
    times = [0.0] * len(units)
    kernels = [""] * len(units)
    unmatched, waiting, position = [], 0.0, 0
    for row in rows:
        found = _find(units, position, row)
        if found is None:
            if row.delegated and not _ANY_KERNEL.search(row.name):
                waiting += row.microseconds
            else:
                unmatched.append(row)
            continue
        times[found] += row.microseconds + waiting
        kernels[found], waiting, position = row.name, 0.0, found + 1
    if waiting and units:
        times[-1] += waiting
    matched = [
        OperatorTime(unit.layer, "+".join(unit.operators), kernel, unit.delegated, time)
        for unit, kernel, time in zip(units, kernels, times, strict=True)
    ]
    return matched + [
        OperatorTime(UNMATCHED, UNMATCHED, row.name, row.delegated, row.microseconds)
        for row in unmatched
    ]


def _find(units, position, row) -> int | None:
    """The unit that a row is, from `position` on."""
    candidates = range(position, len(units))
    if not row.delegated:
        return next((i for i in candidates if row.name in units[i].operators), None)
    if _ANY_KERNEL.search(row.name):
        for index in candidates:
            kernel = _KERNELS.get(units[index].operators[0])
            if kernel and not units[index].is_pointwise and re.search(kernel, row.name):
                return index
        return None
    # A table or a conversion: the next unit if it is pointwise.
    is_next = position < len(units) and units[position].is_pointwise
    return position if is_next and re.search(r"Unary|Convert|Copy|LUT", row.name) else None


def _host_rows(content, options, kernels) -> list[ProfileRow] | None:
    """What the runtime here says; None when it has no profiler."""
    try:
        events = profile_events(content, options.num_runs, options.num_threads, kernels)
    except ProfilerUnavailableError:
        return None
    return list(itertools.starmap(ProfileRow, _zipped(events)))


def _zipped(events):
    return zip(events.names, events.delegated, events.microseconds, strict=True)


def _one_by_one(content, units, device, options) -> list[OperatorTime]:
    """Each unit as a model, without the time of the call."""
    call = min(time_alone("an empty model", empty_model(), device, options) for _ in range(3))
    found = []
    for unit, model in zip(units, as_models(content, units), strict=True):
        value = max(0.0, time_alone(unit.outputs[0], model, device, options) - call)
        name = "+".join(unit.operators)
        found.append(OperatorTime(unit.layer, name, "alone", unit.delegated, value))
    return found


def time_alone(name: str, model: bytes, device: Device, options: BenchmarkOptions) -> float:
    """Microseconds of a small model."""
    loaded = device.load(name, model, options)
    try:
        measured = loaded.run(options)
    finally:
        loaded.close()
    value = measured.mean_ms if measured.median_ms is None else measured.median_ms
    return value * MICROSECONDS
