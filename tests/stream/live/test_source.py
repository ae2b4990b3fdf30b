"""Reading feeds: scripted ones for what a reader decides, real ones on the loopback for what FFmpeg makes of them."""

from __future__ import annotations

import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from stream.live import source
from stream.live.address import Address
from stream.live.reader import STEADY, Fresh, Reader, paced
from stream.live.reconnect import Backoff
from stream.live.source import Arrival, Connect, Lost, connect
from tests.stream.live import feeds
from tests.stream.live.authority import Authority

LAVFI = Address.parse("lavfi:testsrc=size=64x48:rate=25:duration=0.4")


class Kept:
    """What a reader gave out, and its losses as None."""

    def __init__(self) -> None:
        self.items: list[Fresh | None] = []

    def read(self, address: Address, opens: Connect, retries: int | None = 0, timeout: float = 5.0) -> Reader:
        reader = Reader(
            address,
            began=0.0,
            take=self.items.append,
            lost=lambda: self.items.append(None),
            timeout=timeout,
            backoff=Backoff(retries, first=0.01, longest=0.02),
            opens=opens,
        )
        reader.start()
        return reader

    @property
    def pictures(self) -> list[Fresh]:
        return [item for item in self.items if item is not None]


def done(reader: Reader) -> bool:
    return reader.state in ("ended", "failed")


def none_refused() -> None:
    raise AssertionError("a packet was refused")


CAMERA = Address.parse("cam=rtsp://me:s3cret@h.invalid/1")


def test_a_reader_tries_again_and_numbers_what_belongs_together() -> None:
    kept = Kept()
    picture = feeds.picture()
    script = feeds.Script([picture] * 3 + ["cable"], ["still dark"], [picture] * 2, began=1.0)
    reader = kept.read(CAMERA, script, retries=4)
    feeds.until(lambda: done(reader))
    assert [item and item.segment for item in kept.items] == [1, 1, 1, None, None, 2, 2, None, None, None]
    assert (reader.state, reader.connections, script.opened) == ("failed", 2, 5)
    pts = [item.pts for item in kept.pictures]
    assert pts == sorted(set(pts))
    assert reader.problem == "rtsp://h.invalid/1 is not there"


def test_it_is_given_up_after_so_many_failures_in_a_row_and_not_before() -> None:
    kept = Kept()
    steady = [feeds.picture()] * (int(STEADY / 0.04) + 2)
    script = feeds.Script(["dark"], ["dark"], steady, ["dark"], steady, began=0.0)
    reader = kept.read(CAMERA, script, retries=2)
    feeds.until(lambda: done(reader))
    assert (reader.state, reader.connections, len(kept.pictures)) == ("failed", 2, 2 * len(steady))
    assert script.opened == 7  # the last picture's end is the first failure, and two attempts more are made


def test_a_connection_that_breaks_after_some_pictures_is_no_success() -> None:
    kept = Kept()
    few = [feeds.picture()] * int(STEADY / 0.04 / 2)
    script = feeds.Script(*[few] * 9, began=0.0)
    reader = kept.read(CAMERA, script, retries=2)
    feeds.until(lambda: done(reader))
    assert (reader.state, script.opened) == ("failed", 3)


def test_a_feed_that_is_over_is_not_asked_again() -> None:
    def over(address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]:
        yield Arrival(feeds.picture(), 1.0, 0.0)

    kept = Kept()
    reader = kept.read(CAMERA, over, retries=None)
    feeds.until(lambda: done(reader))
    assert (reader.state, reader.connections, reader.problem) == ("ended", 1, None)
    assert None not in kept.items  # what waits is still analysed


@pytest.mark.parametrize(
    "other",
    [feeds.picture(width=352), feeds.picture().reformat(format="yuv420p")],
    ids=["size", "format"],
)
def test_another_kind_of_picture_in_the_same_stream_begins_a_segment(other: av.VideoFrame) -> None:
    kept = Kept()
    same = feeds.picture()
    reader = kept.read(CAMERA, feeds.Script([same, same, other, other, same], began=0.0))
    feeds.until(lambda: done(reader))
    assert [item.segment for item in kept.pictures] == [1, 1, 2, 2, 3]


