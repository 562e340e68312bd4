"""A folder of pictures as a frame source: unrelated stills, or a sequence."""

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, PictureError
from edge.media.opencv_errors import quieten
from edge.media.pictures import FORMS, is_meant_as_picture, listed, open_picture
from edge.records import Frame

_log = logging.getLogger(__name__)


class ReplaySource:
    """The pictures of a folder (or one picture) in natural order: ``2.png`` before ``10.png``.

    By default each is a still of its own: ``starts_new_clip`` is set, ``t_s`` counts one second a
    picture and ``captured_at`` is its file's modification time. With ``fps`` they are a sequence:
    ``t_s`` is ``i / fps`` and ``captured_at`` the first file's modification time plus that. Either
    way no clock is read. What a file is is judged by its content. A picture that cannot be read is
    logged, skipped, and keeps its place; other files are skipped. Both are counted at the end.

    Raises:
        CameraError: no such folder, no picture in it, or none that can be decoded.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        if fps is not None and not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        quieten()
        self._path = path
        self._files = iter(_visible(path))
        self._fps = fps
        self._started_at: datetime | None = None
        self._next = 0
        self._others: list[Path] = []
        self._skipped: list[PictureError] = []
        self._dropped = 0
        self._pending = self._load_next()
        if self._pending is None:
            raise self._nothing()

    @property
    def fps(self) -> float:
        """Pictures a second, as their times have it."""
        return self._fps or 1.0

    @property
    def dropped(self) -> int:
        """Pictures that could not be decoded."""
        return self._dropped

    def read(self) -> Frame | None:
        """Return the next picture that can be decoded, or None after the last."""
        frame, self._pending = self._pending or self._load_next(), None
        if frame is None:
            self._report_end()
        return frame

    def close(self) -> None:
        """End the replay."""
        self._pending, self._files = None, iter(())

    def _load_next(self) -> Frame | None:
        for path in self._files:
            if path != self._path and not is_meant_as_picture(path):
                self._others.append(path)
                continue
            index = self._next
            self._next += 1
            if self._started_at is None:
                self._started_at = _modified_at(path)
            try:
                picture = open_picture(path)
            except PictureError as error:
                self._skipped.append(error)
                self._dropped += 1
                if path != self._path:
                    told = "%s: not a picture that can be decoded (%s): skipped"
                    _log.warning(told, path, error.reason)
                continue
            if picture.moves:
                _log.warning("%s: this %s moves: its first picture is used", path, picture.form)
            return self._frame(picture.image, index, path)
        return None

    def _frame(self, image: NDArray[np.uint8], index: int, path: Path) -> Frame:
        if self._fps is None or self._started_at is None:
            return Frame(
                image, index, float(index), _modified_at(path), starts_new_clip=True, name=path.name
            )
        t_s = index / self._fps
        captured_at = self._started_at + timedelta(seconds=t_s)
        return Frame(image, index, t_s, captured_at, name=path.name)

    def _report_end(self) -> None:
        """Say, once, what of the folder was not looked at."""
        if self._skipped:
            told = "%s: %d of %d pictures skipped, each named above"
            _log.info(told, self._path, len(self._skipped), self._next)
        if files := [path.name for path in self._others if not path.is_dir()]:
            _log.info("%s: skipped, no pictures: %s", self._path, listed(files))
        self._skipped, self._others = [], []

    def _nothing(self) -> CameraError:
        """Say why not one frame can be given."""
        if self._next == 0:
            inside = [path.name for path in self._others if path.is_dir()]
            hint = f"; its subfolders ({listed(inside)}) are not searched: name one"
            return CameraError(
                f"{self._path}: holds no picture ({', '.join(FORMS)}){hint if inside else ''}"
            )
        first = self._skipped[0]
        if self._path.is_dir():
            none = f"{self._path}: none of its {self._next} pictures can be decoded"
            return CameraError(f"{none}; the first: {first}")
        return CameraError(str(first))


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts digits by their value and letters whatever their case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    # Ties such as "1" and "01" are settled by the spelling.
    return tuple(
        (False, int(part), part) if part[0] in "0123456789" else (True, 0, part) for part in parts
    )


def _visible(path: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, or the one file, in natural order."""
    try:
        entries = [path] if path.is_file() else list(path.iterdir())
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror})") from error
    visible = [entry for entry in entries if entry == path or not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: natural_key(entry.name))


def _modified_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror})") from error
