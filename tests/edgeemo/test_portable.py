"""Laptops are Macs and Windows machines, too: what needs nothing of POSIX works without it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import edge

ROOT = Path(edge.__file__).parents[1]
HIDDEN = ("fcntl", "grp", "pwd", "resource", "termios")
"""Modules that Windows has not."""
SHIM = f"""
import asyncio, contextlib, functools, logging.handlers, multiprocessing, os, select, shutil
import signal, socket
import subprocess, tempfile, types, zoneinfo, _socket
import cv2, msgspec, numpy, rich.console, rich.progress, typer
for name in (
    "ai_edge_litert.interpreter", "duckdb", "psutil", "sklearn.metrics", "starlette.routing",
    "uvicorn",
):
    with contextlib.suppress(ImportError):
        __import__(name)
socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # asyncio's own affair
# What is imported by now knows its system; edgeemo is not.
for name in {HIDDEN!r}:
    sys.modules[name] = None
for home, names in (
    (os, (
        "uname", "geteuid", "getuid", "getgroups", "memfd_create", "sched_getaffinity", "mkfifo",
        "fork", "pread", "preadv", "readv", "statvfs", "fchmod", "fchown", "killpg", "sysconf",
        "setpriority", "set_blocking", "eventfd", "sync", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW",
        "O_NONBLOCK", "O_NOCTTY",
    )),
    (select, ("poll", "epoll", "PIPE_BUF")),
    (signal, ("SIGHUP", "SIGUSR1")),
    (socket, ("AF_UNIX",)),
    (_socket, ("AF_UNIX",)),
):
    for name in names:
        delattr(home, name)
os.supports_fd.discard(os.utime)
# And what it has in their place, as far as it is used.
asyncio.ProactorEventLoop = asyncio.SelectorEventLoop
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda fd, mode, count: None)
sys.modules["_winapi"] = types.SimpleNamespace(CreateJunction=os.symlink)
sys.platform = "win32"
"""
"""And what its ``os``, ``select``, ``signal`` and ``socket`` lack."""
COMMAND = """
def edgeemo(*words, code=0):
    from edgeemo.cli.main import main
    try:
        main(list(words))
    except SystemExit as stop:
        assert (stop.code or 0) == code, (words, stop.code)
"""


def run_without(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    hidden = SHIM if sys.platform == "linux" else ""  # else it is hidden already
    return subprocess.run(
        [sys.executable, "-c", f"import sys{hidden}{COMMAND}{code}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


CASES = {
    "a photo": """
import edgeemo
(face,) = edgeemo.Analyzer().image(sys.argv[1])
assert face.label == "happiness"
""",
    "a film": """
import edgeemo
frames = list(edgeemo.Analyzer().video(sys.argv[2], max_frames=4))
assert len(frames) == 4 and frames[-1].faces
""",
    "many pictures into a table": """
import edgeemo, pathlib
out = pathlib.Path(sys.argv[3]) / "all.csv"
assert edgeemo.analyze([sys.argv[1]], out, workers=1).rows == 1
""",
    "the command for it": """
edgeemo("analyze", sys.argv[1], "-o", sys.argv[3] + "/all.csv", "--workers", "1")
""",
    "a log written, rotated, compressed, read and followed": """
from pathlib import Path
log = Path(sys.argv[3], "log")
toml = Path(sys.argv[3], "edgeemo.toml")
toml.write_text("[log]\\nemit = 'frame'\\nrotate_mb = 0.01\\n")
for _ in range(2):
    edgeemo("run", "--source", sys.argv[2], "--config", str(toml), "--log-dir", str(log))
assert b"\\r" not in (log / "edgeemo.jsonl").read_bytes()
assert len(list(log.glob("*.gz"))) + len(list(log.glob("*.jsonl"))) > 1
edgeemo("logs", "tail", str(log))
""",
    "records to the standard output": """
from pathlib import Path
toml = Path(sys.argv[3], "edgeemo.toml")
toml.write_text("[log]\\nalso = ['stdout']\\n")
edgeemo("run", "--source", sys.argv[2], "--config", str(toml), "--log-dir", sys.argv[3] + "/log")
""",
    "a captured picture": """
import numpy
from pathlib import Path
from edge.capture.folder import CaptureFolder, Taken
folder = CaptureFolder(Path(sys.argv[3], "mine"))
with folder.opened() as taken:
    line = Taken(
        path="happiness/anna-00000000-0001.png", label="happiness", subject="anna", time="",
        session="", camera="", quality="ok", consent="", consent_time="",
    )
    folder.keep(numpy.zeros((4, 4, 3), numpy.uint8), line, taken)
