"""What tests of several packages wait for, and look at from outside."""

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

PATIENCE_S: Final = 60.0
"""For ever, as far as a test is concerned: a busy machine is no failure."""


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread or process does."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, "it never came true"
        time.sleep(0.005)


@contextmanager
def calls(owner: type, name: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the arguments of each call of a method, of whichever object, inside the block."""
    method, made = getattr(owner, name), []

    def noted(self: object, *arguments: Any, **options: Any) -> Any:
        made.append(arguments)
        return method(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, noted)
        yield made


def threads(name: str) -> list[threading.Thread]:
    """Return the running threads of that name."""
    return [thread for thread in threading.enumerate() if thread.name == name]


def join_threads(name: str) -> None:
    """Wait for the end of every thread of that name."""
    for thread in threads(name):
        thread.join(PATIENCE_S)
    assert not threads(name)


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` fills, once for all processes that run this session's tests."""
    base = factory.getbasetemp()
    session = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = session / f"made-{name}"
    with (session / f"made-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            new = session / f"made-{name}.new"
            shutil.rmtree(new, ignore_errors=True)
            make(new)
            new.rename(folder)
    return folder


def children() -> set[int]:
    """Return this process's children, those that have ended but were not waited for included."""
    return {
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text("ascii").split()
    }
