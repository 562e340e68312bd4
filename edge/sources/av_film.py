"""Films and network streams through PyAV."""

import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.errors import CameraError
from edge.native_path import NativePath
from edge.records import Frame
from edge.sources.addresses import without_secrets
from edge.sources.av_decoder import AvDecoder, NoFilmError, stream_options
from edge.sources.recording import (
    FALLBACK_FPS,
    FilmClock,
    FilmEnd,
    check_content,
    recorded_at,
    unplayable,
)

STREAM_TIMEOUT_S: Final = 10.0
"""How long a stream may take to open, and then to each picture."""


class AvFilm:
    """A film in a file, as fast as it is read; ``FilmClock`` says how it is timed.

    Frames are upright, with square pixels. What cannot be decoded is passed over and counted; a
    frame of another size than the one before carries ``cut``.

    Raises:
        CameraError: no such file, no film, or not one frame of it can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self._clock_from = recorded_at(path)
        check_content(path)
        self._path = path
        self._name = NativePath(path)
        try:
            self._decoder = AvDecoder(str(self._name))
        except NoFilmError as error:
            self._name.close()
            raise unplayable(path, str(error)) from error
        self.fps: float = self._decoder.fps or FALLBACK_FPS
        self._clock = FilmClock(self._clock_from, self.fps)
        self._end = FilmEnd(path)
        self._pending = self._decode()
        if self._pending is None:
            self.close()
            raise unplayable(path)

    @property
    def dropped(self) -> int:
        """Frames that could not be decoded."""
        return self._decoder.damaged

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end; damage is logged then."""
        frame, self._pending = self._pending, None
        return frame or self._decode()

    def close(self) -> None:
        """Release the file."""
        self._pending = None
        self._decoder.close()
        self._name.close()

    def _decode(self) -> Frame | None:
        shown = self._decoder.next()
        if shown is not None:
            return self._clock.frame(shown.image, shown.position_s)
        film = self._decoder
        progress = (film.packets, film.announced) if film.announced else None
        self._end.tell(
            self._clock.index,
            film.damaged,
            progress or (film.reached_s, film.duration_s),
            "frames" if progress else "s",
        )
        return None


class AvStream:
    """A network stream, with timeouts on every wait; frames are stamped on arrival.

    Frames are upright, with square pixels. What cannot be decoded is passed over and counted; a
    frame of another size than the one before carries ``cut``.

    Raises:
        CameraError: it cannot be opened; the message never holds the address's password.
    """

    def __init__(self, url: str) -> None:
        self._name = without_secrets(url)
        timeout_s = STREAM_TIMEOUT_S
        try:
            self._decoder = AvDecoder(url, stream_options(), timeout_s, is_live=True)
        except NoFilmError as error:
            raise CameraError(
                f"{self._name}: no video stream ({error or 'no format that FFmpeg knows'}; waited "
                f"up to {timeout_s:.0f} s); check the address, user and password, and that the "
                "camera is on"
            ) from error
        self.fps = self._decoder.fps
        self._index = 0
        self._t_s = -math.inf
        self._size_hw: tuple[int, int] | None = None

    @property
    def dropped(self) -> int:
        """Frames that could not be decoded."""
        return self._decoder.damaged

    def read(self) -> Frame | None:
        """Wait for the next frame; see ``edge.protocols.FrameSource``."""
        try:
            shown, why = self._decoder.next(), "it ended"
        except NoFilmError as error:
            shown, why = None, str(error)
        if shown is None:
            raise CameraError(
                f"{self._name}: gives no more frames (after {self._index}: {why}); "
                "unplugged, switched off, or taken by another program?"
            )
        self._t_s = max(time.monotonic(), math.nextafter(self._t_s, math.inf))
        is_cut = self._size_hw not in {None, shown.image.shape[:2]}
        frame = Frame(shown.image, self._index, self._t_s, datetime.now(UTC), cut=is_cut)
        self._size_hw = frame.size_hw
        self._index += 1
        return frame

    def close(self) -> None:
        """Release the connection."""
        self._decoder.close()
