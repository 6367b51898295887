"""A headless Chromium that is driven through a pipe: real keys, real clicks, screenshots.

The protocol is that of the developer tools, JSON messages that end in a zero byte.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 90
_FIRST_FREE = 10
"""Above the two numbers at which Chromium wants its pipes."""


def find_chromium():
    """Path of the browser; None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Page:
    """A page in a browser of its own; see `opened`."""

    def __init__(self, process, write, read):
        self._process, self._write, self._read = process, write, read
        self._rest, self._number, self._session = b"", 0, None
        self.errors = []

    def call(self, method, **parameters):
        """The result of a command of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"]["text"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def attach(self, address):
        """Opens a page and waits until it has loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Runtime.enable")
        self.call("Page.enable")
        self.call("Page.navigate", url=address)
        end = time.monotonic() + SECONDS
        while self.value("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < end
            time.sleep(0.05)

    def value(self, expression):
        """What an expression is in the page, a JSON type."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key):
        """Presses and releases a key, such as "Tab", "ArrowRight" or "Enter"."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
        text = {"Enter": "\r", " ": " "}.get(key)
        more = {} if text is None else {"text": text}
        fields = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def move(self, selector):
        """Moves the mouse onto an element; returns where that is."""
        quoted = json.dumps(selector)
        box = self.value(
            f"(() => {{ const one = document.querySelector({quoted});"
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2] })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
        return box

    def click(self, selector):
        """Clicks an element."""
        x, y = self.move(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, width, height):
        """Gives the window another size, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def _next(self):
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, f"Chromium ended with {self._process.poll()}"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def opened(path, profile):
    """A Page that shows a file.

    Args:
      path: Of an HTML file.
      profile: Folder for what the browser writes.
    """
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST_FREE) for fd in (theirs_in, theirs_out)]
    os.close(theirs_in)
    os.close(theirs_out)

    def place():
        os.dup2(moved[0], 3)
        os.dup2(moved[1], 4)

    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    flags += ["--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        [find_chromium(), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(3, 4, *moved),
        preexec_fn=place,
    )
    try:
        page = Page(process, ours_out, ours_in)
        page.attach(path.absolute().as_uri())
        yield page
    finally:
        process.kill()
        process.wait()
        for descriptor in (ours_out, ours_in, *moved):
            os.close(descriptor)
