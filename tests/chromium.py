"""A headless Chromium, driven through a pipe by its own protocol: no driver, no package, no port.

`Page` is one tab. What it shows is asked for in JavaScript; keys, the size of the window and the colour scheme are the browser's
own, so that a page cannot tell them from a person's.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next((path for name in NAMES if os.name == "posix" and (path := shutil.which(name))), None)
PATIENCE = 60  # seconds, on a machine that does much else

KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # a container's root may not have one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# the protocol reads from descriptor 3 and answers on 4
BETWEEN = "import os, sys; _, a, b, *c = sys.argv; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execv(c[0], c)"


@contextmanager
def browser(profile: Path) -> Iterator["Page"]:
    """A browser of its own, with one empty tab."""
    assert FOUND is not None
    ends = [above(end) for pair in (os.pipe(), os.pipe()) for end in pair]
    reads, to, answers, writes = ends
    started = [
        sys.executable,
        "-Ic",
        BETWEEN,
        str(reads),
        str(writes),
        FOUND,
        *OPTIONS,
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    with subprocess.Popen(started, pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Page(to, answers)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            for end in ends:
                os.close(end)


def above(end: int) -> int:
    """The same pipe under a number that is neither 3 nor 4."""
    import fcntl  # only here: elsewhere than on POSIX there is none

    try:
        return fcntl.fcntl(end, fcntl.F_DUPFD, 5)
    finally:
        os.close(end)


class Page:
    """One tab. complaints: what its console said as an error or a warning. requests: the addresses that it asked for."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers, self._left, self._session = to, answers, b"", ""
        self._last = self._loads = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        tab = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol, and its answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self._hear(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._left:
            assert select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0], "the browser does not answer"
            read = os.read(self._answers, 1 << 16)
            assert read, "the browser has ended"
            self._left += read
        message, self._left = self._left.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def _hear(self, event: dict[str, Any]) -> None:
        given, method = event.get("params", {}), event.get("method")
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(given["args"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(given["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def open(self, address: str) -> None:
        """Another document; back from it only once it has run its scripts."""
        for each in ("about:blank", address):  # from elsewhere, so that another part of the same page is loaded too
            self.complaints.clear()
            self.requests.clear()
            loads = self._loads
            self.ask("Page.navigate", url=each)
            while self._loads == loads:
                self._hear(self._next())

    def tell(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys: str, modifiers: int = 0) -> None:
        """Keys as a person presses them. modifiers: 1 Alt, 2 Ctrl, 4 Meta, 8 Shift."""
        for key in keys:
            code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
            self.ask("Input.dispatchKeyEvent", type="rawKeyDown", **code)
            if key == "Enter":
                self.ask("Input.dispatchKeyEvent", type="char", text="\r", **code)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **code)

    def window(self, width: int, height: int = 800, scale: float = 1) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def prefers(self, **features: str) -> None:
        """What a media query answers: `prefers(color_scheme="dark")`."""
        asked = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.ask("Emulation.setEmulatedMedia", features=asked)

    def picture(self) -> str:
        """The whole page as PNG, in base64."""
        taken: str = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        return taken