def test_a_cut_begins_a_segment_also_where_frames_are_dropped_later() -> None:
    rng = np.random.default_rng(0)
    stages = [rng.integers(0, 110, (8, 10, 3), dtype=np.uint8).repeat(30, 0).repeat(32, 1) for _ in range(2)]
    one, other = (av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p") for rgb in stages)
    kept = Kept()
    reader = kept.read(CAMERA, feeds.Script([one] * 6 + [other] * 4 + [one], began=0.0))
    feeds.until(lambda: done(reader))
    assert [item.segment for item in kept.pictures] == [1] * 6 + [2] * 4 + [3]


def test_stamps_that_jump_begin_a_segment() -> None:
    def jumping(address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]:
        for n, seconds in enumerate([5.0, 5.04, 905.08, 905.12, 0.0]):
            yield Arrival(feeds.picture(), 1.0 + n * 0.04, seconds)

    kept = Kept()
    reader = kept.read(CAMERA, jumping)
    feeds.until(lambda: done(reader))
    assert [item.segment for item in kept.pictures] == [1, 1, 2, 2, 3]
    pts = [item.pts for item in kept.pictures]
    assert pts == sorted(set(pts))
    assert pts[1] - pts[0] == pts[3] - pts[2] == 3600


def test_stopping_interrupts_the_wait_for_the_next_attempt() -> None:
    reader = Reader(
        CAMERA, began=0.0, take=print, lost=lambda: None, backoff=Backoff(first=500, longest=500), opens=feeds.Script()
    )
    reader.start()
    feeds.until(lambda: reader.state == "waiting")
    reader.stop(20)
    assert reader.state == "ended"


def test_files_and_patterns_end_and_are_not_asked_again() -> None:
    kept = Kept()
    reader = kept.read(LAVFI, connect, retries=None)
    feeds.until(lambda: done(reader))
    assert (reader.state, reader.connections, len(kept.pictures)) == ("ended", 1, 10)
    assert None not in kept.items  # what waits is still analysed


def test_a_file_that_is_not_there_fails_at_once(tmp_path: Path) -> None:
    kept = Kept()
    reader = kept.read(Address.parse(str(tmp_path / "no.mp4"), realtime=True), connect, retries=None)
    feeds.until(lambda: done(reader))
    assert reader.state == "failed"
    assert "no.mp4 cannot be opened: No such file" in (reader.problem or "")


def test_a_bug_in_whoever_takes_the_pictures_is_told(recwarn: pytest.WarningsRecorder) -> None:
    def broken(fresh: Fresh) -> None:
        raise RuntimeError("rtsp://me:s3cret@h.invalid/1 is odd")

    raised: list[BaseException] = []
    hook, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_value or Exception())
    try:
        reader = Reader(CAMERA, began=0.0, take=broken, lost=lambda: None, opens=feeds.Script([feeds.picture()]))
        reader.start()
        feeds.until(lambda: bool(raised))
    finally:
        threading.excepthook = hook
    assert reader.state == "failed"
    assert reader.problem == "RuntimeError: rtsp://h.invalid/1 is odd"


def test_what_can_be_read_at_any_speed_is_given_out_at_its_own() -> None:
    clock, waited = [100.0], list[float]()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    def ready(picture: av.VideoFrame) -> None:
        clock[0] += 9.0

    arrivals = [Arrival(feeds.picture(), 0.0, stamp, True) for stamp in (7.0, 7.04, 7.08, 7.5)]
    given = []
    for arrival in paced(iter(arrivals), wait, ready, lambda: clock[0]):
        given.append(arrival.arrived)
        clock[0] += 0.01 if len(given) != 2 else 0.06  # the second one holds up the third
    # Time begins when all is ready for the first one, however long that took.
    assert given == pytest.approx([109.0, 109.04, 109.1, 109.5])
    assert waited == pytest.approx([0.03, 0.39])


