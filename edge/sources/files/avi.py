"""What an AVI's index says, and FFmpeg does not tell. Microsoft, "AVI RIFF File Reference"."""

import struct
from pathlib import Path
from typing import Final

import numpy as np

_MOST_CHUNKS: Final = 1000
"""Beside each other at the top: a few are usual."""
_PICTURES: Final = tuple(int.from_bytes(kind, "little") for kind in (b"db", b"dc"))
"""The last two letters of the name of a chunk with a picture, uncompressed and compressed."""


def repeated_frames(path: Path) -> int:
    """Return how many of the frames that an AVI counts are empty: the one before is shown again.

    Screen recorders write them, and whoever makes a steady rate of an unsteady one. Of no AVI, and
    of one without an index, it is 0.
    """
    with path.open("rb") as file:
        if not _is_avi(file.read(12)):
            return 0
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                break
            name, size = struct.unpack("<4sI", head)
            if name == b"idx1":
                entries = file.read(size)
                index = np.frombuffer(entries[: len(entries) // 16 * 16], "<u4").reshape(-1, 4)
                return int((np.isin(index[:, 0] >> 16, _PICTURES) & (index[:, 3] == 0)).sum())
            file.seek(size + size % 2, 1)
    return 0


def _is_avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:] == b"AVI "
