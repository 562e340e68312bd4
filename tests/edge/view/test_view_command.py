"""`edgeemo view` as users start it: a process, a real model, the demo."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.contract.logrecord import Emotion, Marker, ServiceStopped, decode_record


def view(*arguments: str, cwd, descriptors: int | None = None) -> subprocess.Popen:
    few = [] if descriptors is None else ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
    return subprocess.Popen(
        [*few, sys.executable, "-m", "edgeemo", "view", "--source", "demo", *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(Path.cwd()),
            "XDG_STATE_HOME": str(cwd / "state"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@contextlib.contextmanager
def answer(port: int, path: str) -> Iterator[http.client.HTTPResponse]:
    """Ask until somebody is there to answer."""
    give_up_s = time.monotonic() + 60
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        while True:
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < give_up_s
                time.sleep(0.05)
        connection.request("GET", path)
        with connection.getresponse() as response:
            yield response


def test_a_run_with_a_page(tmp_path, free_port):
    """It shows the demo's face as the model reads it; a signal ends it, the log is whole."""
    logs = tmp_path / "logs"
    process = view("--port", str(free_port), "--log-dir", str(logs), cwd=tmp_path)
    try:
        with answer(free_port, "/events") as response:
            while b'"label":"happiness"' not in (line := response.readline()):
                assert line, "the stream ended"
        process.send_signal(signal.SIGTERM)
        code, out, err = ended(process)
    finally:
        process.kill()
    assert code == 0, err
    assert f"watch at http://127.0.0.1:{free_port}/" in err
    assert "signal" in out
    lines = (logs / "edgeemo.jsonl").read_bytes().splitlines()
    records = [decode_record(line) for line in lines]
    assert any(isinstance(record, Emotion) for record in records)
    assert isinstance(records[-1], ServiceStopped)


@pytest.mark.parametrize(("asked", "status"), [((), 403), (("--token-file", "token"), 204)])
def test_only_who_has_shown_a_token_marks(tmp_path, free_port, asked, status):
    """Every account of the machine can open a page without one, and none of them writes the log."""
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    (tmp_path / "token").chmod(0o600)
    logs = tmp_path / "logs"
    process = view("--port", str(free_port), "--log-dir", str(logs), *asked, cwd=tmp_path)
    try:
        with answer(free_port, "/view.css") as response:
            assert response.status == 200
        connection = http.client.HTTPConnection("127.0.0.1", free_port, timeout=30)
        with contextlib.closing(connection):
            shown = {"Authorization": "Bearer a-token-of-some-length"}
            connection.request("POST", "/mark", b"task A", shown)
            assert connection.getresponse().status == status
        process.send_signal(signal.SIGTERM)
        code, _, err = ended(process)
    finally:
        process.kill()
    assert code == 0, err
    lines = (logs / "edgeemo.jsonl").read_bytes().splitlines()
    marks = [one.marker for one in map(decode_record, lines) if isinstance(one, Marker)]
    assert marks == (["task A"] if status == 204 else [])


def test_nothing_is_written_unless_asked(tmp_path):
    """Without --log-dir a page leaves no file behind."""
    code, out, err = ended(view("--port", "0", "--max-frames", "3", cwd=tmp_path))
    assert code == 0, err
    assert "frame limit" in out
    assert list(tmp_path.iterdir()) == []


def test_the_token_is_no_journals_business(tmp_path):
    """A bind to every address works with a token file; the token itself is not printed."""
    arguments = ["--bind", "0.0.0.0", "--port", "0", "--token-file", "token", "--max-frames", "1"]
    code, out, err = ended(view(*arguments, cwd=tmp_path))
    assert code == 0, err
    token = (tmp_path / "token").read_text().strip()
    assert "asks for the token" in err
    assert token not in out + err


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [(["--frames"], True), (["--frames", "--no-token"], False), ([], False)],
)
def test_pictures_ask_for_a_token_and_the_link_holds_it(tmp_path, free_port, arguments, asks):
    """One click opens the page; without the link another account of the machine sees nothing."""
    process = view("--port", str(free_port), *arguments, cwd=tmp_path)
    try:
        with answer(free_port, "/events") as response:
            assert response.status == (401 if asks else 200)
        link = next(line for line in process.stderr if "watch at" in line).split()[-1]
        with answer(free_port, link.removeprefix(f"http://127.0.0.1:{free_port}")) as response:
            assert response.status == (303 if asks else 200)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
    finally:
        process.kill()
    token = tmp_path / "state" / "edgeemo" / "view-token"
    assert token.exists() == asks
    if asks:
        assert token.stat().st_mode & 0o777 == 0o600
        assert link.endswith(f"/?token={token.read_text().strip()}")


def test_a_neighbour_with_a_thousand_connections_ends_nothing(tmp_path, free_port):
    """No token, 1,100 connections, 256 descriptors: page and log go on, the journal stays short."""
    logs = tmp_path / "logs"
    process = view("--port", str(free_port), "--log-dir", str(logs), cwd=tmp_path, descriptors=256)
    idle = []
    try:
        with answer(free_port, "/") as response:
            assert response.status == 200
        where = ("127.0.0.1", free_port)
        idle += [socket.create_connection(where, timeout=30) for _ in range(1100)]
        with answer(free_port, "/events") as response:
            for _ in range(2):
                while b'"label":"happiness"' not in (line := response.readline()):
                    assert line, "the stream ended"
            assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 256
        process.send_signal(signal.SIGTERM)
        code, _, err = ended(process)
    finally:
        process.kill()
        for sock in idle:
            sock.close()
    assert code == 0, err
    assert "Traceback" not in err
    assert len(err) < 10_000
    records = [decode_record(line) for line in (logs / "edgeemo.jsonl").read_bytes().splitlines()]
    assert isinstance(records[-1], ServiceStopped)
    assert "signal" in records[-1].reason


def test_too_few_descriptors_are_told_at_the_start(tmp_path):
    """One line with the remedy, instead of a run that fails later."""
    code, _, err = ended(view("--port", "0", cwd=tmp_path, descriptors=70))
    assert code == 2, err
    assert "ulimit -n" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--frames", "--no-token", "--token-file", "t", "--port", "0"], "give one of them"),
        (["--frames", "--no-token", "--bind", "0.0.0.0", "--port", "0"], "--token-file"),
        (["--bind", "0.0.0.0", "--port", "0"], "--token-file"),
        (["--bind", "no.such.host.invalid"], "--bind no.such.host.invalid"),
    ],
)
def test_a_page_that_can_not_be_served_is_told(tmp_path, arguments, told):
    """One line, exit code 2, and nothing is opened or written."""
    code, _, err = ended(view(*arguments, cwd=tmp_path))
    assert code == 2
    (line,) = err.splitlines()
    assert told in line
    assert list(tmp_path.iterdir()) == []
