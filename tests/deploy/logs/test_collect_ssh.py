"""`edgeemo logs collect` as a user runs it, over a real sshd, from a log that is being written."""

import contextlib
import gzip
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, closed_files, log_files
from edge.contract.logrecord import CameraLost, decode_record
from edge.sinks.jsonl import JsonlSink

NOBODY = 65534


class Devices:
    """The command with the ssh configuration of the tests."""

    def __init__(self, ssh_config: Path) -> None:
        self._ssh_config = ssh_config

    def command(self, log_dir: Path, out: Path, *words: str) -> list[str]:
        """Return the command line."""
        options = ["--ssh-config", self._ssh_config, "--log-dir", log_dir, "--out", out]
        return [sys.executable, "-m", "edgeemo", "logs", "collect", *words, *map(str, options)]

    def collect(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)


@pytest.fixture
def devices(sshd) -> Devices:
    return Devices(sshd[0] / "config")


def record(seq: int, device: str = "box", fill: int = 200) -> CameraLost:
    return CameraLost(
        time="2026-01-01T00:00:00.000Z",
        monotonic_s=1.0,
        seq=seq,
        session="s",
        device=device,
        reason="x" * fill,
    )


def written(directory: Path, seqs: range, **policy: object) -> None:
    sink = JsonlSink(directory, LogConfig(**{"rotate_mb": 0.1, "min_free_mb": 0} | policy))
    for seq in seqs:
        sink.write(record(seq, directory.name))
        if seq % 1000 == 999:
            assert sink.flush()
    sink.close()


def numbers(directory: Path) -> list[int]:
    found = []
    for path in log_files(directory):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        assert text.endswith(b"\n")
        found += [decode_record(line).seq for line in text.splitlines()]
    return found


def test_a_fleet_is_collected_and_summed_up(devices, tmp_path):
    """Two devices, one of them unreachable besides; then one question to all of their records."""
    fleet = tmp_path / "fleet"
    log, out = tmp_path / "pi", tmp_path / "out"
    written(log, range(3000))
    fleet.write_text("box # by ssh\n@local\ngone\n")
    done = devices.collect(log, out, "--inventory", str(fleet))
    assert done.returncode == 1
    assert "gone: failed: cannot be reached" in done.stdout
    assert "2 done; 1 failed" in done.stdout
    assert "Traceback" not in done.stderr
    for name in ("box", "@local"):
        assert numbers(out / name) == list(range(3000))
        theirs = {file.path.name: file.path.read_bytes() for file in closed_files(log)}
        ours = {file.path.name: file.path.read_bytes() for file in closed_files(out / name)}
        assert theirs == ours
    if importlib.util.find_spec("duckdb") is None:
        return
    summary = [sys.executable, "-m", "edgeemo", "logs", "summary", str(out), "--by", "device"]
    said = subprocess.run(summary, capture_output=True, text=True, check=True).stdout
    assert "3,000 records are there more than once" in said  # both devices are this machine


def test_rotation_between_two_collects(devices, tmp_path):
    """What was being written is continued under its new name; nothing comes twice."""
    log, out = tmp_path / "pi", tmp_path / "out"
    written(log, range(100), compress="none")
    assert devices.collect(log, out, "box").returncode == 0
    written(log, range(100, 2000))  # closes and compresses what was taken in part
    done = devices.collect(log, out, "box")
    assert done.returncode == 0, done.stdout
    assert numbers(out / "box") == list(range(2000))
    assert "box: unchanged: nothing new" in devices.collect(log, out, "box").stdout


def test_a_log_that_is_written_at_full_rate_is_collected(devices, tmp_path):
    """While a writer rotates and compresses, each collect gets whole lines in order, none lost."""
    log, out = tmp_path / "pi", tmp_path / "out"
    stop = threading.Event()
    sink = JsonlSink(log, LogConfig(rotate_mb=0.05, fsync="never"))
    wrote = []

    def write() -> None:
        seq = 0
        while not stop.wait(0.0005):
            sink.write(record(seq))
            seq += 1
        sink.close()
        wrote.append(seq - sink.dropped)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            done = devices.collect(log, out, "box")
            assert done.returncode == 0, done.stdout
            here = numbers(out / "box")
            assert here == list(range(len(here)))
    finally:
        stop.set()
        writer.join()
    assert devices.collect(log, out, "box").returncode == 0
    assert numbers(out / "box") == list(range(*wrote))


