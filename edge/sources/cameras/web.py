"""What an http address gives: a motion JPEG, one picture, or something that FFmpeg shall judge.

A camera's motion JPEG (``multipart/x-mixed-replace``) is read here, part by part, for FFmpeg ends
at the first part that is empty, and each JPEG is decoded by itself: its size and pixel format are
its own. RFC 2046, 5.1; the boundary is not insisted on, for cameras announce another than they use.
"""

import http.client
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, PictureError
from edge.media.content import HEAD
from edge.media.opencv_errors import decoded, quieten
from edge.media.pictures import open_picture
from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.files.recording import ArrivalClock
from edge.text import without_secrets

_TIMEOUT_S: Final = 10.0
_LONGEST_LINE: Final = 65_536
_LARGEST_BYTES: Final = 64_000_000
MOST_FAILURES: Final = 200
"""So many parts in a row without a picture: this is no camera."""
_END: Final = b"\xff\xd9"
_TEXTS: Final = frozenset({"text/html", "application/json", "application/xhtml+xml"})
_PLAYLISTS: Final = frozenset(
    {
        "application/dash+xml",
        "application/sdp",
        "application/vnd.apple.mpegurl",
        "application/x-mpegurl",
        "audio/mpegurl",
        "audio/x-mpegurl",
    }
)


