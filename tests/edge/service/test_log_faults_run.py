"""Disks that fail under a whole running `edgeemo run`: the camera goes on, and so does the log."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.contract.logfiles import FILE_NAME

pytestmark = pytest.mark.slow


class Run:
    """A run of the live demo that writes each frame's record."""

    def __init__(self, work: Path, log_dir: Path) -> None:
        self.log = log_dir / FILE_NAME
        self._said = work / "stderr"
        config = work / "edgeemo.toml"
        config.write_text('[log]\nemit = "frame"\nhealth_interval_s = 0.5\nmin_free_mb = 0\n')
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeemo", "run", "--source", "demo:live",
                 "--config", str(config), "--log-dir", str(log_dir)],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )  # fmt: skip

    def said(self) -> str:
        """Return its diagnostics so far."""
        return self._said.read_text()

    def records(self) -> list[dict]:
        """Return what is in the file that is being written; the last line may be on its way."""
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in self.log.read_bytes().split(b"\n")[:-1]]
        return []

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for it, as long as the run goes on."""
        give_up_s = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < give_up_s, self.said()
            time.sleep(0.02)

    def end(self) -> list[dict]:
        """End it as a service manager does, and return the records."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.said()
        return self.records()


@contextlib.contextmanager
def running(work: Path, log_dir: Path) -> Iterator[Run]:
    """Run until the end of the block, whatever happens in it."""
    run = Run(work, log_dir)
    try:
        run.wait(lambda: len(run.records()) > 5)
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def test_a_directory_that_is_deleted_is_made_anew(tmp_path):
    """Somebody removes the log of a running service: it is told, and goes on in a new one."""
    with running(tmp_path, tmp_path / "log") as run:
        last = run.records()[-1]["seq"]
        shutil.rmtree(run.log.parent)
        run.wait(lambda: len(run.records()) > 5)
        records = run.end()
        assert "was removed while it was written" in run.said()
    numbers = [record["seq"] for record in records]
    assert numbers[0] > last
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert (records[-1]["kind"], records[-1]["reason"]) == ("service_stopped", "signal")


@pytest.fixture
def megabyte(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_a_full_disk_of_a_running_service_is_told_and_survived(tmp_path, megabyte):
    """Filled, records are lost and told; freed, it goes on, and the gap is the number lost."""
    with running(tmp_path, megabyte) as run:
        fill(megabyte / "filler")
        run.wait(lambda: "records are being lost: No space left" in run.said())
        (megabyte / "filler").unlink()
        run.wait(lambda: any(record.get("dropped_records") for record in run.records()))
        records = run.end()
        assert "records are written again" in run.said()
    numbers = [record["seq"] for record in records]
    assert numbers == sorted(set(numbers))
    lost = numbers[-1] - numbers[0] + 1 - len(numbers)
    assert lost > 0
    assert records[-1]["kind"] == "service_stopped"
    told = [record["dropped_records"] for record in records if record["kind"] == "health"]
    assert told[-1] == lost
