"""The command's own diagnostics: stdlib logging on stderr, hence in the journal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from edge.text import one_line

_OURS: Final = ("edge", "edgeemo", "host_training", "converters", "deploy")


def set_up_logging(*, debug: bool) -> None:
    """Send diagnostics to stderr, with their origin where somebody looks for a bug.

    Libraries are heard from warnings on: fontTools, for one, reports each glyph of a PDF as news.
    """
    handler = logging.StreamHandler(sys.stderr)
    form = "%(levelname)s %(name)s: %(message)s" if debug else "%(message)s"
    handler.setFormatter(_OneLine(form))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])
    if not debug:
        for package in _OURS:
            logging.getLogger(package).setLevel(logging.INFO)


class _OneLine(logging.Formatter):
    """A message a line: a file's name may hold line breaks, or what a terminal obeys."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = one_line(record.message)
        return super().formatMessage(record)


def is_debugging() -> bool:
    """Tell whether errors shall come with their traceback."""
    return logging.getLogger().level == logging.DEBUG


def quieten_libraries() -> None:
    """Set what native libraries read of the environment; to be called before they are loaded."""
    # All of these are read when the libraries are loaded, later. Most talk on stderr by default.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # One small matrix product a frame needs no pool of BLAS threads, each with its buffers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nor do warps of 256x256 pixels: a worker of OpenCV's spins for a while after each.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@contextmanager
def hidden(*names: str, stand_ins: dict[str, ModuleType] | None = None) -> Iterator[None]:
    """Make modules look absent, or empty, to what is imported inside the block.

    For optional imports only, which start-up time and a hundred megabytes may hang on. What is
    loaded already stays as it is, and after the block everything can be imported as ever.

    Args:
        *names: packages whose import shall fail as if they were not installed.
        stand_ins: modules to be found instead of the real ones, for an importer that insists.
    """
    wanted: dict[str, Any] = dict.fromkeys(names) | (stand_ins or {})
    absent = {name: module for name, module in wanted.items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


@contextmanager
def silenced() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for the length of the block.

    For start-up chatter of native code only (absl's "before InitGoogle", TFLite's "Created
    delegate"), which has no switch and would end up in the journal. Python's own messages of other
    threads are lost too, so blocks must be short. A crash inside still ends the process with its
    signal.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