class Answer:
    """An open answer of a web server.

    Attributes:
        name: the address as it may be shown.
        kind: the content's type, in small letters: ``multipart/x-mixed-replace``.
        boundary: what it announces to stand between its parts, without dashes.
        length: how many bytes it announces; 0 where it does not, as a live stream does not.
        gives_ranges: whether parts of it can be asked for.
        modified: when what it gives was last changed; None where nobody tells.

    Raises:
        CameraError: the server is not there, or refuses.
    """

    def __init__(self, url: str) -> None:
        self.name = without_secrets(url)
        try:
            self._response = _opener(url).open(_plain(url), timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            raise CameraError(
                f"{self.name}: no video stream: the server answers {error.code} {error.reason}; "
                "check the address, user and password"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CameraError(
                f"{self.name}: no video stream ({_why(error)}); check the address, user and "
                "password, and that the camera is on"
            ) from error
        headers = self._response.headers
        self.kind: str = headers.get_content_type().lower()
        boundary = str(headers.get_param("boundary") or "")
        self.boundary = boundary.encode("utf-8", "replace").strip(b"\"'- ")
        length = str(headers.get("Content-Length") or "")
        self.length = int(length) if length.isdecimal() else 0
        self.gives_ranges = str(headers.get("Accept-Ranges") or "").strip().lower() == "bytes"
        try:
            self.modified: datetime | None = parsedate_to_datetime(headers["Last-Modified"])
        except (TypeError, ValueError):
            self.modified = None

    def line(self) -> bytes:
        """Return the next line with its end, or a part of a long one.

        Raises:
            EOFError: there is none.
            OSError: the connection failed.
        """
        line: bytes = self._response.readline(_LONGEST_LINE)
        if not line:
            raise EOFError
        return line

    def exactly(self, count: int) -> bytes:
        """Return so many bytes, or those that there are."""
        data: bytes = self._response.read(count)
        return data

    def peek(self) -> bytes:
        """Return how it begins, ``content.HEAD`` bytes of it at most; they are still to be read.

        Raises:
            CameraError: the connection failed.
        """
        try:
            data: bytes = self._response.peek(HEAD)
        except (OSError, http.client.HTTPException) as error:
            raise CameraError(f"{self.name}: broke off ({_why(error)})") from error
        return data[:HEAD]

    def close(self) -> None:
        """Hang up."""
        self._response.close()


class MotionJpeg:
    """The pictures of a camera's motion JPEG, stamped on arrival.

    A part that is empty or damaged is skipped and counted; a picture of another size than the
    one before carries ``starts_new_clip``.
    """

    fps = None
    """Nobody tells."""

    def __init__(self, answer: Answer) -> None:
        quieten()
        self._answer = answer
        self._clock = ArrivalClock()
        self._held = b""
        self.dropped = 0

    def read(self) -> Frame | None:
        """Wait for the next picture; see ``edge.protocols.FrameSource``."""
        for _ in range(MOST_FAILURES):
            try:
                image = decoded(self._part())
            except (EOFError, OSError, http.client.HTTPException) as error:
                raise CameraError(
                    f"{self._answer.name}: gives no more frames (after {self._clock.index}: "
                    f"{_why(error)}); unplugged, switched off, or taken by another program?"
                ) from error
            if image is not None:
                return self._frame(image)
            self.dropped += 1
        raise CameraError(
            f"{self._answer.name}: {MOST_FAILURES} parts in a row hold no picture; expected a "
            "camera's motion JPEG"
        )

    def close(self) -> None:
        """Hang up."""
        self._answer.close()

    def _frame(self, image: NDArray[np.uint8]) -> Frame:
        return self._clock.frame(image)

    def _part(self) -> bytes:
        """Return the content of the next part."""
        while not self._is_boundary(self._line()):
            pass
        length: int | None = None
        while line := self._line():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        if length is None:
            return self._until_boundary()
        return self._answer.exactly(min(length, _LARGEST_BYTES))

    def _line(self) -> bytes:
        line, self._held = self._held, b""
        return (line or self._answer.line()).rstrip(b"\r\n")

    def _is_boundary(self, line: bytes) -> bool:
        announced = self._answer.boundary
        return line.startswith(b"--") or (bool(announced) and line.startswith(announced))

    def _until_boundary(self) -> bytes:
        """Return a part of no announced length: up to the next line that is a boundary.

        Any line with dashes is one where no picture has begun, or one has ended.
        """
        content = b""
        pieces: list[bytes] = []
        size = 0
        while size < _LARGEST_BYTES:
            try:
                line = self._answer.line()
            except EOFError:  # the last part may be whole
                if not size:
                    raise
                break
            is_announced = self._answer.boundary and self._answer.boundary in line[:100]
            is_between = not size or _END in content[-8:]
            if line.startswith(b"--") and (is_announced or is_between):
                self._held = line
                break
            content = content[-8:] + line
            pieces.append(line)
            size += len(line)
        return b"".join(pieces)


class WebPicture:
    """The one picture that an address gives: a single frame, and the end.

    Raises:
        CameraError: it cannot be decoded.
    """

    fps = 1.0
    """It counts one second, as a picture of a folder does."""
    dropped = 0

    def __init__(self, answer: Answer) -> None:
        quieten()
        try:
            with tempfile.NamedTemporaryFile(prefix="edgeemo-") as file:
                file.write(answer.exactly(_LARGEST_BYTES))
                file.flush()
                image = open_picture(Path(file.name)).image
        except PictureError as error:
            raise CameraError(
                f"{answer.name}: a picture that is not read: {error.reason}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise CameraError(f"{answer.name}: broke off ({_why(error)})") from error
        finally:
            answer.close()
        self._frame: Frame | None = Frame(
            image, 0, time.monotonic(), datetime.now(UTC), starts_new_clip=True
        )

    def read(self) -> Frame | None:
        """Return the picture once."""
        frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        """End it."""
        self._frame = None


def open_web(url: str) -> tuple[FrameSource, bool] | None:
    """Open what an http address gives, and tell whether it is live; None for FFmpeg to judge.

    A film whose length is announced is finished, unless that is the length of a playlist.

    Raises:
        CameraError: the server is not there, or refuses, or gives nothing that can be seen.
    """
    try:
        answer = Answer(url)
    except CameraError as error:
        if _is_unverified(error):  # FFmpeg does not look at certificates; cameras sign their own
            return None
        raise
    if answer.kind.startswith("multipart/"):
        return MotionJpeg(answer), True
    if answer.kind.startswith("image/"):
        return WebPicture(answer), False
    if answer.length and answer.kind not in _TEXTS | _PLAYLISTS:
        from edge.sources.cameras.web_film import open_web_film

        return open_web_film(url, answer), False
    answer.close()
    if answer.kind in _TEXTS:
        raise CameraError(
            f"{answer.name}: a page or a message ({answer.kind}), no video; give the address of "
            "the stream itself, which the camera's manual or its page names"
        )
    return None


def _why(error: BaseException) -> str:
    """Return what went wrong, in words without the address: it may hold a password."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, EOFError):
        return "it ended"
    if isinstance(reason, OSError):
        return reason.strerror or str(reason)
    return reason if isinstance(reason, str) else type(reason).__name__


def _is_unverified(error: CameraError) -> bool:
    """Tell whether an https server was refused for its certificate, as many a camera's would."""
    cause = getattr(error.__cause__, "reason", error.__cause__)
    return isinstance(cause, ssl.SSLCertVerificationError)


def _plain(url: str) -> str:
    """Return the address without user and password, which go into a header."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _opener(url: str) -> urllib.request.OpenerDirector:
    parts = urlsplit(url)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        # For all of this server, where a redirect may lead, and for no other.
        passwords.add_password(None, urljoin(_plain(url), "/"), user, password)
    return urllib.request.build_opener(_Basic(passwords), _Digest(passwords))


class _Basic(urllib.request.HTTPBasicAuthHandler):
    def http_error_401(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any) -> Any:
        with _closed_if_answered(fp) as answer:
            answer.append(super().http_error_401(req, fp, code, msg, headers))
        return answer[0]


class _Digest(urllib.request.HTTPDigestAuthHandler):
    def http_error_401(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any) -> Any:
        with _closed_if_answered(fp) as answer:
            answer.append(super().http_error_401(req, fp, code, msg, headers))
        return answer[0]


@contextmanager
def _closed_if_answered(first: Any) -> Iterator[list[Any]]:
    """Close the first answer, which urllib leaves open, unless it is the last word."""
    answer: list[Any] = []
    try:
        yield answer
    finally:
        if answer != [None]:
            first.close()
