"""Delegates as data, and which layers of a model one of them would leave to the CPU."""

import dataclasses
import functools
import importlib.resources
import json
import os
from typing import Any

from quantize_configs.errors import InvalidInputError
from tflite_tools.benchmarking.seen import Seen, seen_combinations
from tflite_tools.flatbuffer.runtime import KernelSet

UNKNOWN = "unknown"


class UnknownDelegateError(InvalidInputError):
    """There is no such delegate, or not on this device."""


@dataclasses.dataclass(frozen=True)
class Delegate:
    """What executes a model on a device.

    Attributes:
      name: For `benchmark(delegate=...)`.
      title: For people.
      status: Current, deprecated or beta.
      exact: Whether outputs are compared bit for bit; accuracy and differences otherwise.
      flags: Maps "host", "classic" and "litert" (the flavours of benchmark_model) to the flags
        that ask for it; without an entry it is not available there. `{folder}` is the folder of
        the libraries on the device.
      types: Rules (activation type, weight types, optional operators) that it accepts; empty for
        everything, None for "ask the runtime", "unknown" when nobody tells.
      source: Where this is from.
      runtime: Runtime on which it was tried with every operator (see `seen`); empty where none was.
      kernel_set: CPU kernels, None for accelerators.
      run_model: Value of --accelerator of run_model; None where it has none.
      run_model_flags: Further flags of run_model.
      libraries: Files that it loads, which the user supplies.
      environment: Variables that name the folder of the libraries, beside LD_LIBRARY_PATH.
      deprecated: Whether its maker has given it up.
      note: Worth knowing.
    """

    name: str
    title: str
    status: str
    exact: bool
    flags: dict[str, list[str]]
    types: list[dict[str, Any]] | str | None
    source: str
    runtime: str = ""
    kernel_set: str | None = None
    run_model: str | None = None
    run_model_flags: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    deprecated: bool = False
    note: str = ""

    def flags_for(self, flavour: str) -> list[str]:
        """The flags for "host", "classic" or "litert".

        Raises:
          UnknownDelegateError: It is not available there; the sentence names those that are.
        """
        if flavour not in self.flags:
            places = {
                "host": "this computer",
                "classic": "the classic benchmark_model",
                "litert": "the v2 benchmark_model",
            }
            there = [name for name, other in delegates().items() if flavour in other.flags]
            raise UnknownDelegateError(
                f"The delegate {self.name!r} ({self.title}) is not available with "
                f"{places[flavour]}. Available there: {', '.join(there)}."
            )
        return self.flags[flavour]


@dataclasses.dataclass(frozen=True)
class Fallback:
    """A layer that a delegate leaves to the CPU.

    Attributes:
      layer: Its name.
      operator: For example CONV_2D.
      reason: Why.
    """

    layer: str
    operator: str
    reason: str


@dataclasses.dataclass(frozen=True)
class DelegateCheck:
    """What to expect of a delegate before anything runs.

    Attributes:
      delegate: Its name.
      operators: Operators of the model.
      fallbacks: Those that stay on the CPU; None when nobody can tell.
      deprecated: Whether the delegate is.
      note: Of the delegate.
    """

    delegate: str
    operators: int
    fallbacks: tuple[Fallback, ...] | None
    deprecated: bool = False
    note: str = ""

    def __str__(self):
        lines = []
        if self.deprecated:
            lines.append(f"{self.delegate} is deprecated; use cpu, gpu or an NPU instead.")
        if self.fallbacks is None:
            lines.append(f"{self.delegate}: nobody tells which of the layers it takes.")
        elif self.fallbacks:
            lines.append(
                f"{self.delegate}: {len(self.fallbacks)} of {self.operators} operators fall back:"
            )
            lines += [f"  {item.layer} ({item.operator}): {item.reason}" for item in self.fallbacks]
        else:
            lines.append(f"{self.delegate}: takes all {self.operators} operators.")
        if self.note:
            lines.append(f"({self.note})")
        return "\n".join(lines)


@functools.cache
def delegates() -> dict[str, Delegate]:
    """All delegates by name; do not modify."""
    text = (
        importlib.resources.files("tflite_tools.benchmarking")
        .joinpath("delegates.json")
        .read_text("utf-8")
    )
    tuples = ("run_model_flags", "libraries", "environment")
    found = {}
    for entry in json.loads(text)["delegates"]:
        entry |= {name: tuple(entry[name]) for name in tuples if name in entry}
        found[entry["name"]] = Delegate(**entry)
    return found


def find_delegate(name: str) -> Delegate:
    """The delegate of a name.

    Raises:
      UnknownDelegateError: There is none.
    """
    if name not in delegates():
        raise UnknownDelegateError(
            f"delegate must be one of {', '.join(delegates())}. Received: {name!r}."
        )
    return delegates()[name]


def kernel_set_of(delegate: Delegate) -> KernelSet | None:
    """CPU kernels of a delegate; None for accelerators."""
    return None if delegate.kernel_set is None else KernelSet(delegate.kernel_set)


def check_delegate(file: bytes | str | os.PathLike, name: str) -> DelegateCheck:
    """Which layers of a model a delegate leaves to the CPU, by the types that it accepts.

    Args:
      file: Bytes of a .tflite file, or its path.
      name: One of `delegates()`.

    Raises:
      UnknownDelegateError: There is no such delegate.
      FlatbufferError: The bytes are no model.
    """
    from tflite_tools.flatbuffer.inspection import inspect

    delegate = find_delegate(name)
    asks_runtime = delegate.types is None
    inspection = inspect(file, delegation=asks_runtime)
    fallbacks = None
    if delegate.types != UNKNOWN and not (asks_runtime and inspection.partitions is None):
        fallbacks = tuple(
            Fallback(layer.name, layer.operator, reason)
            for layer in inspection.layers
            if (reason := _reason(delegate, layer))
        )
    return DelegateCheck(
        name, len(inspection.layers), fallbacks, delegate.deprecated, delegate.note
    )


def _reason(delegate: Delegate, layer) -> str:
    """Why a delegate does not take a layer; empty when it does."""
    if delegate.types is None:
        return "XNNPACK has no kernel for it" if layer.delegate == "built-in" else ""
    seen = seen_combinations().get((delegate.runtime, _combination(layer)))
    if seen is not None and (seen.accelerated is not None or not seen.ran):
        return _seen_reason(seen)
    if not delegate.types or isinstance(delegate.types, str):
        return ""
    weights = layer.weight_type
    for rule in delegate.types:
        takes_types = layer.input_type == rule["activation"] and weights in rule["weights"]
        if takes_types and layer.operator in rule.get("operators", [layer.operator]):
            return ""
    kinds = {rule["activation"] for rule in delegate.types}
    if layer.input_type not in kinds:
        return f"no {layer.input_type} activations"
    return f"no {weights} weights with {layer.input_type} activations"


def _combination(layer) -> str:
    """Operator and types of a layer, as `seen_combinations` names them."""
    types = (layer.input_type, layer.weight_type, layer.output_type)
    return " ".join((layer.operator, *(kind.lower() for kind in types)))


def _seen_reason(seen: Seen) -> str:
    """Why a delegate does not take what was tried; empty when it took every case."""
    if seen.accelerated == seen.cases:
        return ""
    did = "refused" if not seen.ran else f"left {seen.cases - (seen.accelerated or 0)} of"
    return f"{did} {seen.cases} case(s) when tried with {seen.version}"
