"""What the user typed, and what of it may be shown."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from stream.live import address
from stream.live.address import NETWORK, Address, without_secrets

CUT = ("12#s3cret", "12/s3cret", "12?s3cret", "s3cret#", "s3cret/x", "s3cret?")
"""Passwords that end an address before its host, unless they are escaped."""


@pytest.mark.parametrize(
    ("text", "shown", "kind"),
    [
        ("rtsp://admin:s3cret@10.0.0.7:554/ch1", "rtsp://10.0.0.7:554/ch1", "network"),
        ("RTSPS://u@cam.example/x", "rtsps://cam.example/x", "network"),
        ("http://cam/video.mjpg?user=me&pwd=s3cret", "http://cam/video.mjpg?user=***&pwd=***", "network"),
        (
            "rtsp://10.0.0.7:554/user=admin&password=geheim&channel=1&stream=0.sdp?real_stream",
            "rtsp://10.0.0.7:554/user=***&password=***&channel=***&stream=***?***",
            "network",
        ),
        (
            "rtsp://h/user=admin_password=ge_heim_channel=1_stream=0.sdp",
            "rtsp://h/user=***_password=***_channel=***_stream=***",
            "network",
        ),
        ("rtsp://h/live;pw=geheim/a_b/c.sdp", "rtsp://h/live;pw=***/a_b/c.sdp", "network"),
        ("https://[2001:db8::1]:8443/a.m3u8", "https://[2001:db8::1]:8443/a.m3u8", "network"),
        ("udp://127.0.0.1:5004", "udp://127.0.0.1:5004", "network"),
        ("udp://@:5004", "udp://:5004", "network"),
        ("lavfi:testsrc=rate=25", "lavfi:testsrc=rate=25", "pattern"),
    ],
)
def test_sources_are_told_apart_and_shown_without_credentials(text: str, shown: str, kind: str) -> None:
    found = Address.parse(text)
    assert (found.shown, found.name, found.kind) == (shown, shown, kind)
    assert found.target == text.removeprefix("lavfi:")


def test_a_name_may_stand_before_any_source() -> None:
    assert Address.parse("door=rtsp://u:p@h/1?channel=2").name == "door"
    assert Address.parse("left wing=udp://127.0.0.1:5").name == "left wing"
    assert Address.parse("http://h/a?b=c").name == "http://h/a?b=***"
    assert Address.parse("stage=clip=1.mp4", realtime=True).target == "clip=1.mp4"


def test_rtsp_goes_over_tcp_unless_told_otherwise() -> None:
    assert Address.parse("rtsp://h/1").options["rtsp_transport"] == "tcp"
    assert Address.parse("rtsp://h/1", transport="udp").options["rtsp_transport"] == "udp"
    assert "rtsp_transport" not in Address.parse("http://h/1", transport="udp").options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b/c=lavfi:testsrc", "a b/c cannot be a source's name: it holds /"),
        ("a/b=rtsp://u:s3cret@h/1", "it holds /"),
        (f"{'x' * 41}=udp://h:1", "it is 41 long"),
    ],
)
def test_a_name_that_cannot_be_is_told_as_such(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        Address.parse(text)
    assert "s3cret" not in str(refusal.value)


def test_a_file_whose_path_has_an_equals_sign_is_a_file() -> None:
    assert Address.parse("a/b=c.mp4", realtime=True).target == "a/b=c.mp4"


def test_a_file_is_refused_unless_it_is_to_be_played_at_its_own_speed() -> None:
    with pytest.raises(UsageError, match=r"--realtime.*iznet label clip.mp4"):
        Address.parse("clip.mp4")
    found = Address.parse("videos/clip.mp4", realtime=True)
    assert (found.kind, found.name, found.paced) == ("file", "clip.mp4", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty source"),
        ("ftp://me:s3cret@host/a", "ftp://"),
        ("rtsp://me:s3cret@/a", "without a host"),
        ("rtsp://me:s3cret@host:99999/a", "port"),
        ("rtsp://me:s3cret@host:x/a", "port"),
        ("rtsp://[me:s3cret@host/a", "makes no sense"),
        *[(f"{scheme}://me:{password}@host/a", r"@ .*%2F %3F %23 %40") for scheme in NETWORK for password in CUT],
        ("rtsp:/me:s3cret@host/a", "begins with rtsp://, this one with rtsp:/$"),
        ("HTTP//me:s3cret@host/a", "begins with http://, this one with HTTP//$"),
    ],
)
def test_what_is_no_source_is_refused_without_quoting_its_password(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        Address.parse(text)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8080/@channel/live.m3u8",
        "https://host/me@mail.example/live.m3u8",
        "http://host:8080/video?user=me@mail.example&pwd=s3cret",
        "rtsp://10.0.0.7:554/user=me&password=s3@cret&channel=1",
        "rtsp://me:s3@cret:x@host:554/a",
        "udp://@239.0.0.1:1234",
    ],
)
def test_an_at_sign_elsewhere_does_no_harm(text: str) -> None:
    found = Address.parse(text)
    assert (found.target, "cret" in found.shown) == (text, False)


def test_nothing_that_is_printed_of_an_address_holds_its_password() -> None:
    found = Address.parse("cam=rtsp://ad%40min:p%3Aw%20d@10.0.0.7/live?key=k3y")
    assert found.target == "rtsp://ad%40min:p%3Aw%20d@10.0.0.7/live?key=k3y"
    for words in (repr(found), str(found), found.shown, found.name):
        for secret in ("p%3Aw", "p:w d", "k3y", "ad%40min", "ad@min"):
            assert secret not in words


def test_errors_of_others_are_cleaned_in_every_spelling() -> None:
    found = Address.parse("rtsp://ad%40min:p%3Aw%20d@10.0.0.7/live?key=k3y")
    words = found.clean(
        "401: 'rtsp://ad%40min:p%3Aw%20d@10.0.0.7/live?key=k3y'; DESCRIBE with ad@min and p:w d, p%3Aw%20d; key=k3y"
    )
    for secret in ("ad%40min", "ad@min", "p:w d", "p%3Aw", "k3y"):
        assert secret not in words
    assert "rtsp://10.0.0.7/live" in words


def test_short_values_do_not_falsify_what_others_say() -> None:
    found = Address.parse("door=http://127.0.0.1:18399/cam/mjpg?channel=1&subtype=0")
    assert found.clean("Server returned 404 Not Found, 10 tries") == "Server returned 404 Not Found, 10 tries"
    assert Address.parse("x=rtsp://u:pw@127.0.0.1:9/x").clean("Connection refused") == "Connection refused"


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        ("rtsp://u:pw@10.0.0.1/other?pin=07&main is gone", "rtsp://10.0.0.1/other?pin=***&*** is gone"),
        ("moved to https://u:pw@h:10/07", "moved to https://h:10/07"),
        ("GET /cam?a=1&pin=07 failed", "GET /cam?a=1&pin=*** failed"),
        ("pin=07, pin: 07, spin=07, pin=070", "pin=***, pin: ***, spin=07, pin=070"),
        ("k3yk3y, xk3yk3y, %3Dk3yk3y%26", "***, xk3yk3y, %3D***%26"),
    ],
)
def test_secrets_are_hidden_in_urls_behind_their_keys_and_as_words(said: str, cleaned: str) -> None:
    assert Address.parse("rtsp://u:pw@10.0.0.1/1?pin=07&main&long=k3yk3y").clean(said) == cleaned


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        ("GET /user=admin_password=ge_heim_pin=07.sdp failed", "GET /user=***_password=***_pin=*** failed"),
        ("no ge_heim here, 404 of 07.sdp", "no *** here, 404 of ***"),
        ("password: ge_heim", "password: ***"),
    ],
)
def test_values_in_a_path_are_hidden_in_the_words_of_others(said: str, cleaned: str) -> None:
    assert Address.parse("rtsp://h/user=admin_password=ge_heim_pin=07.sdp").clean(said) == cleaned


@settings(deadline=None)
@given(
    user=st.text("abcXYZ019-_.~", min_size=2, max_size=12),
    password=st.text("abcXYZ019-_.~!$&'()*+,;=", min_size=6, max_size=24),
)
def test_no_password_survives_cleaning(user: str, password: str) -> None:
    url = f"rtsp://{user}:{password}@h.invalid/1"
    found = Address.parse(url)
    assert password not in found.clean(f"failed for {url} as {user} with {password}")
    assert password not in repr(found) + found.shown + found.name


def test_a_command_lines_secrets_are_taken_out_of_a_report() -> None:
    arguments = ["live", "door=rtsp://u:hunter2@h/1", "bad://u:hunter3@h", "rtsp://u:hunter4@h:x/1", "--serve", "8080"]
    words = without_secrets(f"{arguments}\nTraceback: rtsp://u:hunter2@h/1", arguments)
    assert "hunter" not in words
    assert "--serve" in words
    assert "rtsp://h/1" in words


def test_what_has_no_sense_hides_its_path_too() -> None:
    arguments = ["live", "rtsp://h:x/user=admin&password=geheim1"]
    assert without_secrets(f"cannot open {arguments[1]}", arguments) == "cannot open rtsp://h:x/user=***&password=***"
    with pytest.raises(UsageError, match=r"password=\*\*\*") as refusal:
        Address.server("bad://h/user=admin&password=geheim1", ["rtsp"])
    assert "geheim1" not in str(refusal.value)


@pytest.mark.parametrize(
    ("token", "cleaned"),
    [
        ("", "a --token= and a cat"),
        ("a", "a --token=*** and a cat"),
        ("cat", "a --token=a and a cat"),
        ("a cat", "a --token=a and ***"),
    ],
)
def test_a_short_token_is_hidden_where_it_is_called_one(token: str, cleaned: str) -> None:
    said = f"a --token={'a' if token else ''} and a cat"
    assert without_secrets(said, ["live", "--token", token]) == cleaned
    assert without_secrets(said, ["live", f"--token={token}"]) == cleaned


def test_webcams_by_number_path_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for text in ("2", "/dev/video2"):
        found = Address.parse(text)
        assert (found.kind, found.target, found.format) == ("device", "/dev/video2", "v4l2")
    for number, name in enumerate(["Integrated Camera", "USB Capture HDMI"]):
        (tmp_path / f"video{number}").mkdir()
        (tmp_path / f"video{number}" / "name").write_text(name + "\n", "utf-8")
    assert address._device_named("hdmi", tmp_path) == Path("/dev/video1")
    with pytest.raises(UsageError, match="Integrated Camera, USB Capture HDMI"):
        address._device_named("zoom", tmp_path)


@pytest.mark.parametrize(("platform", "target"), [("darwin", "0"), ("win32", "video=0")])
def test_webcams_of_other_systems(platform: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert Address.parse("0").target == target


def test_an_address_goes_to_another_process_whole() -> None:
    found = Address.parse("rtsp://u:p@h/1")
    assert pickle.loads(pickle.dumps(found)) == found


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.builds(
            "{}{}://{}".format,
            st.sampled_from(["", "door=", "a b="]),
            st.sampled_from(["rtsp", "RTSPS", "http", "udp", "ftp", "r tsp"]),
            st.text(max_size=40),
        ),
    ),
    st.booleans(),
)
def test_any_text_is_a_source_or_refused(text: str, realtime: bool) -> None:
    try:
        found = Address.parse(text, realtime=realtime)
    except UsageError:
        return
    assert found.target in text or found.kind == "device"
    assert found.clean(found.target) == found.shown or any(secret in found.shown for secret in found.secrets)