def test_a_killed_collect_leaves_whole_files_and_is_gone_on_with(devices, tmp_path):
    """SIGKILL at several moments of the transfer: no half line, no record twice, and an end."""
    log, out = tmp_path / "pi", tmp_path / "out"
    written(log, range(20_000), compress="none", rotate_mb=1)
    for least in (1, 2_000_000, 4_000_000):
        with subprocess.Popen(devices.command(log, out, "box"), stdout=subprocess.DEVNULL) as child:
            while child.poll() is None and size_of(out) < least:
                time.sleep(0.002)
            os.kill(child.pid, signal.SIGKILL)
        here = numbers(out / "box") if (out / "box").exists() else []
        assert here == list(range(len(here)))
    assert devices.collect(log, out, "box").returncode == 0
    assert numbers(out / "box") == list(range(20_000))
    assert list((out / "box").glob("*.part")) == []


@pytest.mark.parametrize("end", ["program", "session"])
def test_a_transfer_that_ends_at_the_other_end_is_told(devices, tmp_path, end):
    """Its program, or its ssh session, is killed: one line, whole files, and a next time."""
    log, out = tmp_path / "pi", tmp_path / "out"
    written(log, range(80_000), compress="none", rotate_mb=2)
    command = devices.command(log, out, "box")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        while (sender := _sender(log)) is None:
            assert child.poll() is None, child.communicate()
        os.kill(sender if end == "program" else _session_of(sender), signal.SIGKILL)
        said, complaint = child.communicate()
    assert child.returncode == 1, said
    assert said.startswith(b"box: failed: ")
    assert len(said.splitlines()) == 1
    assert complaint == b""
    here = numbers(out / "box")
    assert here == list(range(len(here)))
    assert devices.collect(log, out, "box").returncode == 0
    assert numbers(out / "box") == list(range(80_000))


def _sender(log: Path) -> int | None:
    """Return the process that sends this log, once it is there."""
    wanted = [b"-I", b"-", b"send", os.fsencode(log)]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[1:5] == wanted:
                return int(path.parent.name)
    return None


def _session_of(pid: int) -> int:
    """Return the sshd that serves a process."""
    while (comm := Path(f"/proc/{pid}/comm").read_text().strip()) not in {"sshd", "sshd-session"}:
        assert pid > 1, comm
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def size_of(folder: Path) -> int:
    """Return the bytes below a folder whose files come and go."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_sudo_is_used_where_the_files_ask_for_it_only(devices, tmp_path):
    """Who may not read the log is told the remedy, or reads it through sudo; others use none."""
    log, out, used = tmp_path / "pi", tmp_path / "out", tmp_path / "used"
    written(log, range(10))
    for path in (tmp_path, *tmp_path.parents):
        path.chmod(0o755)
        if path.name.startswith("pytest-of-"):
            break
    out.mkdir()
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    sudo = bin_dir / "sudo"
    # In place of sudo: it opens the log to its owner, and notes that it was called.
    sudo.write_text(f'#!/bin/sh\necho "$1 $2" >> {used}\nchmod 750 {log}\nshift 2\nexec "$@"\n')
    sudo.chmod(0o755)
    used.touch()
    for path in (log, *log.iterdir(), out, used):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    command = [*(drop if os.geteuid() == 0 else []), *devices.command(log, out, "@local")[:-6]]
    command += ["--log-dir", str(log), "--out", str(out)]

    def run(path: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": path, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    here = os.environ["PATH"]
    without_sudo = os.pathsep.join(
        folder for folder in here.split(os.pathsep) if not (Path(folder) / "sudo").exists()
    )
    log.chmod(0o000)
    denied = run(without_sudo)
    assert denied.returncode == 1
    assert "usermod -aG edgeemo" in denied.stdout, denied.stdout + denied.stderr
    done = run(f"{bin_dir}{os.pathsep}{here}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert numbers(out / "@local") == list(range(10))
    assert set(used.read_text().split("\n")) == {"-n --", ""}
    called = used.read_text()
    assert run(f"{bin_dir}{os.pathsep}{here}").returncode == 0
    assert used.read_text() == called


def test_a_missing_log_is_told(devices, tmp_path):
    """With the directory that was looked for, and the option that names another one."""
    done = devices.collect(tmp_path / "none", tmp_path / "out", "box")
    assert done.returncode == 1
    assert f"{tmp_path}/none: missing on the device" in done.stdout
    assert "--log-dir" in done.stdout


def test_hostile_contents_are_only_copied(devices, tmp_path):
    """What a device writes into its log is neither run nor shown."""
    log, out = tmp_path / "pi", tmp_path / "out"
    log.mkdir()
    evil = (
        b'{"device":"$(touch pwned)\\n\\"><script>\'; DROP TABLE x;--\\u001b[31m"}\n`touch pwned`\n'
    )
    (log / FILE_NAME).write_bytes(evil)
    done = devices.collect(log, out, "box", "@local")
    assert done.returncode == 0, done.stdout
    for name in ("box", "@local"):
        assert (out / name / FILE_NAME).read_bytes() == evil
    assert not Path("pwned").exists()
    assert "\x1b" not in done.stdout
