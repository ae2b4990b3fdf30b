"""Events by HTTP: each is POSTed as JSON."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from stream.live.address import Address
from stream.live.events import Event
from stream.live.outbox import Refused, Unsent
from stream.live.unreachable import unreachable

SCHEMES = ("http", "https")
TIMEOUT = 5.0
"""Seconds for an answer."""
LATER = frozenset({408, 425, 429})
"""Answers below 500 that mean another time."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An address that has moved is to be given anew, not to be followed with a password."""

    def redirect_request(self, *args: Any, **settings: Any) -> None:
        return None


class Webhook:
    """Sends events to a web server. A name and password in the address become basic authentication. One whose
    certificate is not trusted (by the system, or the file named in `SSL_CERT_FILE`) is sent nothing.

    Args:
        address: begins with one of `SCHEMES`.
    """

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.target)
        self._address = address
        userinfo, _, host = parts.netloc.rpartition("@")
        self._url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        self._headers = {"Content-Type": "application/json", "User-Agent": "iznet"}
        if userinfo:
            token = base64.b64encode(unquote(userinfo).encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {token}"
        self._opener = urllib.request.build_opener(_NoRedirects)

    def send(self, event: Event, /) -> None:
        body = json.dumps(event.to_json(), ensure_ascii=False).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=TIMEOUT):
                return
        except urllib.error.HTTPError as answer:
            with answer:
                words = f"{self._address.shown} answered {answer.code} {self._address.clean(str(answer.reason))}"
            if answer.code in LATER or answer.code >= 500:
                raise Unsent(words) from None
            raise Refused(words) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise unreachable(self._address, error) from None

    def close(self) -> None:
        """Nothing is kept open."""
