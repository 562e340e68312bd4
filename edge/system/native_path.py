"""Names for native code: FFmpeg and OpenCV take UTF-8 paths only, Linux has others, too."""

import os
from pathlib import Path


class NativePath:
    """A file's or folder's name as native libraries can open it, for as long as this is open.

    It is absolute, so that no part of a name is taken for a protocol (``12:30.mp4``) or an option
    (``-x.mp4``). A name that is not UTF-8 is reached by way of a descriptor: OpenCV would crash.

    Raises:
        OSError: a name that is not UTF-8 and cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd: int | None = None
        self._name = os.path.abspath(path)  # noqa: PTH100 - links stay as they are
        if not is_utf8(self._name):
            self._fd = os.open(path, os.O_RDONLY)
            self._name = f"/proc/self/fd/{self._fd}"

    def __str__(self) -> str:
        return self._name

    def close(self) -> None:
        """Let go of the name; harmless when repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def is_utf8(name: str) -> bool:
    """Tell whether a file's name, as Python has it, stands for UTF-8 bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
