"""What films have in common, whoever decodes them: their own times, and a word at the end."""

import logging
import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, not_there
from edge.media.content import HEAD, TEXT, content_of, is_text, remedy_for
from edge.records import Frame

_log = logging.getLogger(__name__)

FALLBACK_FPS: Final = 25.0
_PLAYABLE_TEXTS: Final = (b"#EXTM3U", b"ffconcat ", b"v=0", b"YUV4MPEG2 ")
"""Texts that lead to a film, or begin one."""
_REGULAR: Final = 0.9
"""So many of its frames must follow each other by whole steps for a film to have one rate."""
_OFF_GRID: Final = 0.12
"""Containers count time in steps of their own, Matroska in milliseconds."""
_LONGEST_HOLE_S: Final = 10.0
"""What is longer is another recording, not a hole in this one."""
_HOLE: Final = 3
"""So many frames missing in one place are a hole; one or two are a camera's own irregularity."""
_RARE: Final = 20
"""Not more than one step in so many leads over a hole, or the film has just no one rate."""
_COMPLETE_FRAMES: Final = 0.98
_COMPLETE_S: Final = 0.9
"""A film that gives a smaller share of what its header announces is called cut off; a duration is
less certain than a count of frames."""


class ArrivalClock:
    """Numbers the frames of a live source and dates them as they come.

    ``Frame.t_s`` rises strictly. A frame of another size than the one before it starts a new clip.

    Attributes:
        index: the number of the next frame.
    """

    def __init__(self) -> None:
        self._t_s = -math.inf
        self._size_hw: tuple[int, int] | None = None
        self.index = 0

    def frame(self, image: NDArray[np.uint8]) -> Frame:
        """Return the next frame, taken now."""
        self._t_s = max(time.monotonic(), math.nextafter(self._t_s, math.inf))
        is_new_clip = self._size_hw not in {None, image.shape[:2]}
        frame = Frame(image, self.index, self._t_s, datetime.now(UTC), starts_new_clip=is_new_clip)
        self._size_hw = frame.size_hw
        self.index += 1
        return frame


class FilmClock:
    """Numbers the frames of a film and dates them.

    ``Frame.t_s`` is the film's own presentation time, from 0; where that does not rise (damaged or
    missing times, films joined together), the nominal frame time after the frame before.
    ``captured_at`` is the file's modification time plus ``t_s``: no clock is read, so the same film
    gives the same frames. A frame of another size than the one before it starts a new clip.

    Attributes:
        index: the number of the next frame.
    """

    def __init__(self, recorded_at: datetime, fps: float) -> None:
        self._recorded_at = recorded_at
        self._step_s = 1 / fps
        self._t_s = -math.inf
        self._size_hw: tuple[int, int] | None = None
        self._steps = 0
        self._left_out = 0
        self._holes: list[int] = []
        self.index = 0

    @property
    def missing(self) -> int:
        """Frames that are missing between others, by their times; 0 for a film of no one rate."""
        return self._left_out if self._is_regular else 0

    @property
    def in_holes(self) -> int:
        """Those of the missing that are so many in one place, and so rarely, that it is no habit.

        A recording that paused has them, and one that is damaged where its container has no index.
        """
        is_rare = len(self._holes) * _RARE <= self._steps
        return sum(self._holes) if is_rare and self._is_regular else 0

    @property
    def _is_regular(self) -> bool:
        return self._steps >= _REGULAR * (self.index - 1)

    def frame(self, image: NDArray[np.uint8], position_s: float | None) -> Frame:
        """Return the next frame, of the film's time ``position_s`` where it tells one."""
        if self.index == 0:
            self._t_s = max(position_s or 0.0, 0.0)
        elif position_s is not None and position_s > self._t_s:
            self._count(position_s - self._t_s)
            self._t_s = position_s
        else:
            self._steps += 1
            self._t_s += self._step_s
        captured_at = self._recorded_at + timedelta(seconds=self._t_s)
        is_new_clip = self._size_hw not in {None, image.shape[:2]}
        frame = Frame(image, self.index, self._t_s, captured_at, starts_new_clip=is_new_clip)
        self._size_hw = frame.size_hw
        self.index += 1
        return frame

    def _count(self, elapsed_s: float) -> None:
        steps = elapsed_s / self._step_s
        if abs(steps - round(steps)) < _OFF_GRID and elapsed_s < _LONGEST_HOLE_S:
            left_out = max(round(steps) - 1, 0)
            self._steps += 1
            self._left_out += left_out
            if left_out >= _HOLE:
                self._holes.append(left_out)


