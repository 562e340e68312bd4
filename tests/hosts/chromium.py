"""A real headless Chromium, driven through its own protocol over two pipes."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 180.0
"""For ever, as far as a page is concerned: a busy machine is no failure."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ON_3_AND_4 = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a program as Chromium wants it: commands on descriptor 3, answers on 4."""


class Browser:
    """One page of a Chromium; https://chromedevtools.github.io/devtools-protocol/.

    Args:
        profile: a folder for what it keeps.
        enter: the words of a command that starts it elsewhere, as in another network namespace.
    """

    def __init__(self, profile: Path, enter: Sequence[str] = ()) -> None:
        from_us, to_it = os.pipe()
        from_it, to_us = os.pipe()
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [*enter, sys.executable, "-c", ON_3_AND_4, str(from_us), str(to_us), CHROMIUM, *flags],
            pass_fds=(from_us, to_us),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._to_it = to_it
        self._from_it = open(from_it, "rb", buffering=0)  # noqa: PTH123, SIM115 - a descriptor
        self._rest = b""
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.problems: list[str] = []

    def attach(self) -> None:
        """Take its one page."""
        (page,) = [
            target
            for target in self.call("Target.getTargets")["targetInfos"]
            if target["type"] == "page"
        ]
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Send one command and return its answer; what the page complains about is kept."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_it, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def evaluate(self, script: str) -> Any:
        """Return what an expression of the page is."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of an element, or nothing."""
        return self.evaluate(f"document.querySelector({selector!r})?.textContent ?? ''")

    def wait(self, script: str) -> Any:
        """Wait until an expression is true, and return it."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(script)):
            assert time.monotonic() < give_up_s, (script, self.text("body"))
            time.sleep(0.05)
        return value

    def open(self, url: str) -> None:
        """Open a page, as soon as it is served."""
        give_up_s = time.monotonic() + PATIENCE_S
        while "errorText" in self.call("Page.navigate", url=url):
            assert time.monotonic() < give_up_s, url
            time.sleep(0.1)
        self.wait(f"location.href.startsWith('{url}') && document.readyState === 'complete'")

    def shape(self, width: int, height: int, scheme: str, scale: float = 1) -> None:
        """Be a screen of that size, light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to_it, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to_it)
        self._from_it.close()

    def _read(self) -> Any:
        while b"\0" not in self._rest:
            more = self._from_it.read(1 << 20)
            assert more, "chromium has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, message: Any) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params))
        elif message.get("method") == "Log.entryAdded":
            entry = params["entry"]
            if entry["level"] == "error" and "ERR_" not in entry["text"]:  # a server that restarts
                self.problems.append(entry["text"])
