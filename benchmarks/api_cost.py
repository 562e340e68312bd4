"""What a picture costs through `Analyzer.image`, beside `edgeemo run` on a folder of the same.

Both in one process, in turn, in CPU seconds (of this process and its threads), so that a busy
machine counts less: python benchmarks/api_cost.py [PICTURES] [ROUNDS]
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import cv2

import edgeemo
from edge.config import SourceConfig
from edge.runtime.request import RunRequest
from edge.service.session import run_session
from edge.sources.select import open_source


def main(pictures: int = 60, rounds: int = 5) -> None:
    """Take turns, print medians."""
    source = open_source(SourceConfig("demo"))
    arrays = [source.read().image.copy() for _ in range(pictures)]
    with tempfile.TemporaryDirectory() as folder:
        study, logs = Path(folder, "study"), Path(folder, "logs")
        study.mkdir()
        for number, array in enumerate(arrays):
            cv2.imwrite(str(study / f"{number}.png"), array)
        request = RunRequest(source=str(study), log_dir=logs, emit="frame")
        by_command, by_api = [], []
        for _ in range(rounds + 1):
            by_command.append(cost(lambda: run(request)))
            by_api.append(cost(lambda: analyze(arrays)))
    command, api = (1e3 * statistics.median(c[1:]) / pictures for c in (by_command, by_api))
    print(f"{pictures} pictures of 640x480, {rounds} rounds, CPU milliseconds a picture, median")
    print(f"edgeemo run on a folder   {command:7.2f}")
    print(f"Analyzer.image on arrays  {api:7.2f}   {api / command:.3f} of it")


def cost(action) -> float:
    """Return the CPU seconds of an action."""
    began = time.process_time()
    action()
    return time.process_time() - began


def run(request: RunRequest) -> None:
    """Do what the command does, without its printing."""
    with ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()):
        run_session(request, stack)


def analyze(arrays: list) -> None:
    """Do the same with arrays."""
    with edgeemo.Analyzer() as analyzer:
        for array in arrays:
            analyzer.image(array)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
