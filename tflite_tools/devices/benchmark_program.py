"""The program `benchmark_model` on a device: which flavour it is, and its command lines."""

import pathlib
import struct

from tflite_tools.benchmarking.delegates import Delegate
from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.devices.benchmark_output import CLASSIC, flags_of, variant_of
from tflite_tools.devices.errors import WrongAbiError

_ELF = b"\x7fELF"
_MACHINES = {3: ("x86",), 40: ("armeabi-v7a", "armeabi"), 62: ("x86_64",), 183: ("arm64-v8a",)}
"""ABIs of Android by the machine number of ELF."""


class BenchmarkProgram:
    """Command lines for one program.

    Args:
      path: Of the program on the device.
      help_text: What it prints with --help.

    Attributes:
      path: Of the program on the device.
      flavour: "classic" or "litert" (v2).

    Raises:
      DeviceOutputError: It is no benchmark_model.
    """

    def __init__(self, path: str, help_text: str):
        self.path = path
        self.flavour = variant_of(help_text)
        self._flags = flags_of(help_text)

    def measuring(
        self, graph: str, options: BenchmarkOptions, delegate: Delegate, folder: str
    ) -> list[str]:
        """Command that measures a model.

        Args:
          graph: Of the model on the device.
          options: How to measure.
          delegate: What executes the model.
          folder: Of the libraries on the device.
        """
        wanted = [
            f"--graph={graph}",
            f"--num_threads={options.num_threads}",
            f"--num_runs={options.num_runs}",
            f"--min_secs={options.min_seconds:g}",
            f"--warmup_runs={options.warmup_runs + 1}",  # the first one is reported apart
            "--warmup_min_secs=0",
            "--report_peak_memory_footprint=true",
            "--memory_footprint_check_interval_ms=50",
            "--verbose=true",
        ]
        return [self.path, *self._known(wanted), *self._delegate_flags(delegate, folder)]

    def profiling(
        self, graph: str, options: BenchmarkOptions, delegate: Delegate, folder: str
    ) -> list[str]:
        """Command that measures a model with its operator profile."""
        flag = "enable_op_profiling" if self.flavour == CLASSIC else "use_profiler"
        return [*self.measuring(graph, options, delegate, folder), f"--{flag}=true"]

    def comparing(
        self,
        graph: str,
        delegate: Delegate,
        folder: str,
        inputs: list[tuple[str, tuple[int, ...], str]],
        output: str,
    ) -> list[str]:
        """Command of the classic flavour that runs a model once on given inputs.

        Args:
          graph: Of the model on the device.
          delegate: What executes the model.
          folder: Of the libraries on the device.
          inputs: Name, shape and file on the device of each input.
          output: File on the device for all outputs, one after the other.
        """
        names = [name.replace(":", "::") for name, _, _ in inputs]
        shapes = [",".join(map(str, shape)) for _, shape, _ in inputs]
        files = [f"{name}:{path}" for name, (_, _, path) in zip(names, inputs, strict=True)]
        return [
            self.path,
            f"--graph={graph}",
            "--num_threads=1",
            "--num_runs=1",
            "--min_secs=0",
            "--warmup_runs=0",
            "--warmup_min_secs=0",
            f"--input_layer={','.join(names)}",
            f"--input_layer_shape={':'.join(shapes)}",
            f"--input_layer_value_files={','.join(files)}",
            f"--output_filepath={output}",
            *self._delegate_flags(delegate, folder),
        ]

    def _known(self, wanted: list[str]) -> list[str]:
        """The flags that this build has; a missing one of the essential ones would be an error."""
        return [flag for flag in wanted if flag[2:].partition("=")[0] in self._flags]

    def _delegate_flags(self, delegate: Delegate, folder: str) -> list[str]:
        return [flag.format(folder=folder) for flag in delegate.flags_for(self.flavour)]


def check_abi(program: pathlib.Path, abis: list[str], device: str) -> None:
    """Compares the header of a program with the ABIs of a device.

    Args:
      program: A file here.
      abis: Of the device.
      device: For the message.

    Raises:
      WrongAbiError: It is built for another processor.
    """
    with open(program, "rb") as file:
        header = file.read(20)
    if header[:4] != _ELF or len(header) < 20:
        return  # a script; the device says whether it runs
    (machine,) = struct.unpack("<H" if header[5] == 1 else ">H", header[18:20])
    built_for = _MACHINES.get(machine, (f"ELF machine {machine}",))
    if abis and not set(built_for) & set(abis):
        raise WrongAbiError(
            f"{program} is built for {built_for[0]}, but {device} runs {', '.join(abis)}. Build or "
            f"download the one for {abis[0]} (docs/android.md)."
        )
