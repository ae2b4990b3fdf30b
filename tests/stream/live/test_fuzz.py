"""What comes from outside, in every shape: addresses, settings files, and lines of records."""

from __future__ import annotations

import contextlib
import json
import string
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.errors import InputError, IznetError, UsageError
from stream.live import mqtt, push, webhook
from stream.live.address import Address, without_secrets
from stream.live.mqtt import Mqtt
from stream.live.webhook import Webhook
from stream.tracks import read
from tools.live import live

SECRET = "tr0ub4dor"
"""Stands in whatever is made up for what must not be seen; nothing else looks like it."""
LOOSE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_PLAIN = st.text(string.ascii_letters + string.digits + "-._~", min_size=1, max_size=12)
_HOSTS = st.sampled_from(["h.invalid", "10.0.0.7", "[::1]", "[::1", "h:x", "h:99999", "", "münchen.invalid", "h..x"])


@st.composite
def secret_urls(draw: st.DrawFn) -> str:
    """Addresses with a secret somewhere, most of them well made."""
    scheme = draw(st.sampled_from(["rtsp", "RTSPS", "http", "https", "udp", "mqtt", "mqtts", "ftp", "a b", "1+x"]))
    user = draw(st.one_of(st.just(""), _PLAIN.map(lambda name: f"{name}:{SECRET}@"), st.just(f"{SECRET}@")))
    query = draw(st.sampled_from(["", f"?key={SECRET}", f"?{SECRET}", f"?a=b&token={SECRET}#x", f"#{SECRET}"]))
    keyed = st.builds(
        "/{}{}{}={}{}".format,
        st.sampled_from(["", "live", "user=me", "a=b"]),
        st.sampled_from(["/", "&", ";", "_"]),
        st.sampled_from(["pw", "password", "pass_word"]),
        st.just(SECRET),
        st.sampled_from(["", "/1", "&channel=1.sdp", "_channel=1.sdp", ";x", ".sdp"]),
    )
    tail = draw(st.one_of(st.just("/1"), _PLAIN.map(lambda path: f"/{path}"), st.just(""), keyed))
    return f"{draw(st.sampled_from(['', 'door=']))}{scheme}://{user}{draw(_HOSTS)}{tail}{query}"


@LOOSE
@example(f"rtsp://h.invalid//pw={SECRET}.sdp")
@given(secret_urls())
def test_no_secret_of_any_address_is_ever_shown(url: str) -> None:
    error = f"{url} cannot be opened: {SECRET if SECRET in url else ''}"
    shown = [without_secrets(error, ["live", url])]
    schemes = (*push.SCHEMES, *webhook.SCHEMES, *mqtt.SCHEMES)
    for understand in (Address.parse, lambda text: Address.server(text, schemes)):
        try:
            found = understand(url)
        except UsageError as refusal:
            shown.append(str(refusal))
            continue
        shown += [found.shown, found.name, repr(found), found.clean(f"{found.target}: {error}")]
    assert not [words for words in shown if SECRET in words]


@LOOSE
@given(st.one_of(secret_urls(), _WORDS), st.sampled_from([push.SCHEMES, webhook.SCHEMES, mqtt.SCHEMES]))
def test_any_text_is_a_servers_address_or_refused(text: str, schemes: tuple[str, ...]) -> None:
    with contextlib.suppress(UsageError):
        found = Address.server(text, schemes)
        assert found.target == text
        for carrier in (Webhook, Mqtt) if schemes != push.SCHEMES else ():
            with contextlib.suppress(IznetError):
                carrier(found)


_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(), _WORDS, secret_urls()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_PLAIN, inner, max_size=3)),
    max_leaves=6,
)
_KEYS = [word.lstrip("-") for option in live.params for word in option.opts if word.startswith("--")]


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"' + "".join(f"\\U{ord(c):08x}" if c in '"\\' or ord(c) < 32 or ord(c) == 127 else c for c in value) + '"'
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(each)}' for key, each in value.items()) + "}"
    return repr(value)


