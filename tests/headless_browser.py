"""Chromium without a window, driven over the DevTools protocol's pipe."""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import time

from tflite_tools.runtimes.browser import find_chromium

FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--window-size=900,1100"),
)
LIMIT = 120.0


class Page:
    """One page of a browser.

    Args:
      read: Descriptor of what the browser sends.
      write: Descriptor of what it is told.
    """

    def __init__(self, read: int, write: int):
        self._read = os.fdopen(read, "rb", buffering=0)
        self._write = os.fdopen(write, "wb", buffering=0)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def close(self) -> None:
        """Ends the conversation."""
        self._read.close()
        self._write.close()

    def _call(self, method: str, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self):
        while b"\0" not in self._rest:
            part = self._read.read(1 << 16)
            assert part, "the browser ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, address: str) -> None:
        """Goes to an address."""
        self._call("Page.navigate", url=address)

    def evaluate(self, expression: str):
        """Value of a JavaScript expression, awaited where it is a promise."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str):
        """Waits until an expression is true, and returns its value."""
        end = time.monotonic() + LIMIT
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"{expression} did not become true"
            time.sleep(0.1)
        return value

    def press(self, key: str, code: int) -> None:
        """Presses a key, such as "Enter" (13) or "Tab" (9)."""
        text = {"Enter": "\r", " ": " "}.get(key)
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self._call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed,
            )  # fmt: skip

    def hover(self, selector: str) -> tuple[float, float]:
        """Moves the mouse to the middle of an element, and returns where that is."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def click(self, selector: str) -> None:
        """Clicks into the middle of an element."""
        x, y = self.hover(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, width: int, height: int) -> None:
        """Gives the page another size, in pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def screenshot(self, path: pathlib.Path) -> None:
        """Writes what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def browser_page(profile: pathlib.Path):
    """Yields a `Page`; the browser keeps its files in `profile` and ends with the block."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()

    def descriptors():
        os.dup2(to_browser, 10)
        os.dup2(from_browser, 11)
        os.dup2(10, 3)
        os.dup2(11, 4)

    process = subprocess.Popen(
        [find_chromium(), *FLAGS, f"--user-data-dir={profile}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=descriptors,
        pass_fds=(3, 4, to_browser, from_browser),
    )
    os.close(to_browser)
    os.close(from_browser)
    page = Page(read, write)
    try:
        yield page
    finally:
        page.close()
        process.terminate()
        process.wait(30)
