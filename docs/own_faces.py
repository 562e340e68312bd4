"""Make the pictures of docs/own-faces.md from the demo's face: `make pictures` runs it.

It does what the page tells: captures on the page in a real Chromium, calibrates, runs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edge.capture.session import AGREEMENT
from edge.contract.manifest import MANIFEST
from tests.hosts.chromium import Browser

DOCS = Path(__file__).parent
ENV = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
PORT = 8790
PEOPLE = ("anna", "ben", "cleo")
WIDTH = 700
PATIENCE_S = 600.0


def main() -> None:
    """Write docs/own-faces-*.jpg."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for number, person in enumerate(PEOPLE):
            capture(top, person, shots=number == 0)
        edgeemo(
            "calibrate", "default", "--data", top / "mine", "--out", top / "my-bundle", "--force"
        )
        seen = top / "seen.png"
        edgeemo("run", "--source", "demo", "--model", top / "my-bundle", "--max-frames", 40,
                "--log-dir", top / "log", "--snapshot", seen)  # fmt: skip
        keep(cv2.imread(str(seen)), "run")
        mislabel(top / "mine")
        edgeemo("calibrate", "default", "--data", top / "mine", "--out", top / "wrong", fails=True)
        keep(cv2.imread(str(top / "wrong.contradicted.png")), "contradicted")


def capture(top: Path, person: str, *, shots: bool) -> None:
    """Do a session on the page as a person would; take pictures of it."""
    token = top / "token"
    words = ["capture", "--page", "--source", "demo", "--out", "mine", "--subject", person,
             "--labels", "happy,surprise", "--count", "2", "--port", PORT,
             "--token-file", token]  # fmt: skip
    token.write_text("a-token-of-one-word")
    token.chmod(0o600)
    server = subprocess.Popen([sys.executable, "-m", "edgeemo", *map(str, words)], cwd=top, env=ENV)
    browser = Browser(top / f"profile-{person}")
    try:
        browser.attach()
        browser.shape(WIDTH, 400, "light")
        browser.open(f"http://localhost:{PORT}/")
        browser.call("Page.navigate", url=f"http://localhost:{PORT}/?token={token.read_text()}")
        browser.wait("document.querySelector('#consent')?.hidden === false")
        browser.evaluate("document.querySelector('#typed').focus()")
        browser.call("Input.insertText", text=AGREEMENT)
        browser.wait("!document.querySelector('#agree button').disabled")
        if shots:
            shot(browser, "consent")
            browser.shape(WIDTH, 760, "light")
        browser.evaluate("document.querySelector('#agree button').click()")
        for number in range(4):
            browser.wait("document.querySelector('[data-choice=take]') !== null")
            browser.evaluate("document.querySelector('[data-choice=take]').click()")
            if shots and number == 0:
                browser.wait("!document.querySelector('#countdown').hidden")
                shot(browser, "countdown")
            browser.wait("document.querySelector('[data-choice=again]') !== null")
            if browser.evaluate("document.querySelector('[data-choice=keep]') === null"):
                browser.evaluate("document.querySelector('[data-choice=again]').click()")
                continue
            browser.wait("document.querySelector('#picture').ariaLabel.includes('found')")
            if shots and number == 0:
                shot(browser, "seen")
            browser.evaluate("document.querySelector('[data-choice=keep]').click()")
        browser.evaluate("document.querySelector('[data-choice=quit]')?.click()")
        browser.wait("!document.querySelector('#ended').hidden")
        server.wait(PATIENCE_S)
    finally:
        browser.close()
        server.terminate()
        server.wait(PATIENCE_S)


def mislabel(folder: Path) -> None:
    """Call every smile anger, as somebody who sorts pictures in haste might."""
    file = folder / MANIFEST
    lines = msgspec.json.decode(b"[" + b",".join(file.read_bytes().splitlines()) + b"]")
    for line in lines:
        line["label"] = {"happiness": "anger"}.get(line["label"], "sadness")
    file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def edgeemo(*words: object, fails: bool = False) -> None:
    """Run a command as a user does."""
    command = [sys.executable, "-m", "edgeemo", *map(str, words)]
    done = subprocess.run(command, env=ENV, check=False)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")


def shot(browser: Browser, name: str) -> None:
    """Keep what the page shows."""
    keep(cv2.imdecode(np.frombuffer(browser.picture(), np.uint8), cv2.IMREAD_COLOR), name)


def keep(image: np.ndarray, name: str) -> None:
    """Keep a picture, at most as wide as the page's."""
    if image.shape[1] > WIDTH:
        size = WIDTH, round(image.shape[0] * WIDTH / image.shape[1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(DOCS / f"own-faces-{name}.jpg"), image, (cv2.IMWRITE_JPEG_QUALITY, 85))


if __name__ == "__main__":
    main()
