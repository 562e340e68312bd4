"""The page in a real headless Chromium, driven through its own protocol over two pipes."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; apt-get install chromium"
)


ON_3_AND_4 = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a program as Chromium wants it: commands on descriptor 3, answers on 4."""


class Browser:
    """One page of a Chromium; https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, profile: Path) -> None:
        from_us, to_it = os.pipe()
        from_it, to_us = os.pipe()
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", ON_3_AND_4, str(from_us), str(to_us), CHROMIUM, *flags],
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
        give_up_s = time.monotonic() + 60
        while not (value := self.evaluate(script)):
            assert time.monotonic() < give_up_s, (script, self.text("body"))
            time.sleep(0.05)
        return value

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


@pytest.fixture
def browser(tmp_path):
    """A browser that must have nothing to complain about in the end."""
    chromium = Browser(tmp_path / "profile")
    try:
        chromium.attach()
        yield chromium
    finally:
        chromium.close()
    assert chromium.problems == []


@contextlib.contextmanager
def viewing(port: int, *arguments: str, source: str = "demo"):
    """Run `edgeemo view`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeemo", "view", "--source", source, "--port", str(port),
         *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def opened(browser: Browser, port: int) -> None:
    """Open the page, as soon as it is served."""
    give_up_s = time.monotonic() + 60
    while "errorText" in browser.call("Page.navigate", url=f"http://localhost:{port}/"):
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    browser.wait(f"location.port === '{port}' && document.readyState === 'complete'")


STATE = "document.querySelector('#status').dataset.state"
LIVE = f"{STATE} === 'live'"
CAPTION = "(document.querySelector('#faces caption')?.textContent ?? '')"


def test_the_demo_live_and_after_a_restart(browser, free_port):
    """The real model sees the demo's face smile, be surprised, leave, and come back as another.

    A restart is survived.
    """
    with viewing(free_port):
        opened(browser, free_port)
        for emotion in ("happiness", "surprise", "happiness"):
            browser.wait(f"{LIVE} && {CAPTION}.includes('{emotion}')")
        first = browser.text("#faces caption")
        browser.wait("!document.querySelector('#nobody').hidden")
        browser.wait("document.querySelector('#spoken').textContent === 'No face in view'")
        # A slow machine drops frames, and may see the same face again before the other one.
        browser.wait(f"{CAPTION} && !{CAPTION}.startsWith('{first.split(':')[0]}:')")
        assert browser.text("#privacy").startswith("No picture leaves")
    browser.wait(f"{STATE} === 'lost'")
    with viewing(free_port, "--frames", "--no-token"):
        browser.wait(f"{LIVE} && {CAPTION}.startsWith('Face 1:')")
        assert browser.text("#privacy").startswith("Pictures are shown")


def test_a_page_left_open_asks_for_the_token_of_the_next_run(browser, free_port, tmp_path):
    """The next run wants a token: the page says so, takes it, and is live again."""
    token = "a-token-of-one-word"
    file = tmp_path / "token"
    file.write_text(token)
    file.chmod(0o600)
    with viewing(free_port):
        opened(browser, free_port)
        browser.wait(LIVE)
    with viewing(free_port, "--frames", "--token-file", str(file)):
        browser.wait("document.querySelector('form #token') !== null")
        assert "Open the link that edgeemo view printed" in browser.text("main")
        browser.evaluate(
            f"document.querySelector('#token').value = '{token}'; "
            "document.querySelector('form').submit()"
        )
        browser.wait(f"document.querySelector('#status') && {LIVE}")
        assert browser.text("#privacy").startswith("Pictures are shown")
    refused = "the server responded with a status of 401"
    assert all(refused in problem for problem in browser.problems)
    browser.problems.clear()


def test_a_changing_emotion(browser, serve, result):
    """Label, bars, colours, timeline and what a screen reader hears follow the face."""
    served = serve({"device": "<b>pi</b>\n'\""})
    label, stop = ["happiness"], threading.Event()

    def pipeline() -> None:
        for index in itertools.count():
            if stop.wait(0.04):
                return
            served.hub.publish(result(index, label[0]))

    thread = threading.Thread(target=pipeline)
    thread.start()
    try:
        opened(browser, served.port)
        for emotion in ("happiness", "neutral", "happiness"):
            label[0] = emotion
            browser.wait(f"{CAPTION} === 'Face 1: {emotion} 100 %'")
            leading = "document.querySelector('tr[data-leading]')"
            browser.wait(f"{leading}.cells[0].textContent === '{emotion}'")
            assert browser.evaluate(f"{leading}.querySelector('.bar span').style.width") == "100%"
            browser.wait(f"document.querySelector('#spoken').textContent === 'Face 1: {emotion}'")
        browser.wait("document.querySelector('#timeline').ariaLabel?.includes('neutral')")
        browser.evaluate("document.querySelector('#pause').click()")
        browser.wait("document.querySelector('#status').textContent === 'Paused'")
        give_up_s = time.monotonic() + 60
        while served.hub.viewers:  # a paused page costs the device nothing
            assert time.monotonic() < give_up_s
            time.sleep(0.02)
        browser.evaluate("document.querySelector('#pause').click()")
        browser.wait(LIVE)
    finally:
        stop.set()
        thread.join()
    assert browser.text("#device") == "<b>pi</b>\n'\""
    assert browser.evaluate("document.querySelector('#device').children.length") == 0


