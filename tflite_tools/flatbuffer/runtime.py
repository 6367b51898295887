"""Running a flatbuffer in LiteRT and seeing what the XNNPACK delegate took over."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from quantize_configs.errors import DamagedFileError
from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.flatbuffer.content import bytes_of
from tflite_tools.flatbuffer.native_notes import without_notes
from tflite_tools.integer_graph.input_checks import checked_inputs


class FlatbufferError(DamagedFileError):
    """Bytes that LiteRT cannot load or run as a model."""


@dataclasses.dataclass(frozen=True)
class OperatorRecord:
    """One operator of the model as LiteRT loaded it.

    Attributes:
      name: Operator name, for example CONV_2D.
      outputs: Names of the tensors it writes.
      delegated: True if it runs inside the XNNPACK delegate.
      reads_constants: True if it reads nothing else, so that it runs once and not per image.
    """

    name: str
    outputs: tuple[str, ...]
    delegated: bool
    reads_constants: bool = False


@dataclasses.dataclass(frozen=True)
class RunResult:
    """Outputs of one run and what ran where.

    Attributes:
      outputs: Output arrays by tensor name, in output order.
      operators: The model's operators in execution order, without those that only widen constants.
      partitions: Number of delegate partitions (0 without XNNPACK).
    """

    outputs: dict[str, np.ndarray]
    operators: tuple[OperatorRecord, ...]
    partitions: int

    @property
    def operator_names(self) -> list[str]:
        """Names of the operators in execution order."""
        return [operator.name for operator in self.operators]

    @property
    def fallbacks(self) -> list[OperatorRecord]:
        """Operators that run outside the delegate."""
        return [operator for operator in self.operators if not operator.delegated]

    @property
    def fully_delegated(self) -> bool:
        """True if one delegate partition runs the whole model."""
        return self.partitions == 1 and not self.fallbacks


def load(flatbuffer: bytes, kernel_set: KernelSet = KernelSet.XNNPACK, num_threads: int = 1):
    """Loads a model without allocating its tensors.

    Args:
      flatbuffer: Bytes of a .tflite file.
      kernel_set: Kernels to run with.
      num_threads: CPU threads.

    Returns:
      An `ai_edge_litert.interpreter.Interpreter`.

    Raises:
      InvalidTypeError: `flatbuffer` is no bytes.
      FlatbufferError: The bytes are no model, truncated or corrupt, or need an unknown operator.
    """
    from ai_edge_litert import interpreter as litert

    content = bytes_of(flatbuffer)
    resolver = {
        KernelSet.XNNPACK: litert.OpResolverType.AUTO,
        KernelSet.BUILTIN: litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        KernelSet.REFERENCE: litert.OpResolverType.BUILTIN_REF,
    }[KernelSet(kernel_set)]
    try:
        return litert.Interpreter(
            model_content=content,
            experimental_op_resolver_type=resolver,
            num_threads=num_threads,
        )
    except (ValueError, RuntimeError) as error:
        raise FlatbufferError(
            f"LiteRT cannot load these {len(flatbuffer)} bytes as a model; the file is truncated, "
            f"corrupt or not a .tflite file. Export it again. LiteRT says: {error}"
        ) from error


def run(
    flatbuffer: bytes,
    inputs: Sequence[np.ndarray],
    kernel_set: KernelSet = KernelSet.XNNPACK,
    num_threads: int = 1,
) -> RunResult:
    """Runs a model once; the batch of the inputs may differ from that of the model.

    Args:
      flatbuffer: Bytes of a .tflite file.
      inputs: One array [N, ...] for each model input, of exactly the model's type and shape apart
        from the batch, which is the same N for all of them.
      kernel_set: Kernels to run with.
      num_threads: CPU threads.

    Returns:
      Outputs, operators and partitions. Rounding of some built-in kernels depends on the size of
      the whole batch, so split many images into the same chunks wherever results are compared.

    Raises:
      FlatbufferError: The bytes are no model, or LiteRT refuses to run it.
      InvalidInputError: The inputs do not fit.
    """
    interpreter = load(flatbuffer, kernel_set, num_threads)
    arrays = _checked_inputs(interpreter.get_input_details(), inputs)
    try:
        for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
            if tuple(details["shape"]) != array.shape:
                interpreter.resize_tensor_input(details["index"], array.shape)
        with without_notes():
            interpreter.allocate_tensors()
        for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(details["index"], array)
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise FlatbufferError(
            f"LiteRT loaded the model but cannot run it with {kernel_set} kernels: {error}"
        ) from error
    outputs = {
        details["name"]: interpreter.get_tensor(details["index"])
        for details in interpreter.get_output_details()
    }
    operators, partitions = describe(interpreter)
    operators = tuple(item for item in operators if not item.reads_constants)
    return RunResult(outputs, operators, partitions)


def input_names(flatbuffer: bytes) -> list[str]:
    """Names of the inputs, in the order in which `run` takes them."""
    return [details["name"] for details in load(flatbuffer).get_input_details()]


def output_names(flatbuffer: bytes) -> list[str]:
    """Names of the outputs, in the order of the file."""
    return [details["name"] for details in load(flatbuffer).get_output_details()]


def quantizations(flatbuffer: bytes) -> dict[str, tuple[float, int]]:
    """(scale, zero point) of every tensor that has exactly one of each, by name."""
    found = {}
    for details in load(flatbuffer).get_tensor_details():
        parameters = details["quantization_parameters"]
        if len(parameters["scales"]) == 1:
            scale, zero_point = parameters["scales"][0], parameters["zero_points"][0]
            found[details["name"]] = float(scale), int(zero_point)
    return found


def describe(interpreter) -> tuple[tuple[OperatorRecord, ...], int]:
    """Operators of an allocated LiteRT interpreter and its number of delegate partitions.

    LiteRT keeps the original operators in its node list and appends one DELEGATE node for each
    partition. The operators inside a partition are those met going back from its outputs to its
    inputs.
    """
    nodes = interpreter._get_ops_details()
    originals = [node for node in nodes if node["op_name"] != "DELEGATE"]
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    producers = {
        int(tensor): position
        for position, node in enumerate(originals)
        for tensor in node["outputs"]
    }
    delegated = set()
    for delegate in delegates:
        boundary = {int(tensor) for tensor in delegate["inputs"]}
        pending = [int(tensor) for tensor in delegate["outputs"]]
        while pending:
            tensor = pending.pop()
            position = producers.get(tensor)
            if position is None or tensor in boundary or position in delegated:
                continue
            delegated.add(position)
            pending += [int(source) for source in originals[position]["inputs"]]
    fed = {int(details["index"]) for details in interpreter.get_input_details()} | set(producers)
    constant = {id(node) for node in originals if not fed.intersection(map(int, node["inputs"]))}
    names = {details["index"]: details["name"] for details in interpreter.get_tensor_details()}
    records = tuple(
        OperatorRecord(
            name=node["op_name"],
            outputs=tuple(names.get(int(tensor), f"#{tensor}") for tensor in node["outputs"]),
            delegated=position in delegated,
            reads_constants=id(node) in constant,
        )
        for position, node in enumerate(originals)
    )
    return records, len(delegates)


def _checked_inputs(details: list[dict], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    expected = [
        (item["name"], np.dtype(item["dtype"]), tuple(int(size) for size in item["shape"]))
        for item in details
    ]
    return checked_inputs("model", expected, inputs)
