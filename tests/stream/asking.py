"""Questions to a page's server, as a browser and as a mischief-maker ask them."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st


def ask(
    url: str, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer of the server at `url`."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    with contextlib.closing(connection):
        body = None if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()
        known = {"content-type": "application/json"} if method == "POST" else {}
        connection.request(method, path, body, known | (headers or {}))
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def pieces(*own: str) -> st.SearchStrategy[str]:
    """Pieces of paths: ways out of a folder, names of what lies near the page, `own`, and anything else."""
    out = ("..", ".", "%2e%2e", "%2f", "%00", "//", "~")
    near = ("page", "live", "review", "etc", "passwd", "index.html", "server.py")
    return st.sampled_from([*out, *near, *own]) | st.text(
        st.characters(min_codepoint=33, max_codepoint=126), max_size=8
    )
