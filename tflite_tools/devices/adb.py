"""Android's `adb` as a library: shell, push, pull, and one sentence for each of its failures.

A command for the device is a list of words, quoted here for its shell; the serial number and local
paths are arguments of a process and reach no shell at all.
"""

import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess

from tflite_tools.devices.errors import (
    DeviceError,
    DeviceNotFoundError,
    DeviceOfflineError,
    DeviceStorageError,
    DeviceTimeoutError,
    DeviceUnauthorizedError,
)

QUICK = 30.0
"""Seconds for a command that takes no time on a healthy device."""
NO_SPACE = "No space left on device"
_OFFLINE = (
    "device offline",
    "error: closed",
    "protocol fault",
    "connection reset",
    "failed to read",
)

_OWN_MESSAGES = ("error:", "adb: error:", "adb: device", "* failed", "adb: no devices")


@dataclasses.dataclass(frozen=True)
class ShellResult:
    """Output of a command on the device.

    Attributes:
      stdout: Text.
      stderr: Text.
      status: Exit status; 128 and more is a signal.
    """

    stdout: str
    stderr: str
    status: int

    @property
    def output(self) -> str:
        """Both outputs, one after the other."""
        return self.stdout + self.stderr


class Adb:
    """One device behind an adb server.

    Args:
      serial: As `adb devices` prints it; empty for the only device.

    Raises:
      DeviceNotFoundError: There is no adb.
    """

    def __init__(self, serial: str):
        self.serial = serial
        program = shutil.which("adb")
        if program is None:
            raise DeviceNotFoundError(
                "There is no adb on the PATH. Install Android's platform tools (Debian and Ubuntu: "
                "apt-get install adb) and try again."
            )
        self._prefix = [program, *(["-s", serial] if serial else [])]

    def __str__(self):
        return f"device {self.serial!r}" if self.serial else "the device"

    def shell(self, *words: str, timeout: float = QUICK) -> ShellResult:
        """Runs a command of words, each of which the device takes literally.

        Raises:
          DeviceError: The device cannot be reached, or does not finish in time.
        """
        return self.script(shlex.join(words), timeout=timeout)

    def script(self, text: str, timeout: float = QUICK) -> ShellResult:
        """Runs a line for the shell of the device; quote what comes from outside.

        Raises:
          DeviceError: The device cannot be reached, or does not finish in time.
        """
        done = self._run(["shell", text], timeout, f"run {text.split()[0]!r}")
        if done.returncode == 1 and not done.stdout:  # of adb itself, or of the command
            self._raise_if_lost(done.stderr)
        return ShellResult(done.stdout, done.stderr, done.returncode)

    def keep(self, text: str) -> subprocess.Popen:
        """Starts a line for the shell of the device; its input is open as long as this process."""
        return subprocess.Popen(
            [*self._prefix, "shell", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def push(self, local: str | os.PathLike, remote: str, timeout: float = 300.0) -> None:
        """Copies a file to the device.

        Raises:
          DeviceError: The device cannot be reached or is full.
        """
        self._copy(["push", os.path.abspath(local), remote], f"copy {local} to", timeout)

    def pull(self, remote: str, local: str | os.PathLike, timeout: float = 300.0) -> None:
        """Copies a file from the device.

        Raises:
          DeviceError: The device cannot be reached, or has no such file.
        """
        self._copy(["pull", remote, os.path.abspath(local)], f"copy {remote} from", timeout)

    def failure(self, text: str) -> DeviceError:
        """The error that a message of adb stands for."""
        lowered = text.lower()
        message = " ".join(text.split())
        if "unauthorized" in lowered or "still authorizing" in lowered:
            return DeviceUnauthorizedError(
                f"{self} has not authorised this computer. Unlock its screen, accept the question "
                "about USB debugging, and try again."
            )
        if NO_SPACE.lower() in lowered:
            return DeviceStorageError(
                f"The storage of {self} is full ({message}). Free some of /data and try again."
            )
        if re.search(r"device .*not found", lowered) or "no devices" in lowered:
            return DeviceNotFoundError(
                f"{self} is not connected; adb sees {self._others()}. Plug it in, switch on USB "
                "debugging, and look at `adb devices`."
            )
        if "more than one device" in lowered:
            return DeviceNotFoundError(
                f"Several devices are connected: {self._others()}. Name one, as in adb:SERIAL."
            )
        if any(mark in lowered for mark in _OFFLINE):
            return DeviceOfflineError(
                f"{self} is offline or was disconnected ({message}). Plug it in again, wake it, "
                "and repeat the command."
            )
        return DeviceError(f"adb failed for {self}: {message}.")

    def _copy(self, arguments: list[str], what: str, timeout: float) -> None:
        done = self._run(arguments, timeout, what)
        if done.returncode:
            raise self.failure(done.stderr + done.stdout)

    def _run(self, arguments: list[str], timeout: float, what: str):
        process = subprocess.Popen(
            [*self._prefix, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise DeviceTimeoutError(
                f"{self} did not {what} within {timeout:g} s; it was told to stop. Allow more "
                "seconds, or measure fewer runs."
            ) from None
        finally:
            if process.poll() is None:  # the device stops the command when its client goes away
                process.send_signal(signal.SIGKILL)
                process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def _raise_if_lost(self, stderr: str) -> None:
        """Raises when the message is one of adb, not of a command on the device."""
        first = stderr.strip().partition("\n")[0]
        if first.startswith(_OWN_MESSAGES):
            raise self.failure(stderr)

    def _others(self) -> str:
        done = subprocess.run(
            [self._prefix[0], "devices"], capture_output=True, text=True, timeout=QUICK
        )
        lines = [line.split() for line in done.stdout.splitlines()[1:] if line.strip()]
        found = [f"{words[0]} ({' '.join(words[1:])})" for words in lines]
        return ", ".join(found) or "no device at all"