def parsed(config: Path) -> None:
    """Read a settings file as the command does; whatever it refuses is refused in words."""
    with contextlib.suppress(click.ClickException, IznetError, click.exceptions.Exit):
        live.make_context("live", ["udp://127.0.0.1:1", "--config", str(config)])


@LOOSE
@given(st.dictionaries(st.one_of(st.sampled_from([*_KEYS, "sources"]), _PLAIN), _VALUES, max_size=5))
def test_any_settings_are_taken_or_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    text = "".join(f'"{key}" = {toml(value)}\n' for key, value in values.items())
    assert set(tomllib.loads(text)) == set(values), "this test writes TOML wrongly"
    (tmp_path / "live.toml").write_text(text, "utf-8")
    parsed(tmp_path / "live.toml")


@LOOSE
@given(st.one_of(st.binary(max_size=200), st.text("[]{}=\"'#.\n ab1", max_size=200).map(str.encode)))
def test_any_bytes_are_a_settings_file_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "live.toml").write_bytes(data)
    parsed(tmp_path / "live.toml")


LINES: list[dict[str, Any]] = [
    {
        "type": "header",
        "schema": "iznet.tracks/1.0",
        "source": {"path": "a", "width": 64, "height": 48, "rotation": 0, "time_base": "1/25", "duration": None},
        "models": {"detector": None, "embedder": None},
        "gallery": None,
        "iznet": "0.1.0",
    },
    {
        "type": "frame",
        "index": 0,
        "pts": 0,
        "time": 0.0,
        "shot": 0,
        "faces": [
            {
                "track": 0,
                "box": [1.0, 2.0, 9.0, 12.0],
                "score": 0.9,
                "name": "ann",
                "similarity": 0.6,
                "landmarks": [[1.0, 2.0]] * 5,
            }
        ],
    },
    {
        "type": "track",
        "track": 0,
        "shot": 0,
        "verdict": "named",
        "name": "ann",
        "similarity": 0.6,
        "first": 0,
        "last": 0,
        "frames": 1,
    },
    {"type": "summary", "frames": 1, "dropped": {}, "people": []},
]
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "1/0", "0/0", "-1/25", "iznet.tracks/9.0", "\ud800", "a" * 300]),
    st.lists(st.integers(-3, 3), max_size=5),
    st.just({}),
)


def places(value: Any) -> list[list[Any]]:
    """The way to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [[key, *way] for key, each in inside for way in [[], *places(each)]]


@LOOSE
@given(st.data())
def test_a_record_with_any_value_exchanged_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    lines = json.loads(json.dumps(LINES))
    for _ in range(data.draw(st.integers(1, 2))):
        line = data.draw(st.sampled_from(lines))
        way = data.draw(st.sampled_from(places(line)))
        for key in way[:-1]:
            line = line[key] if isinstance(line, dict | list) and (isinstance(line, list) or key in line) else {}
        if isinstance(line, dict) or (isinstance(line, list) and isinstance(way[-1], int) and way[-1] < len(line)):
            line[way[-1]] = data.draw(_ODD)
    path = tmp_path / "a.tracks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8", errors="surrogatepass")
    for partial in (False, True):
        with contextlib.suppress(InputError):
            read(path, partial=partial)


@LOOSE
@given(st.data())
def test_a_record_with_bytes_exchanged_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray("".join(json.dumps(line) + "\n" for line in LINES).encode())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not whole:
            break
    path = tmp_path / "a.tracks.jsonl"
    path.write_bytes(bytes(whole))
    for partial in (False, True):
        with contextlib.suppress(InputError):
            read(path, partial=partial)


@pytest.mark.parametrize(
    "line", [b"[" * 200_000, b'{"a":' * 100_000, b"1" * 10_000, b"1e999", b"-" * 10, b"\xef\xbb\xbf{}"]
)
def test_lines_made_to_break_a_reader_are_refused(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tracks.jsonl"
    path.write_bytes(json.dumps(LINES[0]).encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match="line 2"):
        read(path)


def test_the_record_that_is_damaged_here_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tracks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES), "utf-8")
    assert [face.name for face in read(path).frames[0].faces] == ["ann"]
