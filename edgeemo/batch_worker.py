"""One process of `edgeemo analyze`, seen from both sides of its pipes.

A process of its own, and not one of ``multiprocessing``'s: it needs no guard in the user's program,
and whatever kills it is known to have been the file that it worked on.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.config import Reach
from edge.errors import EdgeEmoError
from edge.text import one_line

PROGRAM: Final = "from edgeemo.batch_worker import main; main()"
_REPORT_S: Final = 0.5
_LONGEST: Final = 2_000


class Settings(msgspec.Struct, frozen=True):
    """How files are analyzed; see ``edgeemo.analyze``."""

    model: str | None
    max_faces: int | None
    tau: float | None
    reach: Reach | None
    every_n: int | None
    config: str | None

    def for_analyzer(self) -> dict[str, Any]:
        """Return the arguments of ``Analyzer``."""
        given = msgspec.structs.asdict(self)
        del given["every_n"]
        return given


class Job(msgspec.Struct, frozen=True):
    """A film, or some pictures."""

    files: tuple[str, ...]
    is_film: bool


class FileFailure(msgspec.Struct, frozen=True):
    """A file that could not be analyzed, and why in one line."""

    file: str
    reason: str


class Done(msgspec.Struct, frozen=True):
    """What became of a job."""

    frames: int
    rows: int
    failures: tuple[FileFailure, ...] = ()


class _Task(msgspec.Struct, frozen=True):
    files: tuple[str, ...]
    is_film: bool
    part: str


class _Said(msgspec.Struct, frozen=True):
    """What a worker says: how many frames since the last time, or that it is done, or cannot."""

    frames: int = 0
    done: Done | None = None
    unable: str | None = None


class Worker:
    """A started process; for one thread at a time, but for ``kill``.

    Raises:
        EdgeEmoError: it could not be started.
    """

    def __init__(self, settings: Settings) -> None:
        home = str(Path(__file__).resolve().parents[1])
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        noise = None if logging.getLogger().isEnabledFor(logging.DEBUG) else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=noise,
                env=environment,
            )
        except OSError as error:
            raise EdgeEmoError(f"no process can be started ({error.strerror})") from error
        self._send(settings)

    @property
    def is_alive(self) -> bool:
        """Whether it takes a job."""
        return self._process.poll() is None

    def do(self, job: Job, part: Path, watch: Callable[[int], object]) -> Done:
        """Let it analyze the files of a job into ``part``; one that kills it, fails.

        Raises:
            EdgeEmoError: it cannot analyze any file.
        """
        names = tuple(map(_sent, job.files))
        self._send(_Task(names, job.is_film, _sent(str(part))))
        for said in self._said():
            if said.unable is not None:
                raise EdgeEmoError(said.unable)
            if said.done is not None:
                failures = [FileFailure(_got(one.file), one.reason) for one in said.done.failures]
                return msgspec.structs.replace(said.done, failures=tuple(failures))
            watch(said.frames)
        reason = f"the process that analyzed it ended ({_ending(self._process.wait())})"
        return Done(0, 0, tuple(FileFailure(file, reason) for file in job.files))

    def close(self) -> None:
        """End it, when it has nothing to do; harmless when repeated."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent
                    pipe.close()
        self._process.wait()

    def kill(self) -> None:
        """End it at once; may be called by any thread."""
        self._process.kill()

    def _send(self, message: msgspec.Struct) -> None:
        if (pipe := self._process.stdin) is not None:
            with suppress(OSError):  # it has died: there will be no answer
                pipe.write(msgspec.json.encode(message) + b"\n")
                pipe.flush()

    def _said(self) -> Iterator[_Said]:
        while self._process.stdout is not None and (line := self._process.stdout.readline()):
            yield msgspec.json.decode(line, type=_Said)


def _sent(name: str) -> str:
    """Return a file's name as JSON can hold it, whatever its bytes are."""
    return os.fsencode(name).decode("latin-1")


def _got(name: str) -> str:
    return os.fsdecode(name.encode("latin-1"))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code}; out of memory, or a damaged file that a decoder crashes on"


def main() -> None:
    """Be the process: settings, then jobs come in on stdin, answers go out on stdout."""
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints
    logging.disable(logging.WARNING)
    settings = msgspec.json.decode(orders.readline(), type=Settings)

    def report(said: _Said) -> None:
        answers.write(msgspec.json.encode(said) + b"\n")
        answers.flush()

    try:
        import cv2

        from edgeemo.analyzer import Analyzer

        cv2.setNumThreads(1)  # the processes share the cores
        with Analyzer(**settings.for_analyzer()) as analyzer:
            for line in orders:
                task = msgspec.json.decode(line, type=_Task)
                report(_Said(done=_analyze(analyzer, task, settings.every_n, report)))
    except EdgeEmoError as error:
        report(_Said(unable=str(error)))


def _analyze(
    analyzer: Any, task: _Task, every_n: int | None, report: Callable[[_Said], None]
) -> Done:
    from edgeemo.csv_file import CsvFile
    from edgeemo.results import Failure
    from edgeemo.table import kinds_of, row_of

    files, part = [_got(name) for name in task.files], Path(_got(task.part))
    failures: list[FileFailure] = []
    frames = told = 0
    told_s = time.monotonic()
    try:
        items = (
            analyzer.video(files[0], every_n=every_n) if task.is_film else analyzer.images(files)
        )
        with items, CsvFile(part, kinds_of(analyzer.labels)) as file:
            for item in items:
                if isinstance(item, Failure):
                    failures.append(FileFailure(_sent(item.file), _reason(item.error)))
                    continue
                file.write(row_of(face, analyzer.labels) for face in item)
                frames += 1
                if time.monotonic() - told_s > _REPORT_S:
                    report(_Said(frames=frames - told))
                    told, told_s = frames, time.monotonic()
    except Exception as error:  # whatever it is: the other files go on
        reason = _reason(error)
        return Done(0, 0, tuple(FileFailure(name, reason) for name in task.files))
    report(_Said(frames=frames - told))
    return Done(frames, file.rows, tuple(failures))


def _reason(error: Exception) -> str:
    told = str(error) if isinstance(error, EdgeEmoError) else f"{type(error).__name__}: {error}"
    return one_line(told, _LONGEST)
