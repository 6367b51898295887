"""A phone behind adb that runs the `benchmark_model` of the user.

Everything lies in one new folder of the device. A shell that holds the folder removes it when this
process closes it, dies, or loses the connection, so that nothing is left behind.
"""

import contextlib
import os
import pathlib
import queue
import re
import secrets
import shlex
import subprocess
import tempfile
import threading
from typing import IO

from tflite_tools.benchmarking.delegates import Delegate, find_delegate
from tflite_tools.benchmarking.options import (
    BenchmarkOptionError,
    BenchmarkOptions,
    DeviceFiles,
)
from tflite_tools.devices.adb import NO_SPACE, QUICK, Adb, ShellResult
from tflite_tools.devices.benchmark_output import parse
from tflite_tools.devices.benchmark_program import BenchmarkProgram, check_abi
from tflite_tools.devices.device import DeviceInfo, Round
from tflite_tools.devices.errors import (
    DeviceError,
    DeviceNotFoundError,
    DeviceOfflineError,
    DeviceProcessError,
    DeviceStorageError,
    WrongAbiError,
)

SCRATCH = "/data/local/tmp"
"""The folder that adb's shell user may write to."""
_PROPERTIES = {
    "name": ("ro.product.manufacturer", "ro.product.model"),
    "soc": ("ro.soc.manufacturer", "ro.soc.model"),
    "system": ("ro.build.version.release",),
    "abi": ("ro.product.cpu.abi",),
    "abis": ("ro.product.cpu.abilist",),
}
_GOVERNOR = "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
_BATTERY = re.compile(r"^\s*temperature: (-?\d+)", re.MULTILINE)
_TENTHS = 10.0
_KILLED, _SEGMENTATION_FAULT = 137, 139
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