class Extent(msgspec.Struct, frozen=True):
    """How far a film got, and how far its header says that it goes; 0: the header does not tell.

    Attributes:
        packets: that were read.
        announced: frames that the header counts.
        reached_s: the end of the last packet.
        duration_s: that the header tells.
        broken_at: the byte at which the file cannot be followed any further; 0 where it can.
    """

    packets: int
    announced: int
    reached_s: float = 0.0
    duration_s: float = 0.0
    broken_at: int = 0

    def shortage(self) -> str:
        """Say how much less there is than was announced; empty for a whole film."""
        if self.broken_at:
            return f"{self.packets} frames, at byte {self.broken_at:,}"
        if self.announced:
            if self.packets < self.announced * _COMPLETE_FRAMES:
                return f"{self.packets} frames, its header announces {self.announced}"
        elif self.reached_s < self.duration_s * _COMPLETE_S:
            return f"{self.reached_s:.4g} s, its header announces {self.duration_s:.4g}"
        return ""


class FilmEnd:
    """Tells, once, how a film ended: what was skipped, and whether it broke off."""

    def __init__(self, name: object) -> None:
        self._name = name
        self._is_told = False

    def tell(self, frames: int, damaged: int, in_holes: int, extent: Extent) -> None:
        """Log what was not as it should be.

        Args:
            frames: that were given.
            damaged: that could not be decoded.
            in_holes: that are missing between others, by their times.
            extent: how far it got.
        """
        if self._is_told or not frames:
            return
        self._is_told = True
        if damaged:
            _log.warning(
                "%s: %d frames decoded, %d damaged frames skipped",
                self._name,
                frames,
                damaged,
            )
        if in_holes > damaged:
            _log.warning(
                "%s: %d frames could be decoded, %d are missing between them by their times: the "
                "recording paused there, or is damaged",
                self._name,
                frames,
                in_holes,
            )
        if shortage := extent.shortage():
            _log.warning("%s: ends after %s: the file is cut off or damaged", self._name, shortage)


def recorded_at(path: Path) -> datetime:
    """Return a film's modification time.

    Raises:
        CameraError: no such file, not a file (a FIFO would be waited for), or it cannot be read.
    """
    if not path.is_file():
        is_there = os.path.lexists(path)
        told = "not a regular file" if is_there else "no such file"
        error = CameraError(f"{path}: {told}; expected a video, for instance .mp4 or .avi")
        raise error if is_there else not_there(error)
    try:
        path.open("rb").close()
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror})") from error


def plausible_fps(fps: float | None) -> float | None:
    """Return a rate that a film may have, or None."""
    return fps if fps is not None and math.isfinite(fps) and 0 < fps <= 1000 else None


def unplayable(name: object, size: int | None, why: str = "") -> CameraError:
    """Return the error of a film of which not one frame can be decoded; its size, if known."""
    reason = why or (
        "expected a whole video file"
        if size == 0
        else "expected a whole video file (a recording that was cut off has no index: "
        "record again, or repair it with ffmpeg)"
    )
    what = {None: "", 0: " (the file is empty, 0 bytes)"}.get(size, f" ({size} bytes)")
    return CameraError(f"{name}: not one frame can be decoded{what}; {reason}")


def check_content(name: object, head: bytes) -> None:
    """Refuse what is something else, before a decoder makes pictures of it: FFmpeg draws texts.

    Args:
        name: what is named in the message.
        head: how it begins, ``content.HEAD`` bytes of it.

    Raises:
        CameraError: a text, a document, an archive, sound; it is named.
    """
    found = content_of(head) or (TEXT if is_text(head) else None)
    if found is None or found.kind == "picture" or head.startswith(_PLAYABLE_TEXTS):
        return
    what = f"only {found.name}" if found.kind == "sound" else found.name
    raise CameraError(
        f"{name}: {what}, not a video{remedy_for(found)}; expected a video file, for instance "
        ".mp4, .mkv or .avi, or a picture"
    )


def head_of(path: Path) -> bytes:
    """Return how a file begins.

    Raises:
        CameraError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror})") from error
