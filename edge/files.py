"""Files that appear whole or not at all, and files in whose place something else may be.

Somebody may have put a link, a FIFO or a device there.
A link would lead elsewhere, a FIFO would be waited for, a device would act when it is opened, and a
huge file would fill the memory. ``O_NONBLOCK`` keeps the opening itself from waiting; it changes
nothing for a regular file.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final


def lock_alone(fd: int) -> None:
    """Lock an open file until it is closed, or refuse at once.

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be locked.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, 1 << 30, os.SEEK_SET)  # what is locked cannot be read: not where anything is
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_to_lock(folder: Path) -> int:
    """Return a descriptor by which a whole folder can be locked.

    That is the folder's own: a file would be one more thing to be left behind. Windows opens no
    folders, so there it is a file in it.

    Raises:
        OSError: it cannot be opened.
    """
    if sys.platform == "win32":
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_SAFELY: Final = getattr(os, "O_NONBLOCK", 0)
_NO_TERMINAL: Final = getattr(os, "O_NOCTTY", 0)
"""Flags that Windows has not, where there is nothing that they would keep from happening."""
_AS_IT_IS: Final = getattr(os, "O_BINARY", 0)
"""Windows would write each line's end as two bytes."""

_KINDS: Final = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


_GROUPS: Final = 0o660
"""The mode of a socket that its owner's group may use."""


class UnsuitableError(OSError):
    """What is there is no regular file, or a larger one than it may be."""


class NotRegularError(UnsuitableError):
    """Something else than a regular file of one's own is in its place; ``strerror`` says what.

    Attributes:
        remedy: what can be done about it.
    """

    def __init__(self, path: str | os.PathLike[str], what: str, remedy: str = "remove it") -> None:
        super().__init__(None, what, os.fspath(path))
        self.strerror = what
        self.remedy = remedy


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
        OSError: it cannot be opened.
    """
    look = os.stat if follow else os.lstat
    try:
        _check_kind(path, look(path))  # before it is opened: that alone makes some devices act
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    link = 0 if follow else _NO_LINK
    fd = os.open(path, flags | link | _SAFELY | _AS_IT_IS, mode)
    try:
        _check_kind(path, os.fstat(fd))
    except NotRegularError:
        os.close(fd)
        raise
    return fd


def open_own(path: str | os.PathLike[str], flags: int, mode: int = 0o640) -> int:
    """Open a file of one's own, or make it, as ``open_regular`` does.

    A file with two names could be anybody's, and root writes in no file of another account.

    Raises:
        NotRegularError: it is no regular file, has another name, or is another account's.
        OSError: it cannot be opened.
    """
    if flags & os.O_TRUNC:
        raise ValueError("a file must not be cut before it is known to be one's own")
    fd = open_regular(path, flags, mode)
    status = os.fstat(fd)
    if status.st_nlink <= 1 and (not _is_root() or status.st_uid == 0):
        return fd
    os.close(fd)
    if status.st_nlink > 1:
        raise NotRegularError(path, "has another name beside this one (a hard link)")
    owner = _account(status.st_uid)
    what = f"belongs to {owner}, and root writes in no file of another account"
    raise NotRegularError(path, what, f"run as {owner}")


def create_anew(path: str | os.PathLike[str], mode: int = 0o666) -> BinaryIO:
    """Open a new file for writing, in the place of whatever had its name: no link is followed.

    Raises:
        OSError: it cannot be made, or somebody makes another one at the same moment.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - of any kind of path
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _AS_IT_IS, mode), "wb")


def open_to_group(path: str | os.PathLike[str]) -> None:
    """Let the group connect to a socket that was just made, and to nothing put in its place.

    Raises:
        OSError: it is no socket any more.
    """
    if sys.platform != "linux":
        os.chmod(path, _GROUPS)  # noqa: PTH101 - of any kind of path
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.EEXIST, "something else has taken its name")
        os.chmod(f"/proc/self/fd/{fd}", _GROUPS)  # noqa: PTH101 - by what is open
    finally:
        os.close(fd)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Give a file to fill, which appears under its name, in place of an older one, only when whole.

    Args:
        path: where it shall appear. It is written beside that: a rename is atomic within one file
            system only.
        durable: on the disk before it appears, so that a power cut leaves no empty file.

    Raises:
        OSError: the disk refuses; an older file of that name stays as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with create_anew(part) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):  # it has its name by now, or was never made
            part.unlink()


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder, new and changed, last through a power cut."""
    if sys.platform == "win32":  # which opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_folder(link: Path, folder: Path) -> None:
    """Give a folder another name; Windows lets everybody make a junction, and few a link.

    Raises:
        OSError: it cannot be made.
    """
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(folder.absolute()), str(link))
    else:
        link.symlink_to(folder.absolute(), target_is_directory=True)


def read_at(fd: int, count: int, offset: int) -> bytes:
    """Return up to ``count`` bytes of an open file from ``offset`` on.

    Where its next read or write happens is not to be relied on afterwards.
    """
    if sys.platform == "win32":
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, count)
    return os.pread(fd, count, offset)


def is_regular(path: Path) -> bool:
    """Tell whether a regular file is there itself, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file.

    A pipe would keep its reader waiting for a writer who never comes, a device may act when it is
    opened, and either, like a huge file, could fill the memory.

    Raises:
        UnsuitableError: not a regular file, or more than ``most_bytes``.
        OSError: it cannot be read; ``strerror`` says why.
    """
    try:
        _check(os.stat(path), most_bytes)  # noqa: PTH116 - raises for every reason, also in 3.11
        with os.fdopen(open_regular(path, os.O_RDONLY | _NO_TERMINAL, follow=True), "rb") as file:
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


def _check_kind(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise NotRegularError(path, f"is {what}, not a regular file")


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _account(uid: int) -> str:
    if sys.platform == "win32":
        return str(uid)
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