@pytest.mark.parametrize("jump", [-300.0, 3600.0])
def test_the_time_of_what_was_spliced_is_set_anew_and_not_waited_for(jump: float) -> None:
    clock, waited = [100.0], list[float]()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    stamps = (7.0, 7.04, 7.08 + jump, 7.12 + jump)
    arrivals = [Arrival(feeds.picture(), 0.0, stamp, True) for stamp in stamps]
    given = [arrival.arrived for arrival in paced(iter(arrivals), wait, clock=lambda: clock[0])]
    assert given == pytest.approx([100.0, 100.04, 100.04, 100.08])
    assert waited == pytest.approx([0.04, 0.04])


def test_what_is_sent_is_passed_on_as_it_comes() -> None:
    arrivals = [Arrival(feeds.picture(), float(n), stamp) for n, stamp in enumerate((7.0, 99.0, 3.0))]

    def wait(seconds: float) -> None:
        raise AssertionError("a feed that is sent was held up")

    assert list(paced(iter(arrivals), wait)) == arrivals


# Real streams


def test_mjpeg_over_http_plays_and_its_end_is_a_loss() -> None:
    pictures = [feeds.stage(n, 320, 240) for n in range(12)]
    with feeds.serving(feeds.mjpeg(pictures)) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/video?key=s3cret"), connect)
        feeds.until(lambda: done(reader))
    assert len(kept.pictures) >= 11  # the last one's end is known only with a next one
    assert {(p.picture.width, p.picture.height) for p in kept.pictures} == {(320, 240)}
    assert reader.state == "failed"
    assert (reader.problem or "").startswith(f"http://127.0.0.1:{port}/video?key=*** ")


def test_a_server_that_stalls_without_closing_is_found_out() -> None:
    hold = threading.Event()
    pictures = [feeds.stage(n, 320, 240) for n in range(8)]
    with feeds.serving(feeds.mjpeg(pictures, then=lambda: hold.wait(30))) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/video"), connect, timeout=0.4)
        feeds.until(lambda: done(reader))
        hold.set()
    assert kept.pictures
    assert "stalled" in (reader.problem or "")


def test_the_size_may_change_in_the_middle() -> None:
    pictures = [feeds.stage(n, 320, 240) for n in range(6)] + [feeds.stage(n, 480, 360) for n in range(6)]
    with feeds.serving(feeds.mjpeg(pictures)) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/video"), connect)
        feeds.until(lambda: done(reader))
    assert [(p.picture.width, p.segment) for p in kept.pictures][:7] == [(320, 1)] * 6 + [(480, 2)]


@pytest.mark.parametrize(("status", "body"), [(200, b"\x00garbage" * 3000), (401, b"no"), (404, b"no"), (200, b"")])
def test_garbage_and_refusals_are_losses_without_secrets(status: int, body: bytes) -> None:
    with feeds.serving(feeds.answering(status, body)) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://me:s3cret@127.0.0.1:{port}/a.ts?key=k3y"), connect, timeout=2)
        feeds.until(lambda: done(reader))
    assert (reader.state, kept.pictures) == ("failed", [])
    assert f"http://127.0.0.1:{port}/a.ts?key=***" in (reader.problem or "")
    assert "s3cret" not in (reader.problem or "")
    assert "k3y" not in (reader.problem or "")


def test_nobody_there() -> None:
    address = Address.parse(f"rtsp://me:s3cret@127.0.0.1:{feeds.free_port()}/1")
    with pytest.raises(Lost, match="cannot be opened: Connection refused") as loss:
        next(connect(address, 2, none_refused))
    assert "s3cret" not in str(loss.value)


@pytest.mark.skipif(sys.platform != "linux", reason="webcams are files on Linux alone")
@pytest.mark.parametrize(("there", "words"), [((), "none"), (("video0", "video1"), "DEV/video0, DEV/video1")])
def test_a_webcam_that_is_not_there_names_those_that_are(
    there: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).touch()
    monkeypatch.setattr(source, "_DEVICES", tmp_path)
    with pytest.raises(Lost) as loss:
        next(connect(Address.parse("9734"), 2, none_refused))
    words = words.replace("DEV", str(tmp_path))
    assert str(loss.value) == f"9734: there is no webcam at /dev/video9734; there are: {words}"


