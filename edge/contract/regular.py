"""Opening files that may be something else: a link, a FIFO or a device in a file's place.

Whoever can write in a directory can put anything there under a file's name: a link would lead
elsewhere, a FIFO would be waited for, a device would act. ``O_NONBLOCK`` keeps the opening itself
from waiting; it changes nothing for a regular file.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """Something else than a regular file is in a file's place; ``strerror`` says what."""

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        super().__init__(None, what, os.fspath(path))
        self.strerror = what


def open_regular(
    path: str | os.PathLike[str],
    flags: int = os.O_RDONLY,
    mode: int = 0o640,
    *,
    follow: bool = False,
) -> int:
    """Open a regular file as ``os.open`` does and return its descriptor.

    Args:
        path: the file.
        flags: as for ``os.open``.
        mode: of a file that is made.
        follow: a link to a regular file is as good as the file.

    Raises:
        NotRegularError: it is something else; it was neither waited for nor changed.
        OSError: it can not be opened.
    """
    look = os.stat if follow else os.lstat
    try:
        _check(path, look(path))  # before it is opened: that alone makes some devices act
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    link = 0 if follow else os.O_NOFOLLOW
    fd = os.open(path, flags | link | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    try:
        _check(path, os.fstat(fd))
    except NotRegularError:
        os.close(fd)
        raise
    return fd


def open_own(path: str | os.PathLike[str], flags: int, mode: int = 0o640) -> int:
    """Open a file of one's own, or make it, as ``open_regular`` does.

    A file with two names could be anybody's, and root writes in no file of another account.

    Raises:
        NotRegularError: it is no regular file, has another name, or is another account's.
        OSError: it can not be opened.
    """
    if flags & os.O_TRUNC:
        raise ValueError("a file must not be cut before it is known to be one's own")
    fd = open_regular(path, flags, mode)
    status = os.fstat(fd)
    what = ""
    if status.st_nlink > 1:
        what = "has another name beside this one (a hard link)"
    elif os.geteuid() == 0 and status.st_uid != 0:
        what = (
            f"belongs to {_account(status.st_uid)}, and root writes in no file of another account"
        )
    if what:
        os.close(fd)
        raise NotRegularError(path, what)
    return fd


def is_regular(path: Path) -> bool:
    """Tell whether a regular file is there itself, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _check(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise NotRegularError(path, f"is {what}, not a regular file")


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
