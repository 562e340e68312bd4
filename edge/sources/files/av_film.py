"""Films and network streams through PyAV."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.errors import CameraError
from edge.records import Frame
from edge.sources.files.av_decoder import AvDecoder, NoFilmError, stream_options
from edge.sources.files.avi import repeated_frames
from edge.sources.files.gif import broken_at
from edge.sources.files.mp4 import shown_share
from edge.sources.files.recording import (
    FALLBACK_FPS,
    ArrivalClock,
    Extent,
    FilmClock,
    FilmEnd,
    check_content,
    head_of,
    recorded_at,
    unplayable,
)
from edge.system.native_path import NativePath
from edge.text import without_secrets

STREAM_TIMEOUT_S: Final = 10.0
"""How long a stream may take to open, and then to each picture."""


class AvFilm:
    """A film in a file or behind an address, as fast as it is read; ``FilmClock`` times it.

    Frames are upright, with square pixels. What cannot be decoded is skipped and counted; a
    frame of another size than the one before carries ``starts_new_clip``.

    Args:
        source: the file, or the http address of one.
        shown: what it is called in messages; by default as ``source``.
        recorded: when it was; by default when the file was last changed.

    Raises:
        CameraError: no such file, no film, or not one frame of it can be decoded.
    """

    def __init__(
        self, source: Path | str, shown: str = "", recorded: datetime | None = None
    ) -> None:
        name = shown or source
        size: int | None = None
        shown_part, repeated, self._broken_at = 1.0, 0, 0
        self._name: NativePath | None = None
        if isinstance(source, Path):
            self._clock_from = recorded or recorded_at(source)
            check_content(name, head_of(source))
            shown_part, repeated = shown_share(source), repeated_frames(source)
            self._broken_at = broken_at(source)
            self._name, size = NativePath(source), source.stat().st_size
        else:
            self._clock_from = recorded or datetime.now(UTC)
        timeout_s = None if self._name else STREAM_TIMEOUT_S
        try:
            self._decoder = AvDecoder(str(self._name or source), timeout_s=timeout_s)
        except NoFilmError as error:
            if self._name:
                self._name.close()
            raise unplayable(name, size, str(error)) from error
        self.fps: float = self._decoder.fps or FALLBACK_FPS
        self._announced = round(self._decoder.announced * shown_part) - repeated
        self._clock = FilmClock(self._clock_from, self.fps)
        self._end = FilmEnd(name)
        self._pending = self._decode()
        if self._pending is None:
            self.close()
            raise unplayable(name, size)

    @property
    def dropped(self) -> int:
        """Frames that could not be decoded, or fell into a hole."""
        return max(self._damaged, self._in_holes)

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end; damage is logged then."""
        frame, self._pending = self._pending, None
        return frame or self._decode()

    def close(self) -> None:
        """Release the file."""
        self._pending = None
        self._decoder.close()
        if self._name:
            self._name.close()

    def _decode(self) -> Frame | None:
        shown = self._decoder.next()
        if shown is not None:
            return self._clock.frame(shown.image, shown.position_s)
        film = self._decoder
        extent = Extent(
            film.packets, self._announced, film.reached_s, film.duration_s, self._broken_at
        )
        self._end.tell(self._clock.index, self._damaged, self._in_holes, extent)
        return None

    @property
    def _damaged(self) -> int:
        film = self._decoder
        return max(film.damaged, self._clock.missing if film.has_holes else 0)

    @property
    def _in_holes(self) -> int:
        """Frames that a film without a count of its own lacks; of others damage is told."""
        return 0 if self._announced else self._clock.in_holes


class AvStream:
    """A network stream, with timeouts on every wait; frames are stamped on arrival.

    Frames are upright, with square pixels. What cannot be decoded is skipped and counted; a
    frame of another size than the one before carries ``starts_new_clip``.

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
        self._clock = ArrivalClock()

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
                f"{self._name}: gives no more frames (after {self._clock.index}: {why}); "
                "unplugged, switched off, or taken by another program?"
            )
        return self._clock.frame(shown.image)

    def close(self) -> None:
        """Release the connection."""
        self._decoder.close()