class AndroidDevice:
    """The device "adb:SERIAL", with a folder of its own until `close`.

    Args:
      serial: As `adb devices` prints it.
      files: Programs and libraries of the user.

    Raises:
      DeviceError: The device cannot be used; the sentence says why.
    """

    def __init__(self, serial: str, files: DeviceFiles):
        if files.benchmark_model is None:
            raise DeviceNotFoundError(
                f"adb:{serial} needs LiteRT's benchmark_model for the phone: give its path as "
                "benchmark_model (apps/benchmark.py: --benchmark_model=PATH). docs/android.md says "
                "where to get it."
            )
        for path in (files.benchmark_model, files.run_model, *files.libraries):
            if path is not None and not pathlib.Path(path).is_file():
                raise DeviceNotFoundError(f"There is no file {path} to bring to adb:{serial}.")
        self._benchmark_model = pathlib.Path(files.benchmark_model)
        self.adb = Adb(serial)
        self.files = files
        self.device = f"adb:{serial}"
        self._properties = self._read_properties()
        self._check_abis()
        self.folder = f"{SCRATCH}/qfa_tf-{secrets.token_hex(8)}"
        self._numbers = iter(range(1_000_000))
        self._brought: set[str] = set()
        self._keeper: subprocess.Popen | None = self._keep_folder()
        try:
            self.program = self._bring_program()
        except BaseException:
            self.close()
            raise

    def info(self) -> DeviceInfo:
        """Model, SoC, ABI, Android version, governor and flavour of the program."""
        governors = sorted(set(self.adb.script(f"{_GOVERNOR} 2>/dev/null").stdout.split()))
        system = self._properties["system"]
        return DeviceInfo(
            device=self.device,
            name=self._properties["name"] or self.adb.serial,
            runtime=f"benchmark_model ({self.program.flavour}), {self._size()} bytes",
            soc=self._properties["soc"] or None,
            abi=self._properties["abi"] or None,
            system=f"Android {system}" if system else None,
            governor=", ".join(governors) or None,
        )

    def temperature_celsius(self) -> float | None:
        """Of the battery."""
        found = _BATTERY.search(self.adb.shell("dumpsys", "battery").stdout)
        return None if found is None else int(found[1]) / _TENTHS

    def load(self, name: str, flatbuffer: bytes, options: BenchmarkOptions) -> "AndroidModel":
        """Copies a model to the device.

        Raises:
          DeviceError: The device cannot be reached or is full, or misses a library.
          UnknownDelegateError: The program has no such delegate.
        """
        delegate = find_delegate(options.delegate)
        delegate.flags_for(self.program.flavour)
        if options.clock != "wall":
            raise BenchmarkOptionError(
                f"A phone has the wall clock only. Received: {options.clock!r}."
            )
        given = {pathlib.Path(path).name for path in self.files.libraries}
        missing = [library for library in delegate.libraries if library not in given]
        if missing:
            raise DeviceNotFoundError(
                f"The delegate {delegate.name!r} needs {', '.join(missing)} of the vendor. Give "
                "its path as a library (apps/benchmark.py: --library=PATH)."
            )
        return AndroidModel(self, name, self.put(flatbuffer, ".tflite"), flatbuffer, delegate)

    def bring(self, program: str | os.PathLike, name: str) -> str:
        """Copies a program once and returns its path on the device."""
        path = f"{self.folder}/{name}"
        if name not in self._brought:
            self.adb.push(program, path)
            self.adb.shell("chmod", "755", path)
            self._brought.add(name)
        return path

    def put(self, content: bytes, suffix: str) -> str:
        """Writes a file into the folder and returns its path on the device."""
        remote = f"{self.folder}/{next(self._numbers)}{suffix}"
        with tempfile.NamedTemporaryFile(suffix=suffix) as local:
            local.write(content)
            local.flush()
            self.adb.push(local.name, remote)
        return remote

    def get(self, remote: str) -> bytes:
        """Reads a file of the folder."""
        with tempfile.TemporaryDirectory() as folder:
            local = pathlib.Path(folder) / "content"
            self.adb.pull(remote, local)
            return local.read_bytes()

    def remove(self, *remote: str) -> None:
        """Removes files of the folder."""
        self.adb.shell("rm", "-rf", *remote)

    def execute(self, command: list[str], delegate: Delegate, what: str) -> str:
        """Runs a program in the folder and returns what it printed.

        Args:
          command: Words.
          delegate: For its libraries.
          what: For messages, such as "benchmark_model on model 'a'".

        Raises:
          DeviceError: It failed or was killed, or the device cannot be reached.
        """
        variables = [f"LD_LIBRARY_PATH={self.folder}"]
        variables += [f"{name}={self.folder}" for name in delegate.environment]
        mask = self.files.cpu_mask
        words = ["env", *variables, *(["taskset", mask] if mask else []), *command]
        result = self.adb.script(f"exec {shlex.join(words)}", timeout=self.files.timeout)
        self._check(result, what)
        return result.output

    def close(self) -> None:
        """Removes the folder."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        stdin, stdout, stderr = _pipes(keeper)
        with contextlib.suppress(OSError):
            stdin.close()  # the shell that holds the folder ends, and removes it
        try:
            keeper.wait(QUICK)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        for stream in (stdout, stderr):
            stream.close()
        with contextlib.suppress(DeviceError):  # of a lost device, the shell has removed it
            self.adb.shell("rm", "-rf", self.folder)

    def _keep_folder(self) -> subprocess.Popen:
        # A signal during the trap of the exit would end it before it removes anything.
        folder = shlex.quote(self.folder)
        keeper = self.adb.keep(
            f"mkdir {folder} || exit 1; clean() {{ trap '' HUP INT TERM; rm -rf {folder}; }}; "
            "trap clean EXIT; trap 'clean; exit 1' HUP INT TERM; echo ready; read -r line"
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        _, stdout, _ = _pipes(keeper)
        reader = threading.Thread(
            target=lambda: lines.put(stdout.readline()), daemon=True, name="adb shell"
        )
        reader.start()
        try:
            line = lines.get(timeout=QUICK)
        except queue.Empty:
            line = ""
        if line.strip() == "ready":
            return keeper
        keeper.kill()
        _, stderr = keeper.communicate()
        raise self.adb.failure(stderr or line or f"mkdir {self.folder} did not answer")

    def _read_properties(self) -> dict[str, str]:
        names = [name for group in _PROPERTIES.values() for name in group]
        script = "; ".join(f"getprop {name}" for name in names)
        result = self.adb.script(script)
        values = dict(zip(names, result.stdout.splitlines(), strict=False))
        return {
            key: " ".join(filter(None, (values.get(name, "").strip() for name in group)))
            for key, group in _PROPERTIES.items()
        }

    def _check_abis(self) -> None:
        text = self._properties["abis"] or self._properties["abi"]
        abis = [abi for abi in text.split(",") if abi]
        for path in (self.files.benchmark_model, self.files.run_model, *self.files.libraries):
            if path is not None:
                check_abi(pathlib.Path(path), abis, str(self.adb))

    def _bring_program(self) -> BenchmarkProgram:
        path = self.bring(self._benchmark_model, "benchmark_model")
        for library in self.files.libraries:
            self.adb.push(library, f"{self.folder}/{pathlib.Path(library).name}")
        result = self.adb.shell(path, "--help", timeout=self.files.timeout)
        if result.status in (_NOT_EXECUTABLE, _NOT_FOUND) or result.status >= _KILLED:
            self._check(result, "benchmark_model --help")
        return BenchmarkProgram(path, result.output)

    def _size(self) -> int:
        return self._benchmark_model.stat().st_size

    def _check(self, result: ShellResult, what: str) -> None:
        """Raises the error that an exit status and its messages stand for."""
        if not result.status:
            return
        text = result.stderr.strip() or result.stdout.strip()
        last = text.splitlines()[-1][:200] if text else "it printed nothing"
        if NO_SPACE.lower() in result.output.lower():
            raise DeviceStorageError(
                f"The storage of {self.adb} is full: {what} says {last!r}. Free some of /data and "
                "try again."
            )
        if result.status == _NOT_EXECUTABLE or "exec format" in text.lower():
            raise WrongAbiError(
                f"{self.adb} ({self._properties['abi']}) cannot execute {what}: {last}. Take the "
                "program built for it (docs/android.md)."
            )
        if result.status == _KILLED:
            raise DeviceProcessError(
                f"{what} was killed on {self.adb} (signal 9), as Android does when memory runs "
                "out. Close other apps, or measure a smaller model."
            )
        if result.status == 255 and not text:
            raise DeviceOfflineError(
                f"{self.adb} was disconnected during {what}. Plug it in again and repeat the "
                "command."
            )
        signal = f" by signal {result.status - 128}" if result.status > 128 else ""
        crashed = "crashed" if result.status == _SEGMENTATION_FAULT else "failed"
        raise DeviceProcessError(
            f"{what} {crashed} on {self.adb} with status {result.status}{signal}: {last}"
        )


class AndroidModel:
    """A model on the device.

    Args:
      device: Where it is.
      name: For messages.
      path: On the device.
      flatbuffer: Its bytes.
      delegate: What executes it.
    """

    def __init__(
        self, device: AndroidDevice, name: str, path: str, flatbuffer: bytes, delegate: Delegate
    ):
        from tflite_tools.flatbuffer.inspection import inspect

        self._device = device
        self._what = f"benchmark_model on {name!r}"
        self._path = path
        self._delegate = delegate
        self._operators = len(inspect(flatbuffer, delegation=False).layers)

    def run(self, options: BenchmarkOptions) -> Round:
        """Starts the program once.

        Raises:
          DeviceError: It failed, or its output is incomplete.
        """
        return parse(self._log("measuring", options), self._operators)

    def profile(self, options: BenchmarkOptions) -> str:
        """What the program prints with its operator profile."""
        return self._log("profiling", options)

    def close(self) -> None:
        """Removes the model from the device."""
        self._device.remove(self._path)

    def _log(self, kind: str, options: BenchmarkOptions) -> str:
        device = self._device
        make = getattr(device.program, kind)
        command = make(self._path, options, self._delegate, device.folder)
        return device.execute(command, self._delegate, self._what)


def _pipes(process: subprocess.Popen) -> tuple[IO[str], IO[str], IO[str]]:
    """Input, output and error stream of what `Adb.keep` started, which opens all three."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr
