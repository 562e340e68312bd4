"""Reading a file that somebody else may have put there: a regular one of bounded size."""

import errno
import os
import stat
from pathlib import Path


class UnsuitableError(OSError):
    """What is there is no regular file, or a larger one than it may be."""


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file.

    A pipe would keep its reader waiting for a writer who never comes, a device may act when it is
    opened, and either, like a huge file, could fill the memory.

    Raises:
        UnsuitableError: not a regular file, or more than ``most_bytes``.
        OSError: it can not be read; ``strerror`` says why.
    """
    try:
        _check(os.stat(path), most_bytes)  # noqa: PTH116 - raises for every reason, also in 3.11
        # What was looked at may be another file by now: not blocking, and looked at again.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check(os.fstat(file.fileno()), most_bytes)
            content = file.read(most_bytes + 1)
    except ValueError as error:  # a null character in the path
        raise OSError(errno.EINVAL, str(error)) from error
    if len(content) > most_bytes:  # it grows, or is one of /proc's, which say that they are empty
        raise _too_large(most_bytes)
    return content


def _check(status: os.stat_result, most_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnsuitableError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise UnsuitableError(errno.EINVAL, "not a regular file")
    if status.st_size > most_bytes:
        raise _too_large(most_bytes)


def _too_large(most_bytes: int) -> UnsuitableError:
    return UnsuitableError(errno.EFBIG, f"larger than {most_bytes:,} bytes")
