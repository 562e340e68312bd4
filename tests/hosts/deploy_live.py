"""The page of a booted service, over a real sshd, in a real Chromium."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chromium import Browser
from stage import Stage, must_hold
from workstation import Workstation

_PORT = "8765"
_STATE = "document.querySelector('#status')?.dataset.state"
_CAPTION = "(document.querySelector('#faces caption')?.textContent ?? '')"
_SEEN = f"{_STATE} === 'live' && {_CAPTION}"
_FRAME = "Number(document.querySelector('#health dd:last-of-type')?.textContent)"


@contextmanager
def _viewing(station: Workstation, host: str) -> Iterator[Browser]:
    """Have `edgeemo view HOST` at this end of the wire, and its page open in a browser."""
    process = subprocess.Popen(
        station.edgeemo("view", host, "--port", _PORT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        browser = Browser(Path(station.folder) / f"profile-{host}", station.enter)
        try:
            browser.attach()
            browser.open(f"http://127.0.0.1:{_PORT}/")
            yield browser
        finally:
            browser.close()
    finally:
        process.send_signal(signal.SIGTERM)
        station.said.append(process.communicate(timeout=60)[0])
    must_hold(not browser.problems, f"the page complains of nothing: {browser.problems}")


def scene_page(stage: Stage) -> None:
    """`edgeemo view pi`: the booted service's page in a Chromium, through reload and restart."""
    device, service = stage.device, stage.device.service
    pid = service.pid
    with _viewing(stage.station, "pi") as page:
        began = time.monotonic()
        page.wait(_SEEN)
        took_s = time.monotonic() - began
        face, name = page.text("#faces caption"), page.text("#device")
        must_hold(name == "first", f"it is that device's page: {name}")
        must_hold(re.match(r"Face \d+: \w+", face), f"a face is shown: {face}")
        must_hold(page.text("#privacy").startswith("No picture"), "no picture was asked for")
        health = page.text("#health")
        must_hold(" MB" in health and "demo:live" in health, f"how it does is shown: {health}")
        must_hold(service.pid == pid, "the service runs on")
        print(f"{name}: {face!r} {took_s:.1f} s after the page was open; {health[:60]}...")
        device.container.run("systemctl reload edgeemo")
        before = page.evaluate(_FRAME)
        page.wait(f"{_SEEN} && {_FRAME} > {before} + 20")
        must_hold(service.pid == pid, "a reload is the same process")
        device.container.run("systemctl restart edgeemo")
        page.wait(f"{_SEEN} && {_FRAME} < {before}")
        must_hold(service.pid != pid, "a restart is another process")
        page.evaluate("document.querySelector('#span').value = '600'")
        page.evaluate("document.querySelector('#span').dispatchEvent(new Event('change'))")
        told = page.evaluate("document.querySelector('#timeline').ariaLabel")
        must_hold(told.startswith("In the last 10 minutes: "), f"what was before is shown: {told}")
        print(f"over a reload and a restart: {page.text('#faces caption')!r}; {told}")
    service.wait_for_more()


def scene_denied(stage: Stage) -> None:
    """Who may not watch is told what to do; a member of the group needs no sudo."""
    command = stage.station.edgeemo("view", "plain", "--port", _PORT)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    stage.station.said.append(done.stdout + done.stderr)
    must_hold(done.returncode == 1, f"exit {done.returncode}: {done.stderr}")
    must_hold("usermod -aG edgeemo" in done.stderr, f"the remedy is told: {done.stderr}")
    must_hold(len(done.stderr.strip().splitlines()) == 1, f"in one line: {done.stderr}")
    print(done.stderr.strip())
    stage.device.container.run("usermod -aG edgeemo plain")
    with _viewing(stage.station, "plain") as page:
        page.wait(_SEEN)
        print(f"as a member of the group: {page.text('#faces caption')!r}")
    stage.device.container.run("gpasswd --delete plain edgeemo")
