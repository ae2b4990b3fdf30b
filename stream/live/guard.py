"""Who may talk to the server: the door of the page. Pure decisions, apart from the ASGI wrapper at the end.

On the loopback interface everybody on this computer may look, but no web page from elsewhere may: the `Host` header
has to be ours, against DNS rebinding. On any other address a token is needed. What changes something is taken only
from our own page: it needs a header that no form can send, and where the browser says which page it comes from, ours.
The header says which run the page belongs to: a page that an earlier run at the same address left open changes nothing.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import UsageError

OWN_HEADER = "x-iznet"
"""Bears the run that a page belongs to."""
LARGEST_BODY = 32768
"""Bytes; a name needs a few dozen, a browser's offer of how to send it the picture some thousand."""
OPEN = ("/healthz", "/readyz")
"""What tells nothing about anybody."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server listens.

    Example:
        >>> Place.parse("8080"), Place.parse("0.0.0.0:80").loopback
        (Place(host='127.0.0.1', port=8080), False)
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Understand `HOST:PORT`, `[IPV6]:PORT` or a bare port, `8080` or `:8080`, which means loopback.

        Raises:
            UsageError: it is none of these.
        """
        host, _, port = text.rpartition(":")
        if not host:
            host = "127.0.0.1"
        elif host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise UsageError(f"--serve {text}: write an IPv6 address in brackets, as [{host}]:{port}")
        if not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise UsageError(f"--serve {text}: expected HOST:PORT or a port between 0 and 65535")
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this computer can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


SHORTEST = 8
"""Characters of a token that others cannot try out."""


def cookie_at(host: str) -> str:
    """What the cookie with the token is called at a `Host`: browsers keep cookies by the host alone, and the servers on
    its other ports have theirs.

    Example:
        >>> cookie_at("127.0.0.1:8080"), cookie_at("cams.example")
        ('iznet-8080', 'iznet-80')
    """
    try:
        return f"iznet-{urlsplit(f'//{host}').port or 80}"
    except ValueError:
        return "iznet"


def new_token() -> str:
    """A token that nobody guesses: 128 bits."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides about one request.

    Args:
        loopback: whether the server can be reached from this computer only.
        token: what has to be known; None for nothing, on loopback alone.
    """

    loopback: bool
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.loopback and not self.token:
            raise ValueError("a server that others can reach needs a token")

    @classmethod
    def of(cls, place: Place, token: str | None) -> Guard:
        """The guard of a place; where others reach it and no token is given, one is made.

        Raises:
            UsageError: the token is empty, or too short for a place that others reach.
        """
        if token is None:
            return cls(place.loopback, None if place.loopback else new_token())
        if not token:
            raise UsageError("--token is empty; give one, or leave the option out")
        if not place.loopback and len(token) < SHORTEST:
            raise UsageError(
                f"--token is shorter than {SHORTEST} characters, and others reach {place.host}; give a longer one, or "
                "none and one is made up"
            )
        return cls(place.loopback, token)

    def opened_with(self, given: str | None) -> str:
        """What the page's address needs at its end: a token that was made, which nobody knows yet."""
        return f"?token={self.token}" if given is None and self.token is not None else ""

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and words for a request that is not answered; None for one that is. Header names in lower case."""
        if path in OPEN and method in ("GET", "HEAD"):
            return None
        if self.loopback and not _is_loopback_name(headers.get("host", "")):
            return 421, "this server answers to localhost and 127.0.0.1 only"
        if self.token is not None and not self._knows(headers):
            return 401, "a token is needed: open the address that iznet printed, with ?token=… at its end"
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return 405, "only GET and POST are understood"
        if OWN_HEADER not in headers or not _own_page(headers):
            return 403, "changes are taken from this server's own page only"
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "expected application/json"
        return None

    def admits(self, token: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def _knows(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.admits(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_at(headers.get("host", "")))
        except CookieError:
            return False
        return cookie is not None and self.admits(cookie.value)


def _is_loopback_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _own_page(headers: Mapping[str, str]) -> bool:
    """Whether the browser says nothing about the page a request comes from, or that it is ours."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class Door:
    """ASGI: refuses what the guard refuses, bodies that are too large and changes that are meant for another run, and
    puts strict headers on all answers."""

    def __init__(self, app: ASGIApp, guard: Guard, run: str) -> None:
        self._app = app
        self._guard = guard
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is not None:
            status, words = refused
            await PlainTextResponse(words + "\n", status)(scope, receive, with_headers)
            return
        if scope["method"] == "POST" and headers[OWN_HEADER] != self._run:
            told = {"error": "another run of IZ*Net is here now; reload the page", "run": self._run}
            await JSONResponse(told, 409)(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        if scope["path"] == "/" and scope["method"] == "GET" and b"token=" in scope["query_string"]:
            return None  # the page itself looks at it, and sets the cookie
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > LARGEST_BODY:
            return 413, f"a body of at most {LARGEST_BODY} bytes with its length is taken"
        return self._guard.refusal(scope["method"], scope["path"], dict(headers))
