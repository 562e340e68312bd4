"""A guided capture on a page: the browser's side of ``edge.capture.session``."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Literal, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edge.calibration.still import Still
from edge.capture.session import Choice
from edge.protocols import FrameSource
from edge.records import Face, Frame
from edge.sources.wrappers import SourceWrapper
from edge.text import readable
from edge.view import messages
from edge.view.access import Access
from edge.view.app import STATIC, posted, site
from edge.view.hub import Broadcast

_PREVIEW_S: Final = 0.1
_LONGEST_ANSWER: Final = 1_000
"""Bytes."""
_WAIT_S: Final = 0.5
CAPTURE_STATIC: Final = STATIC.with_name("static_capture")
_SHARED: Final = ("view.css", "icon.svg", "picture.js", "faces.js", "colors.js")

Asked = Literal["consent", "ready", "count", "seen"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows, whole: a viewer that misses an event loses nothing.

    Attributes:
        number: of the step; an answer names the one that it is for.
        step: what is asked, or the countdown.
        text, agreement: to be agreed to, and what is to be typed.
        label: the expression wanted, picture ``picture`` of ``of``.
        seconds: left of the countdown.
        quality: of the face that was seen; None for no face.
        kept: pictures so far.
    """

    number: int = 0
    step: Asked = "consent"
    text: str = ""
    agreement: str = ""
    label: str = ""
    picture: int = 0
    of: int = 0
    seconds: int = 0
    quality: str | None = None
    kept: int = 0


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends: an answer to a step."""

    number: int
    answer: str


class CapturePage(Broadcast):
    """Speaks with a person through a page: a ``Dialogue``, and what the page is served from.

    The session's thread asks and waits; the server's hands answers over. Pictures are encoded for
    the preview only while somebody looks.

    Args:
        source: where the pictures come from; the page shows them from the consent on.
        about: facts for the page: who, where to, which labels, how many of each.
    """

    def __init__(self, source: FrameSource, about: Mapping[str, Any]) -> None:
        super().__init__()
        self._hellos = 1
        self._loop: asyncio.AbstractEventLoop | None = None
        self.source = _Previewed(source, self._preview)
        self._about = about
        self._answered = threading.Condition()
        self._step = Step()
        self._answer: str | None = None
        self._frame: Frame | None = None
        self._shown_s = -_PREVIEW_S

    # The session's side.

    def consent(self, text: str, agreement: str) -> str:
        """Show a text and return what the person typed, see ``Dialogue``."""
        self._begin_step(None, step="consent", text=text, agreement=agreement)
        return self._waited()

    def ready(self, label: str, number: int, of: int) -> bool:
        """Ask for an expression, with the camera's picture, see ``Dialogue``."""
        self._begin_step(None, step="ready", text="", label=label, picture=number, of=of)
        while (answer := self._taken()) is None:
            if self.source.read() is None:
                return False
        return answer != "quit"

    def count(self, seconds: int) -> None:
        """Show the countdown, see ``Dialogue``."""
        self._begin_step(None, step="count", seconds=seconds)

    def seen(self, still: Still | None) -> Choice:
        """Show the picture with the face that was seen, see ``Dialogue``."""
        quality = None if still is None else still.quality
        self._begin_step(None if still is None else still.face, step="seen", quality=quality)
        answer = self._waited()
        choice: Choice = next((one for one in get_args(Choice) if one == answer), "again")
        if choice == "keep" and still is not None:
            self._step = msgspec.structs.replace(self._step, kept=self._step.kept + 1)
        return choice

    # What the page is served from, see ``Broadcast``.

    def end(self, reason: str) -> None:
        """Tell the page how the session ended."""
        content = {"reason": readable(reason), "kept": self._step.kept}
        self._send(messages.event("ended", content), is_last=True)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be served inside the block."""
        self._loop = asyncio.get_running_loop()
        yield

    def take(self, answer: Answer) -> bool:
        """Take an answer from the page; False if its step is over or wants none."""
        with self._answered:
            if answer.number != self._step.number or self._step.step == "count":
                return False
            self._answer = answer.answer
            self._answered.notify_all()
        return True

    def _hello(self) -> bytes:
        hello = messages.event("hello", {"about": self._about, **messages.mesh()}, retry=True)
        return hello + self._event  # where the session is, for a page that is loaded anew

    def _begin_step(self, face: Face | None, **changes: Any) -> None:
        with self._answered:
            number = self._step.number + 1
            self._step = msgspec.structs.replace(self._step, number=number, **changes)
            self._answer = None
        self._show(face)

    def _taken(self) -> str | None:
        with self._answered:
            return self._answer

    def _waited(self) -> str:
        with self._answered:
            while self._answer is None:
                self._answered.wait(_WAIT_S)
            return self._answer

    def _preview(self, frame: Frame) -> None:
        self._frame = frame
        if self.viewers and abs(frame.t_s - self._shown_s) >= _PREVIEW_S:
            self._shown_s = frame.t_s
            self._show(None)

    def _show(self, face: Face | None) -> None:
        """Send the whole step, with the newest picture where the person has agreed to any."""
        content: dict[str, Any] = msgspec.structs.asdict(self._step)
        content["faces"] = [] if face is None else [messages.outline(face)]
        if self._frame is not None:
            height, width = self._frame.size_hw
            content |= {"size": (width, height), "jpeg": messages.picture(self._frame.image)}
        self._send(messages.event("step", content))

    def _send(self, event: bytes, *, is_last: bool = False) -> None:
        """Have the server's thread post an event."""

        def post() -> None:
            self._sending = asyncio.ensure_future(self._post(event, is_last=is_last))

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                self._loop.call_soon_threadsafe(post)


class _Previewed(SourceWrapper):
    """Shows each frame to the page on its way."""

    def __init__(self, source: FrameSource, show: Callable[[Frame], None]) -> None:
        super().__init__(source)
        self._show = show

    def read(self) -> Frame | None:
        """Return the next frame, see ``FrameSource``."""
        frame = self._source.read()
        if frame is not None:
            self._show(frame)
        return frame


def capture_site(hub: CapturePage, access: Access) -> ASGIApp:
    """Return the page of a guided capture as an ASGI application."""

    async def answered(request: Request) -> Response:
        content = await posted(request, _LONGEST_ANSWER)
        try:
            answer = msgspec.json.decode(content or b"", type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return PlainTextResponse("edgeemo: expected an answer to a step\n", 400)
        if not hub.take(answer):
            return PlainTextResponse("edgeemo: this step is over\n", 409)
        return Response(status_code=204)

    own = [path for path in CAPTURE_STATIC.iterdir() if path.is_file()]
    files = [*own, *(STATIC / name for name in _SHARED)]
    return site(files, [Route("/answer", answered, methods=["POST"])], hub, access)
