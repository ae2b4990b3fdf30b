"""Pictures sent to a real RTSP server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import pytest

from engine.errors import OutputError, UsageError
from stream.encoding import EncoderSettings
from stream.live.address import Address
from stream.live.outputs import Seen
from stream.live.push import SCHEMES, RtspPush
from stream.live.reconnect import Backoff
from tests.stream import media
from tests.stream.live import feeds
from tests.stream.live.test_outputs import FAST, info_of, seen


def pushed(url: str, retries: int | None = None) -> RtspPush:
    return RtspPush(Address.server(url, SCHEMES), FAST, timeout=5, backoff=Backoff(retries, first=0.02, longest=0.05))


def send(push: RtspPush, frames: list[Seen]) -> None:
    for frame in frames:
        push.frame(frame)
        time.sleep(0.03)  # as they come: GStreamer's server drops what comes faster than it is to be shown


def state(push: RtspPush) -> str:
    return push.health.state


def taken(path: Path) -> int:
    return len(media.read(path).pictures) if path.exists() and path.stat().st_size > 2000 else 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_gets_every_picture(transport: Literal["tcp", "udp"], tmp_path: Path) -> None:
    server = feeds.RtspServer(tmp_path / "taken.mkv", feeds.free_port(), takes=True)
    try:
        push = RtspPush(Address.server(server.url, SCHEMES, transport=transport), FAST)
        info = info_of(pixel_format="yuv420p")
        send(push, [seen(n, info) for n in range(60)])
        push.close({})
        feeds.until(lambda: taken(tmp_path / "taken.mkv") == 60)
    finally:
        server.kill()
    assert (push.health.state, push.health.problem, push.skipped) == ("on", None, 0)


def test_a_server_that_goes_and_comes_back_gets_what_is_seen_from_then_on(tmp_path: Path) -> None:
    port = feeds.free_port()
    server = feeds.RtspServer(tmp_path / "one.mkv", port, takes=True)
    info = info_of(pixel_format="yuv420p")
    push = pushed(server.url)
    try:
        send(push, [seen(n, info) for n in range(30)])
        feeds.until(lambda: taken(tmp_path / "one.mkv") > 0)
        server.kill()
        n = 30
        while state(push) == "on":  # what lies in the system's buffers is lost without a word
            send(push, [seen(n, info)])
            n += 1
        assert (push.health.problem or "").startswith(f"cannot send to rtsp://127.0.0.1:{port}/stage: ")
        lost = push.skipped
        assert lost > 0
        server = feeds.RtspServer(tmp_path / "two.mkv", port, takes=True)
        while state(push) != "on":
            send(push, [seen(n, info)])
            n += 1
        send(push, [seen(n + m, info) for m in range(30)])
        push.close({})
        feeds.until(lambda: taken(tmp_path / "two.mkv") >= 30)
    finally:
        server.kill()
    assert push.health.problem is None


def test_nobody_there_is_told_without_the_password_and_nothing_waits_for_it() -> None:
    port = feeds.free_port()
    push = pushed(f"rtsp://me:s3cret@127.0.0.1:{port}/in?key=k3y", retries=2)
    info = info_of(pixel_format="yuv420p")

    def feed() -> None:
        for n in range(100_000):
            push.frame(seen(n, info))
            feeds.until(lambda: not push._waiting or push._failure is not None)

    with pytest.raises(OutputError, match="Connection refused") as failure:
        feed()
    for words in (str(failure.value), push.health.name, push.health.problem or ""):
        assert "s3cret" not in words
        assert "k3y" not in words
    assert push.health.state == "failed"
    with pytest.raises(OutputError):
        push.close({})


def test_another_size_is_another_stream(tmp_path: Path) -> None:
    server = feeds.RtspServer(tmp_path / "taken.mkv", feeds.free_port(), takes=True)
    try:
        push = pushed(server.url)
        small, large = info_of(pixel_format="yuv420p"), info_of(480, 360, "yuv420p")
        send(push, [seen(n, small) for n in range(10)] + [seen(n, large) for n in range(10, 40)])
        while state(push) != "on":
            send(push, [seen(40 + push.skipped, large)])
        push.close({})
        feeds.until(lambda: taken(tmp_path / "taken.mkv") > 0)
        assert {picture.width for picture in media.read(tmp_path / "taken.mkv").pictures} == {480}
    finally:
        server.kill()


def test_what_rtsp_cannot_carry_is_refused() -> None:
    address = Address.server("rtsp://h/in", SCHEMES)
    with pytest.raises(UsageError, match="svtav1"):
        RtspPush(address, EncoderSettings("svtav1"))
    with pytest.raises(UsageError, match="rtsp://") as refusal:
        Address.server("http://me:s3cret@h/in", SCHEMES)
    assert "s3cret" not in str(refusal.value)
