"""The page's routes: a few files that never change, and a stream of events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.view import door
from edge.view.access import Access
from edge.view.door import Refusals, admit
from edge.view.hub import Broadcast

_HEADERS: Final = {
    # Nothing from elsewhere, no inline script or style, no framing.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_OPEN: Final = frozenset({"/view.css", "/icon.svg"})
"""What the page that asks for the token is made of."""
_COOKIE_S: Final = 30 * 24 * 3600


class Guard:
    """Lets requests through to ``app`` that may be answered.

    Args:
        app: the page.
        access: the rules.
        asking: the page that asks for the token, HTML.
    """

    def __init__(self, app: ASGIApp, access: Access, asking: bytes) -> None:
        self._app = app
        self._access = access
        self._asking = asking
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._answer(scope)
        if answer is None:
            await self._app(scope, receive, with_headers)
            return
        if answer.status_code >= 400:
            if self._refusals.is_too_many(scope.get("client")):
                answer = PlainTextResponse(
                    "edgeemo: too many requests without the token\n", 429, {"retry-after": "60"}
                )
            answer.headers["connection"] = "close"  # each guess, and each request, costs another
        await answer(scope, receive, with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a request that goes no further."""
        headers, path = Headers(scope=scope), scope["path"]
        if problem := self._access.problem(headers):
            return PlainTextResponse(f"edgeemo: {problem}\n", 403)
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if path == "/" and tokens and self._access.is_token(tokens[0].strip()):
            return self._welcome()
        if self._access.admits(headers):
            admit(scope)
            return None
        if path in _OPEN:
            return None
        if path == "/":
            return Response(self._asking, 401, media_type="text/html")
        return PlainTextResponse("edgeemo: this page asks for a token\n", 401)

    def _welcome(self) -> Response:
        """Remember the token in a cookie, and take it out of the address bar."""
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._access.cookie,
            self._access.proof(),
            max_age=_COOKIE_S,
            httponly=True,
            samesite="lax",  # "strict" would not be sent when a link is followed, from a chat say
        )
        return response


STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_ASKING: Final = "token.html"
_LONGEST_MARKER: Final = 1_000
"""Bytes."""
_NO_MARKERS: Final = (
    "markers are taken by a page that asks for a token (--frames, --token-file), "
    "or by `edgeemo logs mark`"
)
STALL_S: Final = 20.0
"""A viewer that takes nothing for so long is let go; a browser that still lives comes back."""


def page(hub: Broadcast, access: Access, mark: Callable[[str], None] | None = None) -> ASGIApp:
    """Return the whole page as an ASGI application.

    Args:
        hub: what it shows.
        access: who may see it.
        mark: takes the text of a marker for this moment; without it the page takes none.
    """

    async def marked(request: Request) -> Response:
        if mark is None:
            return PlainTextResponse(f"edgeemo: {_NO_MARKERS}\n", 403)
        content = await posted(request, _LONGEST_MARKER)
        if content is None:
            return PlainTextResponse("edgeemo: too long for a marker\n", 413)
        text = content.decode("utf-8", "replace").strip()
        if not text:
            return PlainTextResponse("edgeemo: expected the text of a marker\n", 400)
        mark(text)
        return Response(status_code=204)

    files = [path for path in STATIC.iterdir() if path.suffix in _TYPES]
    return site(files, [Route("/mark", marked, methods=["POST"])], hub, access)


def site(files: Iterable[Path], own: Iterable[Route], hub: Broadcast, access: Access) -> ASGIApp:
    """Return an application of files that never change, routes of its own and a stream of events.

    Args:
        files: by their names; ``index.html`` is what is opened.
        own: beside them.
        hub: makes the events.
        access: who may see any of it.
    """
    routes = [_file_route(path) for path in files if path.name != _ASKING]

    async def events(_: Request) -> Response:
        if hub.is_full:
            return PlainTextResponse("edgeemo: too many viewers\n", 503, {"retry-after": "10"})
        return EventStream(hub)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # A connection that breaks in an unforeseen way would fill the journal with tracebacks.
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: hub.faults.note(context.get("exception") or context["message"])
        )
        async with hub.running():
            yield

    app = Starlette(routes=[*routes, *own, Route("/events", events)], lifespan=lifespan)
    return Guard(app, access, (STATIC / _ASKING).read_bytes())


async def posted(request: Request, most: int) -> bytes | None:
    """Return what was sent; None where it is more than so many bytes."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            return None
    return content


class EventStream(Response):
    """Sends one viewer its events until it goes, stalls, or the run ends."""

    def __init__(self, hub: Broadcast) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream."""
        sending = asyncio.create_task(self._send_all(scope, send))
        leaving = asyncio.create_task(_until_gone(receive))
        door.watch(scope, is_watching=True)
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            door.watch(scope, is_watching=False)
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, scope: Scope, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        more = scope["method"] != "HEAD"
        if more:
            async with contextlib.aclosing(self._hub.events()) as events:
                async for event in events:
                    async with asyncio.timeout(STALL_S):  # the server waits for a full buffer
                        await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _file_route(path: Path) -> Route:
    content, media_type = path.read_bytes(), _TYPES[path.suffix]

    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return Route("/" if path.name == "index.html" else f"/{path.name}", answer)
