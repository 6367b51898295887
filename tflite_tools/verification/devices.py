"""Whether a device computes what this computer does, on the same inputs."""

import dataclasses

import numpy as np

from quantize_configs.errors import InvalidInputError
from tflite_tools.benchmarking.delegates import Delegate, find_delegate, kernel_set_of
from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.devices.benchmark_output import CLASSIC
from tflite_tools.devices.device import Device
from tflite_tools.devices.errors import DeviceNotFoundError, DeviceOutputError
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.content import ModelFile, content_of


@dataclasses.dataclass(frozen=True)
class DeviceComparison:
    """Result of `compare_device`.

    Attributes:
      device: Where the outputs come from.
      delegate: That computed them.
      exact: Whether bit equality is promised there.
      images: Inputs that were compared.
      elements: Output numbers that were compared.
      mismatches: Those that differ in any bit.
      largest_difference: Largest absolute difference of two outputs.
      largest_steps: The same in steps of the output's grid; None for float outputs without one.
      top1_agreement: Share of images with the same largest output.
      accuracy: Of the device; None without labels.
      reference_accuracy: Of this computer; None without labels.
    """

    device: str
    delegate: str
    exact: bool
    images: int
    elements: int
    mismatches: int
    largest_difference: float
    largest_steps: float | None
    top1_agreement: float
    accuracy: float | None
    reference_accuracy: float | None

    @property
    def keeps_promise(self) -> bool:
        """False when a device that promises equal bits has others."""
        return not (self.exact and self.mismatches)

    def as_dict(self) -> dict:
        """Plain types, for JSON."""
        return dataclasses.asdict(self)

    def __str__(self):
        text = (
            f"{self.device}, {self.delegate}: {self.mismatches} of {self.elements} outputs differ "
            f"on {self.images} images"
        )
        if self.mismatches:
            steps = "" if self.largest_steps is None else f" ({self.largest_steps:g} steps)"
            text += f", by {self.largest_difference:g} at most{steps}"
        text += f"; the largest output is the same on {100 * self.top1_agreement:.2f} %"
        if self.accuracy is not None and self.reference_accuracy is not None:
            text += (
                f"; accuracy {100 * self.accuracy:.2f} %, here "
                f"{100 * self.reference_accuracy:.2f} %"
            )
        if not self.keeps_promise:
            text += (
                ". Equal bits are promised with this delegate: report the phone and the versions"
            )
        return f"{text}."


def compare_device(
    flatbuffer: ModelFile,
    device: Device,
    images: np.ndarray,
    *,
    delegate: str = "cpu",
    labels: np.ndarray | None = None,
) -> DeviceComparison:
    """Runs images on a device and on this computer.

    The reference are the same kernels here, which equal the integer arithmetic of the package bit
    for bit; for accelerators it is XNNPACK. A phone starts its program once for each image.

    Args:
      flatbuffer: Bytes of a .tflite file with one input and one output, or its path.
      device: From `tflite_tools.benchmarking.measurement.open_device`.
      images: [N, ...] of the input's type and shape.
      delegate: One of `tflite_tools.benchmarking.delegates.delegates()`.
      labels: int[N], for accuracies.

    Raises:
      InvalidInputError: The model has several inputs, or the images do not fit.
      DeviceError: The device cannot do it.
    """
    flatbuffer = content_of(flatbuffer)
    chosen = find_delegate(delegate)
    interpreter = runtime.load(flatbuffer)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InvalidInputError(
            f"compare_device takes models of one input and one output. Received: {len(inputs)} "
            f"and {len(outputs)}."
        )
    kernels = kernel_set_of(chosen) or runtime.KernelSet.XNNPACK
    reference = _run_here(flatbuffer, images, kernels)
    if hasattr(device, "execute"):
        found = _run_on_phone(flatbuffer, device, chosen, images, inputs[0], outputs[0])
    else:
        chosen.flags_for("host")
        found = _run_here(flatbuffer, images, kernels)
    difference = np.abs(found.astype(np.float64) - reference.astype(np.float64))
    scale = outputs[0]["quantization_parameters"]["scales"]
    steps = None
    if np.issubdtype(outputs[0]["dtype"], np.integer):
        steps = float(difference.max())
        difference = difference * (float(scale[0]) if len(scale) else 1.0)
    flat, flat_reference = (values.reshape(len(images), -1) for values in (found, reference))
    top, reference_top = flat.argmax(1), flat_reference.argmax(1)
    return DeviceComparison(
        device=device.info().device,
        delegate=delegate,
        exact=chosen.exact,
        images=len(images),
        elements=found.size,
        mismatches=int(np.sum(_bits(found) != _bits(reference))),
        largest_difference=float(difference.max()),
        largest_steps=steps,
        top1_agreement=float(np.mean(top == reference_top)),
        accuracy=None if labels is None else float(np.mean(top == labels)),
        reference_accuracy=None if labels is None else float(np.mean(reference_top == labels)),
    )


