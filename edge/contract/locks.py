"""Locking an open file for this process alone, by what the system has."""

import os


def lock_alone(fd: int) -> None:
    """Lock an open file until it is closed, or refuse at once.

    Raises:
        OSError: another process has it (``BlockingIOError`` on POSIX).
    """
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
