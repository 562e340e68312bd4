"""The wall around the page: refuses what ``edge.view.access`` does not admit, sets the headers."""

from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.view.access import Access
from edge.view.door import Refusals, admit

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
