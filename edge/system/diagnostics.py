"""The command's own diagnostics: stdlib logging on stderr, hence in the journal."""

import logging
import os
import sys

from edge.text import one_line


def set_up_logging(*, debug: bool) -> None:
    """Send diagnostics to stderr, with their origin where somebody looks for a bug."""
    handler = logging.StreamHandler(sys.stderr)
    form = "%(levelname)s %(name)s: %(message)s" if debug else "%(message)s"
    handler.setFormatter(_OneLine(form))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])


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
