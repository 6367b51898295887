"""LiteRT.js in headless Chromium: `... browser ACCELERATOR PACKAGES CHROMIUM FOLDER...`.

Serves a page, the model and the images to the browser on this computer and waits for the answer.
"""

import http.server
import json
import math
import pathlib
import queue
import shutil
import subprocess
import sys
import threading

import numpy as np

from tflite_tools.runtimes.workers.folder import MODEL, Folder

_PAGE = pathlib.Path(__file__).with_name("browser_page.html")
_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html"}
_FLAGS = {
    "wasm": ("--disable-gpu",),
    "webgpu": ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
}
_STEP_SECONDS = 1.0


def main(accelerator: str, packages: str, chromium: str, *paths: str) -> None:
    """Runs the images of each folder one by one, on "wasm" or "webgpu"."""
    for path in paths:
        run(accelerator, packages, chromium, Folder(path))


def run(accelerator: str, packages: str, chromium: str, folder: Folder) -> None:
    """Runs the images of a folder."""
    folder.begin()
    work = _work(folder, accelerator)
    server, answers = _server(folder, pathlib.Path(packages), work)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    profile = folder.path / "profile"
    command = [
        *(chromium, "--headless=new", "--no-sandbox", "--no-first-run"),
        *("--disable-dev-shm-usage", f"--user-data-dir={profile}", *_FLAGS[accelerator]),
        f"http://127.0.0.1:{server.server_port}/",
    ]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answer = _awaited(browser, answers)
    finally:
        browser.terminate()
        browser.wait()
        # Processes of the browser may still write here; what they leave ends with the folder.
        shutil.rmtree(profile, ignore_errors=True)
    if "missing" in answer or "refusal" in answer:
        folder.refuse(answer.get("refusal") or f"the browser has not {answer['missing']}")
        return
    version = json.loads((pathlib.Path(packages) / "core" / "package.json").read_text())["version"]
    folder.write_answer(
        [
            [np.array(item["values"], item["dtype"]).reshape(item["shape"]) for item in image]
            for image in answer["outputs"]
        ],
        runtime=f"@litertjs/core {version}, {answer['browser']}",
        is_fully_accelerated=answer["is_fully_accelerated"],
        seconds=answer["seconds"],
    )


def _work(folder: Folder, accelerator: str) -> dict:
    """What the page is told, after the images are written as bytes that it reads."""
    arrays = [np.concatenate(parts) for parts in zip(*folder.images(), strict=True)]
    inputs = []
    for number, array in enumerate(arrays):
        name = f"input_{number}.bin"
        (folder.path / name).write_bytes(array.tobytes())
        shape = [1, *array.shape[1:]]
        inputs.append(
            {"name": name, "dtype": str(array.dtype), "shape": shape, "size": math.prod(shape)}
        )
    return {"accelerator": accelerator, "inputs": inputs, "images": len(arrays[0])}


def _server(folder: Folder, packages: pathlib.Path, work: dict):
    """(server on a free port of this computer, queue of the answer)."""
    answers: queue.Queue = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        """Files of the page, of the packages and of the folder; answers of the page."""

        def do_GET(self):
            """Sends a file."""
            name = self.path.partition("?")[0].lstrip("/")
            if name == "work.json":
                self._send(json.dumps(work).encode(), "application/json")
                return
            file = _PAGE if not name else folder.path / name
            if name.startswith("packages/"):
                file = packages / name.removeprefix("packages/")
            elif name and name != MODEL and file.suffix != ".bin":
                self.send_error(404)
                return
            if ".." in name or not file.is_file():
                self.send_error(404)
                return
            self._send(file.read_bytes(), _TYPES.get(file.suffix, "application/octet-stream"))

        def do_POST(self):
            """Takes a message or the answer."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/answer":
                answers.put(json.loads(body))
            else:
                print(body.decode(errors="replace"), file=sys.stderr)
            self._send(b"", "text/plain")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Says nothing."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), answers


def _awaited(browser: subprocess.Popen, answers: queue.Queue) -> dict:
    """The answer of the page; this process ends with an error when the browser does."""
    while True:
        try:
            return answers.get(timeout=_STEP_SECONDS)
        except queue.Empty:
            if browser.poll() is not None:
                sys.exit(f"Error: the browser ended with code {browser.returncode}")


if __name__ == "__main__":
    main(*sys.argv[1:])
