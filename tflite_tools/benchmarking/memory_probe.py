"""Peak memory of a model, in a process of its own: this module, run with `python -m`.

Reads a flatbuffer from standard input, loads it and runs it once; prints as JSON by how many MB the
memory of the process rose. In a process that has run other models, their freed memory would hide
it.
"""

import json
import os
import pathlib
import subprocess
import sys

_STATUS = pathlib.Path("/proc/self/status")
_KILOBYTES = 1024.0  # per MB
_SECONDS = 120


def measure_peak_memory(flatbuffer: bytes, kernel_set: str, num_threads: int) -> float | None:
    """MB that loading a model and running it once take; None where it cannot be measured.

    Args:
      flatbuffer: Bytes of a .tflite file.
      kernel_set: A `tflite_tools.flatbuffer.runtime.KernelSet`.
      num_threads: CPU threads.
    """
    if not _STATUS.is_file():
        return None
    try:
        probe = subprocess.run(
            [
                sys.executable,
                "-m",
                "tflite_tools.benchmarking.memory_probe",
                str(kernel_set),
                str(num_threads),
            ],
            input=flatbuffer,
            capture_output=True,
            timeout=_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return float(json.loads(probe.stdout))
    except (subprocess.TimeoutExpired, ValueError):
        return None


def _megabytes(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) / _KILOBYTES
    raise OSError(f"{_STATUS} has no {field}")


def main(kernel_set: str, num_threads: str) -> None:
    """Measures the model on standard input."""
    from tflite_tools.devices.inputs import fill_inputs
    from tflite_tools.flatbuffer import runtime

    content = sys.stdin.buffer.read()
    before = _megabytes("VmRSS")
    interpreter = runtime.load(content, runtime.KernelSet(kernel_set), int(num_threads))
    interpreter.allocate_tensors()
    fill_inputs(interpreter)
    interpreter.invoke()
    print(json.dumps(max(0.0, _megabytes("VmHWM") - before)))


if __name__ == "__main__":
    main(*sys.argv[1:])
