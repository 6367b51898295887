"""What is in a .tflite file: its layers, types, bytes, metadata, and what XNNPACK takes of it.

The file is read from its bytes alone. Only the question what is delegated needs LiteRT, which runs
in a process of its own, because a damaged file can end the process that loads it.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys

import numpy as np

from tflite_tools.flatbuffer.content import ModelFile, content_of
from tflite_tools.flatbuffer.conversion_keys import BITS_KEY, LABELS_KEY
from tflite_tools.flatbuffer.damage import damage_said
from tflite_tools.flatbuffer.metadata import read_metadata

_PROBE_SECONDS = 60
_SETTING_TYPES = ("INT32", "INT64")  # shapes, axes and biases
_SUBBYTE_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2}


@dataclasses.dataclass(frozen=True)
class LayerRecord:
    """One operator of a file.

    Attributes:
      name: Of the layer, as a `BitPolicy` names it, where the operator has weights and the file has
        the metadata of `convert`; else of the first tensor it writes.
      operator: For example CONV_2D; the name of a custom operator.
      input_type: Of the first tensor it reads; "-" when it reads none.
      output_type: Of the tensor it writes.
      output_shape: Of the tensor it writes.
      weight_type: Container of its largest constant; "-" when it has none.
      weight_bits: Bits of the codes in it, which can be fewer than those of the container; None
        without weights.
      activation_bits: Bits of the codes it reads, where the file tells them; None otherwise.
      constant_bytes: Of all its constants.
      delegate: "XNNPACK", "built-in", or "-" when LiteRT was not asked or cannot run the file.
      tensor: Name of the first tensor it writes, as in `verify` and in other tools: behind a layer
        and an activation that became one operator, that of the activation.
    """

    name: str
    operator: str
    input_type: str
    output_type: str
    output_shape: tuple[int, ...]
    weight_type: str
    weight_bits: int | None
    activation_bits: int | None
    constant_bytes: int
    delegate: str
    tensor: str


@dataclasses.dataclass(frozen=True)
class Inspection:
    """Result of `inspect`.

    Attributes:
      file_bytes: Size of the file.
      description: Text in the file, usually the converter.
      signatures: Keys of the signatures.
      inputs: (name, type, shape) of the model's inputs.
      outputs: (name, type, shape) of its outputs.
      layers: The operators of the main graph, in order of execution.
      metadata: What `convert` stored; None in files of others.
      labels: Names of the classes; empty when the file has none.
      partitions: XNNPACK partitions; None when LiteRT was not asked or cannot run the file.
      problem: Why LiteRT cannot run the file; empty when it can.
    """

    file_bytes: int
    description: str
    signatures: tuple[str, ...]
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    layers: tuple[LayerRecord, ...]
    metadata: dict | None
    labels: tuple[str, ...]
    partitions: int | None
    problem: str = ""

    @property
    def constant_bytes(self) -> int:
        """Bytes of the constants of all layers."""
        return sum(layer.constant_bytes for layer in self.layers)

    def as_dict(self) -> dict:
        """The inspection in plain types, for JSON."""
        return {**dataclasses.asdict(self), "constant_bytes": self.constant_bytes}

    def __str__(self):
        lines = [
            f"{self.file_bytes:,} bytes, {len(self.layers)} operators, "
            f"{self.constant_bytes:,} bytes of constants"
            + (f", written by {self.description}" if self.description else "")
        ]
        for role, tensors in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"{role} {name}: {kind} {list(shape)}" for name, kind, shape in tensors]
        if self.partitions is not None:
            outside = sum(layer.delegate == "built-in" for layer in self.layers)
            lines.append(f"XNNPACK: {self.partitions} partition(s), {outside} operators outside")
        if self.problem:
            lines.append(f"LiteRT cannot run it: {self.problem}")
        if self.labels:
            lines.append(f"labels: {', '.join(self.labels)}")
        width = max([len(layer.name) for layer in self.layers] + [5])
        lines.append(
            f"{'layer':<{width}}  {'operator':<18} {'in':<8} {'out':<8} {'weights':<8} "
            f"{'bits w/a':<8} {'bytes':>9}  {'delegate':<8}  writes"
        )
        for layer in self.layers:
            bits = f"{layer.weight_bits or '-'}/{layer.activation_bits or '-'}"
            lines.append(
                f"{layer.name:<{width}}  {layer.operator:<18} {layer.input_type:<8} "
                f"{layer.output_type:<8} {layer.weight_type:<8} {bits:<8} "
                f"{layer.constant_bytes:>9,}  {layer.delegate:<8}  {layer.tensor}"
            )
        return "\n".join(lines)


def inspect(file: ModelFile, *, delegation: bool = True) -> Inspection:
    """Reads a .tflite file, of this package or of any other converter.

    Args:
      file: Path, or the bytes.
      delegation: Whether to ask LiteRT what XNNPACK takes.

    Raises:
      FlatbufferError: The bytes are no model, or damaged.
      MissingFileError: There is no file at the path.
      OSError: It cannot be read.
    """
    content = content_of(file)
    with damage_said(content):
        parsed = _parsed(content)
    return _with_delegation(parsed, content) if delegation else parsed


def _parsed(content: bytes) -> Inspection:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    if model.SubgraphsLength() < 1:
        raise ValueError("it has no graph")
    metadata = read_metadata(content)
    if metadata is not None and not isinstance(metadata, dict):
        raise ValueError("its metadata is no JSON object")
    bits = (metadata or {}).get(BITS_KEY, {})
    subgraph = model.Subgraphs(0)
    types = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    reader = _Reader(model, subgraph, types)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    layers = tuple(
        reader.layer(subgraph.Operators(index), names, bits)
        for index in range(subgraph.OperatorsLength())
    )
    return Inspection(
        file_bytes=len(content),
        description=(model.Description() or b"").decode(),
        signatures=tuple(
            model.SignatureDefs(index).SignatureKey().decode()
            for index in range(model.SignatureDefsLength())
        ),
        inputs=tuple(reader.described(index) for index in _indices(subgraph.InputsAsNumpy())),
        outputs=tuple(reader.described(index) for index in _indices(subgraph.OutputsAsNumpy())),
        layers=layers,
        metadata=metadata,
        labels=tuple(map(str, (metadata or {}).get(LABELS_KEY, ()))),
        partitions=None,
    )


class _Reader:
    """Access to the tensors of one graph by index."""

    def __init__(self, model, subgraph, types):
        self._model = model
        self._subgraph = subgraph
        self._types = types

    def described(self, index: int) -> tuple[str, str, tuple[int, ...]]:
        """(name, type, shape)."""
        tensor = self._tensor(index)
        shape = tensor.ShapeAsNumpy()
        shape = tuple(int(size) for size in shape) if isinstance(shape, np.ndarray) else ()
        kind = self._types.get(tensor.Type(), f"type {tensor.Type()}")
        return (tensor.Name() or b"").decode(), kind, shape

    def layer(self, operator, operator_names, bits) -> LayerRecord:
        """The record of one operator."""
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = operator_names.get(number, f"operator {number}")
        if code.CustomCode():
            name = code.CustomCode().decode()
        inputs = [index for index in _indices(operator.InputsAsNumpy()) if index >= 0]
        outputs = _indices(operator.OutputsAsNumpy())
        written, output_type, shape = self.described(outputs[0]) if outputs else ("", "-", ())
        constants = {index: self._constant_bytes(index) for index in inputs}
        constants = {index: size for index, size in constants.items() if size}
        activations = [index for index in inputs if index not in constants]
        layer, weight_type, weight_bits, activation_bits = written, "-", None, None
        sizes = {**constants, **self._widened(inputs)}
        weights = [i for i in sizes if self.described(i)[1] not in _SETTING_TYPES]
        if weights:
            largest = max(weights, key=sizes.__getitem__)
            tensor_name, weight_type, _ = self.described(largest)
            owner = tensor_name.removesuffix(".weight")
            weight_bits, activation_bits = bits.get(owner, (_bits_of(weight_type), None))
            layer = owner if owner in bits else written
        return LayerRecord(
            name=layer,
            operator=name,
            input_type=self.described(activations[0])[1] if activations else "-",
            output_type=output_type,
            output_shape=shape,
            weight_type=weight_type,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            constant_bytes=sum(constants.values()),
            delegate="-",
            tensor=written,
        )

    def _widened(self, inputs) -> dict[int, int]:
        """Bytes of the constants that come to an operator through a DEQUANTIZE."""
        sources = {index: self._widened_constants.get(index) for index in inputs}
        return {
            index: self._constant_bytes(index) for index in sources.values() if index is not None
        }

    @functools.cached_property
    def _widened_constants(self) -> dict[int, int]:
        """Constant by the tensor that an operator makes of it alone."""
        found = {}
        for number in range(self._subgraph.OperatorsLength()):
            operator = self._subgraph.Operators(number)
            inputs, outputs = (
                _indices(values) for values in (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
            )
            alone = len(inputs) == len(outputs) == 1 and inputs[0] >= 0
            if alone and self._constant_bytes(inputs[0]):
                found[outputs[0]] = inputs[0]
        return found

    def _tensor(self, index):
        if not 0 <= index < self._subgraph.TensorsLength():
            raise ValueError(f"there is no tensor {index}")
        return self._subgraph.Tensors(index)

    def _constant_bytes(self, index) -> int:
        buffer = self._tensor(index).Buffer()
        if not 0 <= buffer < self._model.BuffersLength():
            raise ValueError(f"there is no buffer {buffer}")
        stored = self._model.Buffers(buffer)
        return max(stored.DataLength(), int(stored.Size()))


def _indices(values) -> list[int]:
    return [int(value) for value in values] if isinstance(values, np.ndarray) else []


def _bits_of(kind: str) -> int | None:
    digits = "".join(filter(str.isdigit, kind))
    return _SUBBYTE_BITS.get(kind) or (int(digits) if digits else None)


def _with_delegation(parsed: Inspection, content: bytes) -> Inspection:
    """The inspection with what LiteRT says, asked in another process."""
    try:
        probe = subprocess.run(
            [sys.executable, "-m", "tflite_tools.flatbuffer.delegation_probe"],
            input=content,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        problem = f"it did not load within {_PROBE_SECONDS} s"
        return dataclasses.replace(parsed, problem=problem)
    try:
        answer = json.loads(probe.stdout)
    except ValueError:
        problem = f"the process that loaded it ended with code {probe.returncode}"
        return dataclasses.replace(parsed, problem=problem)
    if "problem" in answer:
        return dataclasses.replace(parsed, problem=answer["problem"])
    delegated = answer["delegated"]
    if len(delegated) != len(parsed.layers):  # more than one graph
        return dataclasses.replace(parsed, partitions=answer["partitions"])
    layers = tuple(
        dataclasses.replace(layer, delegate="XNNPACK" if taken else "built-in")
        for layer, taken in zip(parsed.layers, delegated, strict=True)
    )
    return dataclasses.replace(parsed, layers=layers, partitions=answer["partitions"])