def _run_here(flatbuffer, images, kernels) -> np.ndarray:
    """One image at a time, as on a phone: some built-in kernels round by batch size."""
    results = [runtime.run(flatbuffer, [image[None]], kernels).outputs for image in images]
    return np.concatenate([next(iter(outputs.values())) for outputs in results])


def _run_on_phone(flatbuffer, device, delegate: Delegate, images, given, wanted) -> np.ndarray:
    is_classic = device.program.flavour == CLASSIC
    if not is_classic:
        _check_v2(device, delegate, given, wanted)
    run = _run_classic if is_classic else _run_v2
    options = BenchmarkOptions(delegate=delegate.name)
    device.load("the compared model", flatbuffer, options).close()  # checks the delegate
    graph = device.put(flatbuffer, ".tflite")
    shape, dtype = tuple(int(size) for size in wanted["shape"]), np.dtype(wanted["dtype"])
    found = []
    for image in images:
        content = run(device, delegate, graph, np.ascontiguousarray(image[None]), given)
        if len(content) != dtype.itemsize * int(np.prod(shape)):
            raise DeviceOutputError(
                f"The device wrote {len(content)} bytes of outputs instead of "
                f"{dtype.itemsize * int(np.prod(shape))}. Take a newer benchmark_model, and see "
                "that the storage of the device is not full."
            )
        found.append(np.frombuffer(content, dtype).reshape(shape))
    device.remove(graph)
    return np.concatenate(found)


def _run_classic(device, delegate, graph, image, given) -> bytes:
    source = device.put(image.tobytes(), ".raw")
    target = f"{source}.out"
    inputs = [(given["name"], image.shape, source)]
    command = device.program.comparing(graph, delegate, device.folder, inputs, target)
    device.execute(command, delegate, "benchmark_model on one image")
    content = device.get(target)
    device.remove(source, target)
    return content


def _run_v2(device, delegate, graph, image, given) -> bytes:
    folder = device.put(b"", ".marker").removesuffix(".marker")
    device.adb.shell("mkdir", folder)
    source = device.put(image.tobytes(), ".raw")
    device.adb.shell("mv", source, f"{folder}/{given['name']}.raw")
    program = device.bring(device.files.run_model, "run_model")
    command = [
        program,
        f"--graph={graph}",
        f"--accelerator={delegate.run_model}",
        *delegate.run_model_flags,
        f"--input_dir={folder}",
        f"--dump_output_folder={folder}",
    ]
    device.execute(command, delegate, "run_model on one image")
    content = device.get(f"{folder}/output_0.raw")
    device.remove(folder, f"{folder}.marker")
    return content


def _check_v2(device, delegate, given, wanted) -> None:
    if device.files.run_model is None:
        raise DeviceNotFoundError(
            "The v2 benchmark_model writes no outputs. Give LiteRT's run_model for the phone as "
            "well (apps/benchmark.py: --run_model=PATH), or a classic benchmark_model."
        )
    if delegate.run_model is None:
        raise DeviceNotFoundError(f"run_model has no accelerator for {delegate.name!r}.")
    if wanted["dtype"] != np.float32 or given["dtype"] not in (np.float32, np.int8, np.int16):
        raise DeviceNotFoundError(
            "run_model reads float32, int8 and int16 inputs and writes float32 outputs only. "
            f"Received: {np.dtype(given['dtype'])} and {np.dtype(wanted['dtype'])}. Export with "
            "input_type float32 or int8 and output_type float32, or take a classic "
            "benchmark_model."
        )
    if "/" in given["name"]:
        raise DeviceNotFoundError(
            f"run_model cannot be given the input {given['name']!r}, because of its slash. Take a "
            "classic benchmark_model."
        )


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def random_images(flatbuffer: bytes, count: int, seed: int = 0) -> np.ndarray:
    """Random inputs for a model: bytes or codes over the whole range, floats from 0 to 1."""
    details = runtime.load(flatbuffer).get_input_details()[0]
    shape, dtype = (
        (count, *(int(size) for size in details["shape"][1:])),
        np.dtype(details["dtype"]),
    )
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        return rng.random(shape, np.float32).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
