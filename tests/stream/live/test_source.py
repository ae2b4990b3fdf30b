"""Reading feeds: scripted ones for what a reader decides, real ones on the loopback for what FFmpeg makes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from stream.live.address import Address
from stream.live.reconnect import Backoff
from stream.live.source import Arrival, Connect, Fresh, Lost, Reader, connect, paced
from tests.stream.live import feeds

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
    reader = kept.read(CAMERA, script, retries=2)
    feeds.until(lambda: done(reader))
    assert [item and item.segment for item in kept.items] == [1, 1, 1, None, None, 2, 2, None, None, None]
    assert (reader.state, reader.connections, script.opened) == ("failed", 2, 5)
    pts = [item.pts for item in kept.pictures]
    assert pts == sorted(set(pts))
    assert reader.problem == "rtsp://h.invalid/1 is not there"


def test_it_is_given_up_after_so_many_failures_in_a_row_and_not_before() -> None:
    kept = Kept()
    picture = feeds.picture()
    script = feeds.Script(["dark"], ["dark"], [picture], ["dark"], [picture], began=0.0)
    reader = kept.read(CAMERA, script, retries=2)
    feeds.until(lambda: done(reader))
    assert (reader.state, reader.connections, len(kept.pictures)) == ("failed", 2, 2)
    assert script.opened == 7  # the last picture's end is the first failure, and two attempts more are made


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

    arrivals = [Arrival(feeds.picture(), 0.0, stamp) for stamp in (7.0, 7.04, 7.08, 7.5)]
    given = []
    for arrival in paced(iter(arrivals), wait, lambda: clock[0]):
        given.append(arrival.arrived)
        clock[0] += 0.01 if len(given) != 2 else 0.06  # the second one holds up the third
    # Time begins when the first one has been taken, however long that took.
    assert given == pytest.approx([100.0, 100.05, 100.11, 100.51])
    assert waited == pytest.approx([0.04, 0.39])


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


def test_hls(tmp_path: Path) -> None:
    source = feeds.clip(tmp_path / "stage.mkv", 50)
    (tmp_path / "hls").mkdir()
    with (
        av.open(str(source)) as reading,
        av.open(str(tmp_path / "hls" / "live.m3u8"), "w", format="hls", options={"hls_list_size": "0"}) as writing,
    ):
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in reading.demux(reading.streams.video[0]):
            if packet.size:
                packet.stream = stream
                writing.mux(packet)
    with feeds.serving(feeds.folder(tmp_path / "hls")) as port:
        kept = Kept()
        reader = kept.read(Address.parse(f"http://127.0.0.1:{port}/live.m3u8"), connect)
        feeds.until(lambda: done(reader))
    assert len(kept.pictures) == 50


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
