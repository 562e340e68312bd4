"""A folder of pictures as a frame source: unrelated stills, or a sequence."""

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.native_stderr import silenced
from edge.records import Frame
from edge.sources.native import quieten, to_bgr

_log = logging.getLogger(__name__)

SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as a picture; other files of a folder are passed over."""


class ReplaySource:
    """The pictures of a folder (or one picture) in natural order: ``2.png`` before ``10.png``.

    By default each is a still of its own: ``cut`` is set, ``t_s`` counts one second a picture and
    ``captured_at`` is its file's modification time. With ``fps`` they are a sequence: ``t_s`` is
    ``i / fps`` and ``captured_at`` the first file's modification time plus that. Either way no
    clock is read. A picture that can not be decoded is logged, skipped, and keeps its place.

    Raises:
        CameraError: no such folder, no picture in it, or none that can be decoded.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        if fps is not None and not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        quieten()
        self._paths = _pictures(path)
        self._fps = fps
        self._started_at = _modified_at(self._paths[0])
        self._next = 0
        self._pending = self._load_next()
        if self._pending is None:
            raise CameraError(
                f"{path}: none of its {len(self._paths)} pictures can be decoded; "
                f"expected whole {', '.join(SUFFIXES)} files"
            )

    def read(self) -> Frame | None:
        """Return the next picture that can be decoded, or None after the last."""
        frame, self._pending = self._pending, None
        return frame or self._load_next()

    def close(self) -> None:
        """End the replay."""
        self._pending, self._next = None, len(self._paths)

    def _load_next(self) -> Frame | None:
        while self._next < len(self._paths):
            index, path = self._next, self._paths[self._next]
            self._next += 1
            image = _decode(path)
            if image is not None:
                return self._frame(image, index, path)
            _log.warning("%s: not a picture that can be decoded: skipped", path)
        return None

    def _frame(self, image: NDArray[np.uint8], index: int, path: Path) -> Frame:
        if self._fps is None:
            return Frame(image, index, float(index), _modified_at(path), cut=True, name=path.name)
        t_s = index / self._fps
        captured_at = self._started_at + timedelta(seconds=t_s)
        return Frame(image, index, t_s, captured_at, name=path.name)


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts digits by their value and letters whatever their case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    # Ties such as "1" and "01" are settled by the spelling.
    return tuple(
        (False, int(part), part) if part[0] in "0123456789" else (True, 0, part) for part in parts
    )


def _pictures(path: Path) -> list[Path]:
    try:
        entries = [path] if path.is_file() else list(path.iterdir())
    except OSError as error:
        raise CameraError(f"{path}: can not be read ({error.strerror})") from error
    visible = [p for p in entries if not p.name.startswith(".")]
    found = [p for p in visible if p.suffix.lower() in SUFFIXES]
    if not found:
        inside = ", ".join(sorted(p.name for p in visible if p.is_dir())[:3])
        hint = f"; its subfolders ({inside}) are not searched: name one" if inside else ""
        raise CameraError(f"{path}: holds no picture ({', '.join(SUFFIXES)}){hint}")
    return sorted(found, key=lambda p: natural_key(p.name))


def _decode(path: Path) -> NDArray[np.uint8] | None:
    try:
        data = np.fromfile(path, np.uint8)
        with silenced():  # libpng and libjpeg print their own complaints
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):  # a folder called x.png; a header that announces gigapixels
        return None
    return None if image is None else to_bgr(image)


def _modified_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise CameraError(f"{path}: can not be read ({error.strerror})") from error
