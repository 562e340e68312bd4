"""The page in a real headless Chromium, driven through its own protocol over two pipes."""

import base64
import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest

from tests.hosts.chromium import Browser


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
    browser.open(f"http://localhost:{port}/")


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


TIMELINE = "(document.querySelector('#timeline').ariaLabel ?? '')"


def choose(browser: Browser, seconds: int) -> None:
    """Let the timeline show so many seconds."""
    browser.evaluate(
        f"document.querySelector('#span').value = '{seconds}'; "
        "document.querySelector('#span').dispatchEvent(new Event('change'))"
    )


def feed(browser: Browser, served: Any, result: Any, first: int, label: str) -> None:
    """Show a face for a second and a half of frames, each of which arrives."""
    for index in range(first, first + 50, 10):
        shown = f"document.querySelector('#health').textContent.endsWith('Frame{index}')"
        give_up_s = time.monotonic() + 60
        while not browser.evaluate(shown):  # numbers change once a second
            assert time.monotonic() < give_up_s, index
            served.hub.publish(result(index, label))
            time.sleep(0.2)


def test_the_last_hour_outlives_a_reload(browser, serve, result, monkeypatch):
    """Of the page, and of the service, whose clock goes on; not that of another device."""
    monkeypatch.setattr("edge.view.hub.HISTORY_S", 0.5)  # what is older, only the page can know
    served = serve({"device": "pi"})
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent === 'pi'")
    feed(browser, served, result, 0, "happiness")
    feed(browser, served, result, 20_000, "neutral")  # a quarter of an hour later
    browser.wait(f"{TIMELINE} === 'In the last minute: neutral 100 %'")
    choose(browser, 3600)
    shown = f"{TIMELINE}.startsWith('In the last hour') && {TIMELINE}.includes('happiness')"
    browser.wait(shown)
    choose(browser, 600)
    browser.wait(f"{TIMELINE} === 'In the last 10 minutes: neutral 100 %'")
    choose(browser, 3600)
    for about in ({}, {"session": "s2"}):
        served.about |= about
        browser.call("Page.reload")
        browser.wait("document.querySelector('#device')?.textContent === 'pi'")
        assert browser.evaluate("document.querySelector('#span').value") == "3600"
        browser.wait(shown)
    served.about |= {"device": "another"}
    browser.call("Page.reload")
    browser.wait("document.querySelector('#device')?.textContent === 'another'")
    browser.wait(f"{TIMELINE} === 'In the last hour: neutral 100 %'")  # all that it remembers


def test_the_page_can_be_printed(browser, serve, result):
    """On white paper, from a dark screen, too, without buttons; nothing is cut off."""
    browser.shape(900, 800, "dark")
    served = serve({"device": "n" * 200})
    opened(browser, served.port)
    browser.wait("document.querySelector('#device').textContent !== ''")
    feed(browser, served, result, 0, "happiness")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="print", features=features)
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("getComputedStyle(document.querySelector('#pause')).display") == "none"
    assert browser.evaluate("document.documentElement.scrollWidth") <= 900
    shot = cv2.imdecode(np.frombuffer(browser.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert np.median(shot) > 200
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    browser.call("Emulation.setEmulatedMedia", media="screen", features=features)
    browser.wait("getComputedStyle(document.body).backgroundColor === 'rgb(19, 22, 25)'")
    printed = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")


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
