"""LiteRT.js in a browser."""

import functools
import pathlib
import shutil

from tflite_tools.runtimes.processes import worker_launch
from tflite_tools.runtimes.runtime import Launch, Runtime, installed_place, require_installed

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TITLES = {"wasm": "WebAssembly", "webgpu": "WebGPU"}


def find_chromium() -> str | None:
    """Path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def installed_packages(name: str) -> pathlib.Path:
    """Folder with the packages core and wasm-utils of @litertjs.

    Args:
      name: Of what needs them.

    Raises:
      MissingRuntimeError: They are not installed.
    """
    packages = installed_place() / "browser" / "node_modules" / "@litertjs"
    require_installed(name, "@litertjs/core", (packages / "core").is_dir(), "browser")
    return packages


def _launch(name: str, accelerator: str) -> Launch:
    chromium = find_chromium()
    require_installed(name, "Chromium", chromium is not None, "browser")
    packages = installed_packages(name)
    return worker_launch("browser", accelerator, str(packages), str(chromium))


BROWSER = tuple(
    Runtime(
        name=(name := f"browser:{accelerator}"),
        title=f"LiteRT.js in Chromium, {title}",
        launch=functools.partial(_launch, name, accelerator),
        has_accelerator=True,
        note="takes float32, int32 and uint8 inputs",
    )
    for accelerator, title in _TITLES.items()
)
