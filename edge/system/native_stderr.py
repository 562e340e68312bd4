"""Silencing C++ libraries that write to stderr whatever one sets."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
