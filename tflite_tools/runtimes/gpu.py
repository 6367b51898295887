"""LiteRT's GPU accelerator."""

import os
import pathlib
import shutil
import tempfile

from tflite_tools.runtimes.processes import worker_launch
from tflite_tools.runtimes.runtime import Launch, Runtime, require_installed

DRIVER_VARIABLE = "VK_ICD_FILENAMES"
SOFTWARE_DRIVERS = (pathlib.Path("/usr/lib/chromium/vk_swiftshader_icd.json"),)
"""Of Debian's chromium: Vulkan computed by the processor."""

_SYSTEM_DRIVERS = (pathlib.Path("/usr/share/vulkan/icd.d"), pathlib.Path("/etc/vulkan/icd.d"))
_NODES = pathlib.Path("/dev/dri")


def vulkan_driver() -> str | None:
    """Driver to ask for; "" for those of the system; None where there is none.

    A driver that the environment names comes first, then that of a card, then a software one.
    """
    if os.environ.get(DRIVER_VARIABLE):
        return os.environ[DRIVER_VARIABLE]
    has_card = any(_NODES.glob("renderD*")) or shutil.which("nvidia-smi") is not None
    if has_card and any(path.is_dir() and any(path.iterdir()) for path in _SYSTEM_DRIVERS):
        return ""
    return next((str(path) for path in SOFTWARE_DRIVERS if path.is_file()), None)


def _launch() -> Launch:
    driver = vulkan_driver()
    require_installed(
        "gpu", "a Vulkan driver, of a card or a software one", driver is not None, "gpu"
    )
    environment = {DRIVER_VARIABLE: driver} if driver else {}
    if "XDG_RUNTIME_DIR" not in os.environ:
        environment["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    return worker_launch("compiled_model", **environment)


GPU = (
    Runtime(
        name="gpu",
        title="LiteRT's GPU accelerator",
        launch=_launch,
        has_accelerator=True,
        note="computes in float",
    ),
)
