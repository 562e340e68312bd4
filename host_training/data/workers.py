"""Long work in several processes, results in order; this process alone where one is enough."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

import cv2

from host_training.errors import DataError

Task_contra = TypeVar("Task_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Worker(Protocol[Task_contra, Result_co]):
    """What does the work; opened once a process."""

    def __call__(self, task: Task_contra, /) -> Result_co:
        """Do one task."""

    def close(self) -> None:
        """Release what was opened."""


def work_through(
    tasks: Iterable[Task_contra], make: Callable[[], Worker[Task_contra, Result_co]], workers: int
) -> Iterator[Result_co]:
    """Do tasks one after the other, in this process or in several others.

    Args:
        tasks: drawn as they are needed, so that not all lie in memory at once.
        make: opens a worker; can be sent to another process, as tasks and results can.
        workers: processes; 1 is this one.

    Yields:
        Their results, in the order of the tasks.

    Raises:
        DataError: a worker process died.
        Exception: what a worker, or opening it, raises.
    """
    waiting = iter(tasks)
    first = list(islice(waiting, 2 * workers))  # two a worker, so that none waits for its next one
    if workers == 1 or len(first) < 2:
        return _here(first, waiting, make)
    return _elsewhere(first, waiting, make, min(workers, len(first)))


def _here(
    first: list[Task_contra],
    waiting: Iterator[Task_contra],
    make: Callable[[], Worker[Task_contra, Result_co]],
) -> Iterator[Result_co]:
    if not first:
        return
    worker = make()
    try:
        yield from map(worker, first)
        yield from map(worker, waiting)
    finally:
        worker.close()


def _elsewhere(
    first: list[Task_contra],
    waiting: Iterator[Task_contra],
    make: Callable[[], Worker[Task_contra, Result_co]],
    workers: int,
) -> Iterator[Result_co]:
    # Spawned, not forked: a fork would copy the locks of threads (OpenCV's, the bar's) as they are.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (make,))
    running: deque[Future[Any]] = deque()
    try:
        running.extend(pool.submit(_do, task) for task in first)
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(_do, task) for task in islice(waiting, 1))
            yield result
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died (killed, or out of memory); run the command again to continue, "
            "with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_opened: list[Any] = []
"""The worker of a process, or the exception why there is none; empty everywhere else."""


def _start(make: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    try:
        _opened.append(make())
    except Exception as error:  # told by the first task: here, the pool would only call it broken
        _opened.append(error)


def _end_with_parent() -> None:
    """Do not outlive a parent that was killed: the pool's own workers would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(task: Any) -> Any:
    worker = _opened[0]
    if isinstance(worker, Exception):
        raise worker
    return worker(task)
