"""The picture over WebRTC: always the newest, never a queue, and no way in for anything that is no offer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from stream.frames import Frame, LabelledFrame, Rotation, VideoInfo
from stream.live.outputs import Seen
from stream.live.screen import WIDEST, Screen
from stream.live.timeline import TICK
from tests.stream.live import feeds

aiortc = pytest.importorskip("aiortc", reason="WebRTC is not installed: pip install 'iznet[webrtc]'")

from aioice.ice import get_host_addresses  # noqa: E402
from aiortc.mediastreams import MediaStreamError  # noqa: E402

from stream.live import webrtc  # noqa: E402
from stream.live.webrtc import MOST, FreshestTrack, Peers  # noqa: E402


def seen(index: int, width: int = 320, height: int = 240, rotation: Rotation = 0, form: str = "yuv420p") -> Seen:
    """A face whose blue tells the number."""
    picture = feeds.picture([((40, 60, 88, 120), (230, 20, 20 + 20 * index))], width, height).reformat(format=form)
    info = VideoInfo("cam", width, height, rotation, TICK, None, None, form)
    picture.pts = 3600 * index
    return Seen(LabelledFrame(Frame(picture, index, 3600 * index, TICK), rotation, []), info, 1)


def number(picture: Any) -> int:
    """Which one a picture is."""
    rgb = picture.to_ndarray(format="rgb24")
    return round((float(rgb[70:110, 50:80, 2].mean()) - 20) / 20)


def test_the_newest_is_sent_and_what_came_meanwhile_never() -> None:
    async def run() -> None:
        screen = Screen()
        track = FreshestTrack(screen)
        assert screen.viewers == 0
        sent = []
        for first in (0, 1, 6):
            for index in range(first, first + 4):
                screen.frame(seen(index))
            sent.append(await track.recv())
            assert screen.viewers == 1
        assert [number(picture) for picture in sent] == [3, 4, 9]
        stamps = [picture.pts or 0 for picture in sent]
        assert stamps == sorted(set(stamps))
        coming = asyncio.ensure_future(track.recv())  # there is nothing newer yet
        await asyncio.sleep(0.05)
        assert not coming.done()
        screen.frame(seen(2))
        assert number(await coming) == 2
        track.stop()
        track.stop()
        assert screen.viewers == 0
        with pytest.raises(MediaStreamError):
            await track.recv()

    asyncio.run(run())


def test_the_pictures_of_one_connection_are_its_own() -> None:
    async def run() -> None:
        screen = Screen()
        given = seen(3)
        screen.frame(given)
        tracks = [FreshestTrack(screen) for _ in range(2)]
        pictures = [await track.recv() for track in tracks]
        assert pictures[0] is not pictures[1]
        assert given.labelled.frame.picture.pts == 3 * 3600
        for track in tracks:
            track.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("width", "height", "rotation", "size"),
    [(321, 241, 0, (320, 240)), (320, 240, 90, (240, 320)), (1920, 1080, 0, (WIDEST, 540))],
)
def test_encoders_get_sizes_that_they_take(width: int, height: int, rotation: Rotation, size: tuple[int, int]) -> None:
    screen = Screen()
    screen.frame(seen(0, width, height, rotation, "yuv444p"))
    made = screen.frame_after(0)
    assert made is not None
    assert (made[1].width, made[1].height, made[1].format.name) == (*size, "yuv420p")
    assert screen.frame_after(made[0]) is None


@pytest.mark.skipif(not get_host_addresses(True, False), reason="no network here that two ends could meet on")
def test_a_picture_arrives_and_a_connection_that_ends_leaves_nothing() -> None:
    async def run() -> None:
        screen, peers = Screen(), Peers()
        screen.frame(seen(5))
        viewer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        viewer.addTransceiver("video", direction="recvonly")
        got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        viewer.on("track", got.set_result)
        await viewer.setLocalDescription(await viewer.createOffer())
        answer = await peers.answer(viewer.localDescription.sdp, screen)
        assert "stun" not in answer
        assert len(peers) == 1
        await viewer.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
        track = await asyncio.wait_for(got, 20)
        arrives = asyncio.ensure_future(track.recv())
        for index in (6, 7, 8):  # a lost first packet must not decide
            await asyncio.sleep(0.3)
            screen.frame(seen(index))
        picture = await asyncio.wait_for(arrives, 20)
        assert (picture.width, picture.height) == (320, 240)
        red, green, _ = picture.to_ndarray(format="rgb24")[70:110, 50:80].reshape(-1, 3).mean(axis=0)
        assert red > 180 > 80 > green
        assert screen.viewers == 1
        await viewer.close()
        for _ in range(500):
            if not len(peers):
                break
            await asyncio.sleep(0.02)
        assert len(peers) == 0
        assert screen.viewers == 0
        await peers.close()

    asyncio.run(run())


def test_who_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "PATIENCE", 0.05)

    async def run() -> None:
        screen, peers = Screen(), Peers()
        await peers.answer(await offer(), screen)
        for _ in range(500):
            if not len(peers):
                break
            await asyncio.sleep(0.02)
        assert len(peers) == 0
        assert screen.viewers == 0

    asyncio.run(run())


def test_who_leaves_the_page_leaves_no_connection_and_who_is_back_soon_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "GRACE", 0.05)

    async def run() -> None:
        peers, sdp = Peers(), await offer()
        for visit in ("a", "b"):
            peers.came(visit)
            await peers.answer(sdp, Screen(), visit)
        peers.left("a")
        peers.came("a")
        peers.left("b")
        for _ in range(500):
            if len(peers) == 1:
                break
            await asyncio.sleep(0.02)
        assert [connection.visit for connection in peers._open.values()] == ["a"]
        await peers.close()

    asyncio.run(run())


async def offer() -> str:
    viewer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    viewer.addTransceiver("video", direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    sdp = viewer.localDescription.sdp
    await viewer.close()
    return str(sdp)


def test_connections_are_bounded() -> None:
    async def run() -> None:
        screen, peers, sdp = Screen(), Peers(), await offer()
        for _ in range(MOST):
            await peers.answer(sdp, screen)
        with pytest.raises(InputError, match="which are the most"):
            await peers.answer(sdp, screen)
        await peers.close()
        assert len(peers) == 0

    asyncio.run(run())


LINES = asyncio.run(offer()).splitlines()


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from(LINES), max_size=30).map("\r\n".join),
        st.lists(st.sampled_from([*LINES, "a=x", "m=video -1 x 99", "a=rtpmap:0 x", "c=IN IP4 999"]), max_size=30).map(
            "\r\n".join
        ),
    )
)
def test_what_is_no_offer_is_refused_and_leaves_nothing(text: str) -> None:
    async def run() -> None:
        peers = Peers()
        try:
            await peers.answer(text, Screen())
        except InputError:
            assert len(peers) == 0
        await peers.close()
        assert len(peers) == 0

    asyncio.run(run())


def test_sound_alone_is_no_offer() -> None:
    async def run() -> None:
        viewer, peers = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[])), Peers()
        viewer.addTransceiver("audio", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        with pytest.raises(InputError, match="no offer"):
            await peers.answer(viewer.localDescription.sdp, Screen())
        assert len(peers) == 0
        await viewer.close()

    asyncio.run(run())
