"""A guided capture on its page, in a real headless Chromium, with a film as camera."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge.capture.folder import CaptureFolder
from edge.capture.session import AGREEMENT
from edge.sources.demo.source import DemoSource

TOKEN = "a-token-of-one-word"
FPS = 10.0
SECONDS = 90
STEP = "[...document.querySelectorAll('#choices button')].map(b => b.dataset.choice).join()"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's face as a film, long enough for a slow machine."""
    path = tmp_path_factory.mktemp("film") / "camera.mp4"
    source = DemoSource(frames=30)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (640, 480))
    frames = [source.read() for _ in range(30)]
    for i in range(round(SECONDS * FPS)):
        writer.write(frames[min(i % 58, 57 - i % 58)].image)  # to and fro: the face stays
    writer.release()
    return path


@contextlib.contextmanager
def capturing(film: Path, out: Path, port: int, *arguments: str):
    """Run `edgeemo capture --page`; yields the process."""
    token = out.with_name("token")
    token.write_text(TOKEN)
    token.chmod(0o600)
    words = ["capture", "--page", "--source", str(film), "--out", str(out), "--subject", "anna"]
    words += ["--port", str(port), "--token-file", str(token), *arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeemo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def enter(browser, port: int) -> None:
    """Open the page with its token, as soon as it is served."""
    browser.open(f"http://localhost:{port}/")
    browser.call("Page.navigate", url=f"http://localhost:{port}/?token={TOKEN}")
    browser.wait("document.querySelector('#consent') && document.readyState === 'complete'")
    browser.problems[:] = [text for text in browser.problems if "status of 401" not in text]


def type_consent(browser, text: str) -> None:
    """Type into the page as a person does."""
    browser.evaluate("document.querySelector('#typed').focus()")
    browser.call("Input.insertText", text=text)


def test_a_session_from_the_typed_consent_to_the_pictures(browser, film, tmp_path, free_port):
    """Prompt, countdown, what was seen, again, keep; a page loaded anew goes on where it was."""
    out = tmp_path / "mine"
    with capturing(film, out, free_port, "--labels", "happy,surprise", "--count", "1") as process:
        enter(browser, free_port)
        browser.wait("!document.querySelector('#consent').hidden")
        assert "deletes them all" in browser.text("#consent-text")
        assert browser.evaluate("document.querySelector('#session').hidden")
        start = "document.querySelector('#agree button')"
        type_consent(browser, "I do ")
        assert browser.evaluate(f"{start}.disabled")
        assert not out.exists()
        browser.evaluate("document.querySelector('#typed').value = ''")
        type_consent(browser, AGREEMENT)
        browser.wait(f"!{start}.disabled")
        browser.evaluate(f"{start}.click()")
        for label, choices in (("happiness", ("again", "keep")), ("surprise", ("keep",))):
            for choice in choices:
                browser.wait(f"document.querySelector('#prompt').textContent === 'Show {label}'")
                browser.wait(f"{STEP} === 'take,quit'")
                browser.wait("document.querySelector('#picture').ariaLabel.includes('camera')")
                browser.call("Page.reload")
                browser.wait(f"document.readyState === 'complete' && {STEP} === 'take,quit'")
                browser.evaluate("document.querySelector('[data-choice=take]').click()")
                browser.wait("!document.querySelector('#countdown').hidden")
                browser.wait(f"{STEP} === 'keep,again,skip,quit'")
                browser.wait("document.querySelector('#picture').ariaLabel.includes('found')")
                assert browser.text("#told") == "Your face was seen well."
                browser.evaluate(f"document.querySelector('[data-choice={choice}]').click()")
        browser.wait("!document.querySelector('#ended').hidden")
        assert browser.text("#ended-text") == f"2 pictures were kept in {out}."
        shown, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert shown == f"kept 2 pictures of anna in {out}\n"
    lines = CaptureFolder(out).taken()
    assert [line.label for line in lines] == ["happiness", "surprise"]
    for line in lines:
        assert (out / line.path).stat().st_mode & 0o777 == 0o600
        assert cv2.imread(str(out / line.path)) is not None
        assert line.quality == "ok"


def test_who_does_not_agree_is_not_captured(browser, film, tmp_path, free_port):
    """No frame is shown, nothing is kept, and page and terminal say so."""
    out = tmp_path / "mine"
    with capturing(film, out, free_port) as process:
        enter(browser, free_port)
        browser.wait("!document.querySelector('#consent').hidden")
        browser.evaluate("document.querySelector('#refuse').click()")
        browser.wait("!document.querySelector('#ended').hidden")
        assert "did not agree" in browser.text("#ended-text")
        _, told = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "did not agree" in told
    assert not out.exists()


def test_a_stranger_and_an_answer_to_a_step_that_is_over_are_refused(
    browser, film, tmp_path, free_port
):
    """The page asks for its token; a second click on an old button changes nothing."""
    out = tmp_path / "mine"
    with capturing(film, out, free_port):
        browser.open(f"http://localhost:{free_port}/")
        assert "asks for a token" in browser.text("h2")
        enter(browser, free_port)
        browser.wait("!document.querySelector('#consent').hidden")
        for body, expected in (
            (json.dumps({"number": 999, "answer": AGREEMENT}), 409),
            (json.dumps({"answer": AGREEMENT}), 400),
            ("[" * 500, 400),
            ("x" * 5000, 400),
        ):
            browser.evaluate(
                "window.status_ = 0; fetch('answer', {method: 'POST', body: "
                f"{json.dumps(body)}}}).then(a => window.status_ = a.status)"
            )
            browser.wait("window.status_ !== 0")
            assert browser.evaluate("window.status_") == expected
        assert not browser.evaluate("document.querySelector('#consent').hidden")
    assert not out.exists()
    browser.problems[:] = [p for p in browser.problems if "status of 4" not in p]


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (900, "dark")])
def test_the_page_fits_and_everything_has_a_name(browser, film, tmp_path, free_port, width, scheme):
    """On a phone and a laptop; graphics, buttons and inputs have names for a screen reader."""
    browser.shape(width, 800, scheme)
    with capturing(film, tmp_path / ("m" * 60), free_port):
        enter(browser, free_port)
        browser.wait("!document.querySelector('#consent').hidden")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        type_consent(browser, AGREEMENT)
        browser.wait("!document.querySelector('#agree button').disabled")
        browser.evaluate("document.querySelector('#agree button').click()")
        browser.wait("document.querySelector('#picture').ariaLabel.includes('camera')")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        heights = "[...document.querySelectorAll('button')].filter(b => b.offsetParent)"
        assert min(browser.evaluate(f"{heights}.map(b => b.offsetHeight)")) >= 44
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        named = {"img", "image", "button", "region", "heading", "textbox"}
        found = [node for node in nodes if node.get("role", {}).get("value") in named]
        assert {"button", "heading"} <= {node["role"]["value"] for node in found}
        assert all(node["name"]["value"].strip() for node in found), found
