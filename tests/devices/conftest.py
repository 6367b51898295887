"""A fake phone behind the real adb, with stand-ins for LiteRT's programs."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest
import small_networks
from fake_adbd import FakePhone

ROOT = pathlib.Path(__file__).parents[2]
STAND_IN = pathlib.Path(__file__).with_name("stand_in_benchmark_model.py")
PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.product.model": "Phone 7",
    "ro.soc.manufacturer": "Acme Silicon",
    "ro.soc.model": "AS-900",
    "ro.build.version.release": "16",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a",
}


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory):
    """The environment of an adb server of our own, which is stopped at the end."""
    program = shutil.which("adb")
    if program is None:
        pytest.skip("adb is not installed (apt-get install adb); the phone tests talk through it")
    home = tmp_path_factory.mktemp("adb_home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {
        "ANDROID_ADB_SERVER_PORT": str(port),
        "HOME": str(home),
        "ANDROID_SDK_HOME": str(home),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554",  # no look for emulators
    }
    environment = {**os.environ, **own}
    started = subprocess.run(
        [program, "start-server"], env=environment, capture_output=True, text=True, timeout=60
    )
    if started.returncode:
        pytest.skip(f"adb cannot start its server here: {started.stderr.strip()}")
    yield own
    subprocess.run([program, "kill-server"], env=environment, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def phone_programs(tmp_path_factory):
    """Scripts that stand in for benchmark_model (both flavours) and run_model, by name."""
    folder = tmp_path_factory.mktemp("programs")
    found = {}
    for flavour in ("classic", "litert", "run_model"):
        found[flavour] = folder / flavour
        found[flavour].write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" {flavour} "$@"\n'
        )
    return found


@pytest.fixture
def phone(adb_server, tmp_path, monkeypatch):
    """A fake phone that adb is connected to; nothing may be left on it after the test."""
    for name, value in adb_server.items():
        monkeypatch.setenv(name, value)
    device = FakePhone(tmp_path / "phone", _variables(tmp_path))
    connect(device)
    yield device
    left = device.files()
    subprocess.run(["adb", "disconnect", device.serial], capture_output=True, timeout=30)
    device.close()
    assert left == []


def connect(device: FakePhone, state: str = "device") -> None:
    """Lets the adb server connect, and waits until it sees the phone in a state."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        subprocess.run(["adb", "connect", device.serial], capture_output=True, timeout=60)
        found = subprocess.run(
            ["adb", "-s", device.serial, "get-state"], capture_output=True, text=True, timeout=60
        )
        if state in found.stdout + found.stderr:
            return
        subprocess.run(["adb", "disconnect", device.serial], capture_output=True, timeout=60)
        time.sleep(0.2)
    raise AssertionError(f"adb does not see the phone as {state}: {found.stdout}{found.stderr}")


def _variables(tmp_path: pathlib.Path) -> dict[str, str]:
    """Environment of the phone's commands, with stand-ins for those of Android."""
    folder = tmp_path / "bin"
    folder.mkdir()
    cases = "\n".join(f'  {name}) echo "{value}" ;;' for name, value in PROPERTIES.items())
    commands = {
        "getprop": f'case "$1" in\n{cases}\n  *) echo ;;\nesac',
        "dumpsys": 'echo "  temperature: 315"',
        "taskset": 'echo "taskset $1" >&2; shift; exec "$@"',
    }
    for name, script in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


@pytest.fixture(scope="session")
def flatbuffer():
    """A convolution, a packed 1x1 convolution and a sum, from and to float, fully delegated."""
    return small_networks.network()


@pytest.fixture(scope="session")
def fallback_flatbuffer():
    """The same with an average pool, which XNNPACK does not take."""
    return small_networks.network(falls_back=True)