def health(browser: Browser, name: str) -> str:
    """Return a value of the list under "Health"."""
    return browser.evaluate(
        f"[...document.querySelectorAll('#health dt')].find(dt => dt.textContent === {name!r})"
        "?.nextSibling.textContent ?? ''"
    )


def test_a_camera_that_is_not_there(browser, free_port, tmp_path):
    """The page says so, with the reason and since when, and goes on being told how all else is."""
    config = tmp_path / "config.toml"
    config.write_text('[source]\nreconnect = "always"\n')
    with viewing(free_port, "--config", str(config), source="/dev/video250"):
        opened(browser, free_port)
        browser.wait(f"{STATE} === 'lost'")
        status = browser.text("#status")
        assert status.startswith("Waiting for the camera since ")
        assert "/dev/video250" in browser.text("#outage")
        memory = health(browser, "Memory")
        assert memory.endswith(" MB")
        assert health(browser, "Frames/s") == "none"
        assert health(browser, "Lost records") == "no log is written"
        time.sleep(2.5)
        assert browser.text("#status") == status  # or a screen reader would repeat it for ever


def test_a_camera_that_is_lost_and_comes_back(browser, serve, result):
    """The face goes with the camera, whatever the reason is called, and comes back with it."""
    lost = [0]
    served = serve(lost_records=lambda: lost[0])
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent === 'pi'")
    served.hub.publish(result(0))
    browser.wait(CAPTION)
    assert health(browser, "Lost records") == "0"
    lost[0] = 12
    served.hub.hold(7.5)
    served.hub.lose("<img src=x onerror=alert(1)> unplugged")
    browser.wait("!document.querySelector('#outage').hidden")
    assert browser.text("#outage") == "<img src=x onerror=alert(1)> unplugged"
    assert browser.evaluate("document.querySelector('#outage').children.length") == 0
    assert browser.evaluate("document.querySelectorAll('#faces table').length") == 0
    assert browser.evaluate("document.querySelector('#picture').ariaLabel") == (
        "Waiting for the camera"
    )
    assert health(browser, "Lost records").startswith("12")
    assert browser.evaluate("document.querySelectorAll('#health dd[data-bad]').length") == 2
    assert health(browser, "Frames/s") == "none, held to 7.5 by the heat"
    served.hub.publish(result(1))
    browser.wait(f"{LIVE} && document.querySelector('#outage').hidden && {CAPTION}")


def test_a_face_that_was_not_classified(browser, serve, unread, result):
    """It says why in place of an emotion, for eyes and ears, and has no bars."""
    served = serve()
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent === 'pi'")
    served.hub.publish(unread(0, "too_turned"))
    browser.wait(f"{CAPTION} === 'Face 1: too turned to be classified'")
    assert browser.evaluate("document.querySelectorAll('#faces .bar').length") == 0
    browser.wait("document.querySelector('#spoken').textContent === 'Face 1: too turned'")
    served.hub.publish(result(1))
    browser.wait(f"{CAPTION} === 'Face 1: happiness 100 %'")
    assert browser.evaluate("document.querySelectorAll('#faces .bar').length") == 2


def test_a_screen_reader_finds_names_for_everything(browser, serve, result):
    """Each graphic, table, button and region in the accessibility tree has a name."""
    served = serve()
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent === 'pi'")
    served.hub.publish(result(0))
    browser.wait(CAPTION)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {"img", "image", "table", "button", "region", "heading"}
    found = [node for node in nodes if node.get("role", {}).get("value") in named]
    assert {node["role"]["value"] for node in found} >= {"table", "button", "heading", "region"}
    assert all(node["name"]["value"].strip() for node in found), found


@pytest.mark.parametrize("width", [320, 390, 900, 1400])
def test_nothing_overflows(browser, serve, result, width):
    """No element is wider than the page, live and with a lost camera, whatever names are long."""
    browser.shape(width, 800, "light")
    about = {"device": "n" * 200, "source": "s" * 300, "model": "m" * 200}
    served = serve(about, lost_records=lambda: 123_456_789)
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent !== ''")
    beyond = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > "
        f"{width} + 0.5).map(e => e.outerHTML.slice(0, 80))"
    )
    served.hub.publish(result(0))
    browser.wait(CAPTION)
    assert browser.evaluate(beyond) == []
    served.hub.lose("r" * 500)
    browser.wait("!document.querySelector('#outage').hidden")
    assert browser.evaluate(beyond) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_light_and_dark(browser, serve, result, scheme):
    """At 320 pixels nothing scrolls sideways, buttons can be touched, and contrast is WCAG's."""
    browser.shape(320, 640, scheme)
    served = serve({"device": "a-very-long-name" * 4})
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent !== ''")
    served.hub.publish(result(0))
    browser.wait(CAPTION)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 320
    assert browser.evaluate("document.querySelector('#pause').offsetHeight") >= 44
    shot = cv2.imdecode(np.frombuffer(browser.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert (shot[2, 2].mean() > 128) == (scheme == "light")
    style = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
    color = {
        name: browser.evaluate(style.format(name))
        for name in ("text", "soft", "card", "ground", "happiness", "neutral", "contempt", "mesh")
    }
    for text in ("text", "soft"):
        assert min(contrast(color[text], color[on]) for on in ("card", "ground")) >= 4.5
    for drawn in ("happiness", "neutral", "contempt", "mesh"):  # and the labels on them
        assert contrast(color[drawn], color["card"]) >= 3


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, ``#rrggbb``; https://www.w3.org/TR/WCAG22/."""

    def luminance(text: str) -> float:
        channels = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
