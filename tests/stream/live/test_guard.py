"""Who may talk to the server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from stream.live.guard import Guard, Place, cookie_at, new_token

HOME = {"host": "127.0.0.1:8080"}
COOKIE = cookie_at(HOME["host"])
CHANGE = {**HOME, "x-iznet": "1", "content-type": "application/json"}
OPEN = Guard(loopback=True)
SHUT = Guard(loopback=False, token="s3cret")


def status(guard: Guard, method: str, headers: dict[str, str], path: str = "/names") -> int | None:
    refused = guard.refusal(method, path, headers)
    return None if refused is None else refused[0]


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        (":8080", "127.0.0.1", 8080, True),
        ("127.9.9.9:80", "127.9.9.9", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("[::]:8080", "::", 8080, False),
        ("192.168.1.5:8080", "192.168.1.5", 8080, False),
        ("127.0.0.1.evil.example:80", "127.0.0.1.evil.example", 80, False),
    ],
)
def test_places(text: str, host: str, port: int, loopback: bool) -> None:
    place = Place.parse(text)
    assert (place.host, place.port, place.loopback) == (host, port, loopback)


@pytest.mark.parametrize("text", ["", "x", "host:", "host:99999", "host:-1", "::1:80", "host:8o", "host:٨٠"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--serve"):
        Place.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "localhost:1", "[::1]:8080"])
def test_at_home_everybody_on_this_computer_may_look(host: str) -> None:
    assert status(OPEN, "GET", {"host": host}, "/") is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::1", "0x7f.1"])
def test_a_name_that_somebody_else_points_here_is_refused(host: str) -> None:
    assert status(OPEN, "GET", {"host": host}, "/") == 421


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, None),
        ({"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}, None),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, None),
    ],
)
def test_changes_come_from_the_own_page_only(changed: dict[str, str], code: int | None) -> None:
    assert status(OPEN, "POST", CHANGE | changed) == code


def test_a_form_on_another_page_cannot_send_the_own_header() -> None:
    assert status(OPEN, "POST", {**HOME, "content-type": "application/json"}) == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(method: str) -> None:
    assert status(OPEN, method, CHANGE) == 405


def test_elsewhere_a_token_is_needed() -> None:
    with pytest.raises(ValueError, match="token"):
        Guard(loopback=False)
    assert "s3cret" not in repr(SHUT)
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic s3cret"},
        {"authorization": "s3cret"},
        {"cookie": f"{COOKIE}=wrong"},
        {"cookie": "other=s3cret"},
        {"cookie": f"{COOKIE}="},
        {"cookie": f"{cookie_at('127.0.0.1:8081')}=s3cret"},  # another server's
        {"authorization": "Bearer "},
    ):
        assert status(SHUT, "GET", HOME | headers, "/") == 401
    for headers in ({"authorization": "Bearer s3cret"}, {"cookie": f"a=b; {COOKIE}=s3cret"}):
        assert status(SHUT, "GET", HOME | headers, "/") is None
        assert status(SHUT, "POST", CHANGE | headers) is None
        assert status(SHUT, "POST", HOME | headers) == 403


def test_health_is_open_and_says_nothing() -> None:
    for path in ("/healthz", "/readyz"):
        assert status(SHUT, "GET", {}, path) is None
        assert status(SHUT, "POST", {}, path) == 401
    assert status(SHUT, "GET", {}, "/metrics") == 401


def test_tokens_differ_and_are_long() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 22


@pytest.mark.parametrize(
    ("place", "token", "words"),
    [("0.0.0.0:80", "", "empty"), ("8080", "", "empty"), ("0.0.0.0:80", "7 chars", "shorter than 8")],
)
def test_a_token_that_keeps_nobody_out_is_refused(place: str, token: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"--token is {words}") as refusal:
        Guard.of(Place.parse(place), token)
    assert not token or token not in str(refusal.value)


def test_a_token_is_taken_as_given_and_made_only_where_others_reach_the_place() -> None:
    assert Guard.of(Place.parse("8080"), None) == Guard(loopback=True)
    assert Guard.of(Place.parse("8080"), "short") == Guard(loopback=True, token="short")
    assert Guard.of(Place.parse("0.0.0.0:80"), "8 signs!") == Guard(loopback=False, token="8 signs!")
    made = Guard.of(Place.parse("0.0.0.0:80"), None)
    assert made.token is not None
    assert len(made.token) >= 22


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=60))
def test_no_header_breaks_the_guard(host: str, authorization: str, cookie: str) -> None:
    for guard in (OPEN, SHUT):
        headers = {"host": host, "authorization": authorization, "cookie": cookie, "origin": cookie}
        for method in ("GET", "POST"):
            refused = guard.refusal(method, "/", headers | {"x-iznet": "1", "content-type": "application/json"})
            if guard is SHUT and "s3cret" not in authorization + cookie:
                assert refused is not None