assert folder.forget("anna") == 1
""",
    "a bundle": 'edgeemo("inspect", "default")',
    "a run directory": """
from pathlib import Path
from host_training.lock import locked
with locked(Path(sys.argv[3])):
    pass
""",
    "the machine, looked at": 'edgeemo("doctor", code=1)',
    "training's modules": """
import host_training.data.load, host_training.data.prepare, host_training.config
import host_training.runs.directory, edgeemo.workstation
import edgeemo.cli.train, edgeemo.cli.evaluate, edgeemo.cli.convert
import edgeemo.cli.calibrate, edgeemo.cli.capture
""",
    "help": 'edgeemo("--help")',
}
WITH = {
    "logs counted, exported, reported and stored": ("duckdb", """
log = sys.argv[3] + "/log"
edgeemo("run", "--source", sys.argv[2], "--log-dir", log, "--emit", "frame")
edgeemo("logs", "summary", log)
edgeemo("logs", "export", log, "--format", "parquet", "-o", sys.argv[3] + "/all.parquet")
edgeemo("logs", "report", log, "-o", sys.argv[3] + "/report.html")
edgeemo("logs", "store", log)
edgeemo("logs", "summary", log)
"""),
    "the live page": ("uvicorn", """
token = sys.argv[3] + "/token"
edgeemo("view", "--source", sys.argv[2], "--port", "0", "--frames", "--token-file", token,
        "--max-frames", "3")
"""),
}  # fmt: skip


@pytest.mark.parametrize("case", [*CASES, *WITH])
def test_it_works_without_posix(case, photo, film, tmp_path):
    """No module, function or flag that only POSIX has is needed for it."""
    extra, code = WITH.get(case, ("psutil", CASES.get(case)))
    if find_spec(extra) is None:
        pytest.skip(f"{extra} is not installed")
    done = run_without(code, str(photo), str(film), str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


REFUSED = {
    "a ribbon camera": ("run --source picamera", "only a Raspberry Pi"),
    "a camera by name": ("run --source /dev/video0", "named on Linux only"),
    "a webcam that is not there": ("run --source 0", "camera 0: cannot be"),
    "a marker from outside": ("logs mark now", "which Windows has not"),
}


@pytest.mark.skipif(sys.platform == "darwin", reason="it is what Windows says")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_for_linux_only_says_so(case, tmp_path):
    """One line on the standard error, no traceback."""
    command, words = REFUSED[case]
    done = run_without(f"edgeemo(*{command.split()}, code=1)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


LINUX_ONLY = {
    "deploy/device/": "runs on the device, under its system's Python",
    "edge/service/notify.py": "systemd's protocol; nothing is done without its environment",
    "edge/service/threads.py": "after a look into /proc/stat, which others have not",
    "edge/service/marks.py": "the socket's functions, after a check of the system",
    "edge/sinks/journal.py": "refused by edge.runtime.build",
    "edge/sinks/unix_socket.py": "refused by edge.runtime.build",
    "edge/sinks/stream.py": "a FIFO, refused by edge.runtime.build",
    "edge/sources/cameras/contained.py": "refused by edge.sources.select",
    "edge/sources/cameras/opencv.py": "V4L2; edge.sources.select opens webcam.py elsewhere",
    "edge/sources/cameras/picamera.py": "refused by edge.sources.select",
    "edge/sources/cameras/ribbon.py": "refused by edge.sources.select",
    "edge/sources/cameras/ribbon_process.py": "refused by edge.sources.select",
    "edge/sources/cameras/v4l2.py": "asked for on Linux only",
    "edge/view/attach.py": "the socket of a service, after a look whether there is one",
    "edge/view/live_socket.py": "refused by its own open_live_socket",
}
"""Where something is used that other systems have not, and why it is never reached there."""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_nothing_else_uses_what_a_system_has_not(platform, tmp_path):
    """For mypy knows what each system's Python lacks, in every module and on every line."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--platform", platform, "--no-warn-unreachable",
         "--cache-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "source files)" in done.stdout, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line for line in errors if not line.startswith(tuple(LINUX_ONLY))] == []
    if platform == "win32":
        for place in LINUX_ONLY:
            assert any(line.startswith(place) for line in errors), place