SEGMENTED = {"preset": "ultrafast", "g": "25", "bf": "0"}


def as_hls(clip: Path, folder: Path, listed: int = 0) -> list[str]:
    """The clip in segments of a second; the list as it was after every segment, and finished."""
    folder.mkdir()
    place = folder / "live.m3u8"
    lists: list[str] = []
    options = {"hls_list_size": str(listed), "hls_time": "1"}
    with av.open(str(clip)) as reading, av.open(str(place), "w", format="hls", options=options) as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in reading.demux(reading.streams.video[0]):
            if packet.size:
                packet.stream = stream
                writing.mux(packet)
            text = place.read_text("utf-8") if place.exists() else ""
            if text and text not in lists:
                lists.append(text)
    return [*lists, place.read_text("utf-8")]


def test_hls_that_is_finished_is_played_once_at_its_own_speed(tmp_path: Path) -> None:
    as_hls(feeds.clip(tmp_path / "stage.mkv", 50, options=SEGMENTED), tmp_path / "hls")
    with feeds.serving(feeds.folder(tmp_path / "hls")) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/live.m3u8"), connect, retries=None)
        feeds.until(lambda: done(reader))
    assert (reader.state, reader.connections, reader.problem) == ("ended", 1, None)
    assert len(kept.pictures) == 50
    assert {item.segment for item in kept.pictures} == {1}
    stamps = [item.arrived - kept.pictures[0].arrived for item in kept.pictures]
    assert [late >= n / 25 - 0.001 for n, late in enumerate(stamps)] == [True] * 50


