"""LiteRT.js in a browser."""

import functools
import shutil

from tflite_tools.runtimes.processes import worker_launch
from tflite_tools.runtimes.runtime import Launch, Runtime, installed_place, require_installed

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TITLES = {"wasm": "WebAssembly", "webgpu": "WebGPU"}


def litert_packages():
    """Folder with the packages core and wasm-utils of @litertjs, which may be missing."""
    return installed_place() / "browser" / "node_modules" / "@litertjs"


def _launch(name: str, accelerator: str) -> Launch:
    chromium = next(filter(None, map(shutil.which, _BROWSERS)), None)
    packages = litert_packages()
    require_installed(name, "Chromium", chromium is not None, "browser")
    require_installed(name, "@litertjs/core", (packages / "core").is_dir(), "browser")
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