def test_hls_that_is_live_is_played_once_and_ends_with_its_list(tmp_path: Path) -> None:
    lists = as_hls(feeds.clip(tmp_path / "stage.mkv", 200, options=SEGMENTED), tmp_path / "hls", listed=4)
    place = tmp_path / "hls" / "live.m3u8"
    place.write_text(lists[3], "utf-8")  # four seconds are listed, three of which are to be shown
    kept = Kept()
    asked = [0]

    class Growing(feeds.folder(tmp_path / "hls")):  # type: ignore[misc]
        def do_GET(self) -> None:
            if self.path.endswith(".m3u8"):
                asked[0] += 1
                place.write_text(lists[min(len(lists) - 1, 3 + len(kept.pictures) // 25)], "utf-8")
            super().do_GET()

    with feeds.serving(Growing) as port:
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/live.m3u8"), connect, retries=None)
        feeds.until(lambda: done(reader), 40)
    assert (reader.state, reader.connections, reader.problem) == ("ended", 1, None)
    assert asked[0] > 2
    assert len(kept.pictures) == 175  # from the third segment before the end of the first list
    assert {item.segment for item in kept.pictures} == {1}


def test_a_video_on_a_web_server_is_played_once(tmp_path: Path) -> None:
    feeds.clip(tmp_path / "stage.mkv", 20)
    with feeds.serving(feeds.folder(tmp_path)) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/stage.mkv"), connect, retries=None)
        feeds.until(lambda: done(reader))
    assert (reader.state, reader.connections, len(kept.pictures)) == ("ended", 1, 20)


def test_mpeg_ts_over_udp(tmp_path: Path) -> None:
    source = feeds.clip(tmp_path / "stage.mkv", 75, options={"preset": "ultrafast", "g": "10", "bf": "0"})
    port = feeds.free_port()
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            with (
                av.open(str(source)) as reading,
                av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as writing,
            ):
                stream = writing.add_stream_from_template(reading.streams.video[0])
                for packet in reading.demux(reading.streams.video[0]):
                    if packet.size and not over.wait(0.01):
                        packet.stream = stream
                        writing.mux(packet)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    kept = Kept()
    reader = kept.read(Address.parse(f"udp://127.0.0.1:{port}"), connect, timeout=3)
    try:
        feeds.until(lambda: len(kept.pictures) >= 40)
    finally:
        over.set()
        sender.join()
        reader.stop(10)
    assert {(p.picture.width, p.picture.height) for p in kept.pictures} == {(320, 240)}


def test_udp_that_loses_every_twentieth_datagram(tmp_path: Path) -> None:
    source = feeds.clip(tmp_path / "stage.ts", 300, options={"preset": "ultrafast", "g": "10", "bf": "0"})
    stream = source.read_bytes()
    datagrams = [stream[at : at + 7 * 188] for at in range(0, len(stream), 7 * 188)]
    port = feeds.free_port(socket.SOCK_DGRAM)
    over = threading.Event()
    lost = 0
    kept = Kept()
    reader = kept.read(Address.parse(f"udp://127.0.0.1:{port}"), connect, timeout=3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for number, datagram in enumerate(itertools.cycle(datagrams)):
            if number % 20 == 19:
                lost += 1
            else:
                sending.sendto(datagram, ("127.0.0.1", port))
            if len(kept.pictures) >= 100 or done(reader) or number > 50 * len(datagrams):
                break
            over.wait(0.002)
    reader.stop(10)
    assert lost
    assert len(kept.pictures) >= 100
    assert reader.connections == 1, "damage is no reason to give a source up"
    assert {(p.picture.width, p.picture.height) for p in kept.pictures} == {(320, 240)}
    pts = [p.pts for p in kept.pictures]
    assert pts == sorted(set(pts))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp(transport: str, tmp_path: Path) -> None:
    source = feeds.clip(tmp_path / "stage.mkv", 50, options={"preset": "ultrafast", "bf": "0", "g": "10"})
    server = feeds.RtspServer(source, feeds.free_port())
    try:
        kept = Kept()
        address = Address.parse(server.url, transport="tcp" if transport == "tcp" else "udp")
        reader = kept.read(address, connect, timeout=4)
        feeds.until(lambda: len(kept.pictures) >= 40)
        feeds.until(lambda: done(reader))
    finally:
        server.kill()
    assert {(p.picture.width, p.picture.height) for p in kept.pictures} == {(320, 240)}


def test_rtsps(tmp_path: Path) -> None:
    """By TLS, with a certificate that nobody vouches for, as cameras have it."""
    source = feeds.clip(tmp_path / "stage.mkv", 50, options={"preset": "ultrafast", "bf": "0", "g": "10"})
    port = feeds.free_port()
    server = feeds.RtspServer(source, port)
    door = feeds.TlsDoor(port, Authority(tmp_path).server())
    try:
        kept = Kept()
        reader = kept.read(Address.parse(f"cam=rtsps://127.0.0.1:{door.port}/stage"), connect, timeout=4)
        feeds.until(lambda: len(kept.pictures) >= 40)
        feeds.until(lambda: done(reader))
    finally:
        door.close()
        server.kill()
    assert {(p.picture.width, p.picture.height) for p in kept.pictures} == {(320, 240)}


def test_an_rtsp_server_is_killed_and_comes_back_with_another_size(tmp_path: Path) -> None:
    # Long enough that the server is killed while it plays.
    options = {"preset": "ultrafast", "bf": "0", "g": "10"}
    small = feeds.clip(tmp_path / "small.mkv", 500, options=options)
    large = feeds.clip(tmp_path / "large.mkv", 50, 480, 360, options=options)
    port = feeds.free_port()
    server = feeds.RtspServer(small, port)
    kept = Kept()
    reader = kept.read(Address.parse(server.url), connect, retries=None, timeout=3)
    try:
        feeds.until(lambda: len(kept.pictures) >= 10)
        server.kill()
        feeds.until(lambda: reader.state == "waiting")
        server = feeds.RtspServer(large, port)
        feeds.until(lambda: any(p.picture.width == 480 for p in kept.pictures))
    finally:
        reader.stop(10)
        server.kill()
    assert None in kept.items
    assert (kept.pictures[0].picture.width, kept.pictures[0].segment) == (320, 1)
    assert {p.picture.width for p in kept.pictures if p.segment == kept.pictures[-1].segment} == {480}
    assert reader.connections >= 2
    pts = [p.pts for p in kept.pictures]
    assert pts == sorted(set(pts))
