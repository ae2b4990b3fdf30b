"""Whole runs on scripted feeds: what is handed out, what is dropped, and what is left at the end."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import av
import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, OutputError
from stream.frames import TrackVerdict
from stream.label import record_header
from stream.live.address import Address
from stream.live.outputs import Output, Seen
from stream.live.record import Record
from stream.live.run import Live, LiveSettings, frames
from stream.live.source import Connect
from stream.tracklines import decode
from stream.tracks import Tracks, read
from tests.stream.live import feeds

PATIENT = LiveSettings(max_staleness=60, retries=0)
"""For runs in which no frame may be lost to a busy machine."""


class Kept:
    """An output that keeps everything, and may do something when a frame comes."""

    draws = False

    def __init__(self, on_frame: threading.Semaphore | None = None) -> None:
        self.seen: list[Seen] = []
        self.verdicts: list[TrackVerdict] = []
        self.dropped: Mapping[str, int] | None = None
        self._on_frame = on_frame

    def frame(self, seen: Seen) -> None:
        self.seen.append(seen)
        if self._on_frame is not None:
            self._on_frame.release()

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        self.verdicts += verdicts

    def close(self, dropped: Mapping[str, int]) -> None:
        assert self.dropped is None, "closed twice"
        self.dropped = dropped

    @property
    def names(self) -> list[list[str | None]]:
        return [
            [face.name for face in sorted(seen.labelled.faces, key=lambda f: float(f.box[0]))] for seen in self.seen
        ]


def lockstep(pictures: Sequence[av.VideoFrame | str], analysed: threading.Semaphore) -> list[feeds.Step]:
    """A connection on which every picture waits until the one before has been analysed."""
    steps: list[feeds.Step] = []
    for picture in pictures:
        steps.append(picture)
        if not isinstance(picture, str):
            steps.append(lambda: analysed.acquire(timeout=20))
    return steps


def cameras(*names: str) -> list[Address]:
    return [Address.parse(f"{name}=rtsp://me:s3cret@{name}.invalid/1") for name in names]


def test_every_frame_is_named_and_accounted_for_when_there_is_time(detector: Detector, embedder: Embedder) -> None:
    analysed = threading.Semaphore(0)
    kept = Kept(analysed)
    script = feeds.Script(lockstep([feeds.picture([feeds.ANN, feeds.SOMEBODY])] * 12, analysed))
    gallery = feeds.gallery_of(embedder, "ann")
    live = Live(cameras("a"), detector, embedder, gallery, PATIENT, [[kept]], opens=script)
    with pytest.raises(InputError, match=r"a\.invalid/1 (ended|is not there)"), live:
        assert live.wait(30)
    assert kept.names == [["ann", None]] * 12
    assert [seen.labelled.frame.index for seen in kept.seen] == list(range(12))
    assert (live.cameras[0].room.tally.came, kept.dropped) == (12, {})
    assert {verdict.name for verdict in kept.verdicts} == {"ann", None}


def test_under_overload_frames_are_dropped_by_cause_and_the_sum_is_exact(detector: Detector) -> None:
    gate = threading.Event()

    class Slow(Kept):
        def frame(self, seen: Seen) -> None:
            super().frame(seen)
            gate.wait(20)

    kept = Slow()
    steps: list[feeds.Step] = [feeds.picture()]
    steps.append(lambda: feeds.until(lambda: len(kept.seen) == 1))
    steps += [feeds.picture()] * 9
    steps.append(gate.set)
    steps.append(lambda: feeds.until(lambda: len(kept.seen) == 2))
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[kept]], opens=feeds.Script(steps))
    with pytest.raises(InputError), live:
        live.wait(30)
    tally = live.cameras[0].room.tally
    assert (tally.came, tally.went, tally.as_dict()) == (10, 2, {"superseded": 8})
    assert kept.dropped == {"superseded": 8}
    # The freshest of those that came meanwhile.
    assert [seen.labelled.frame.pts for seen in kept.seen] == sorted(seen.labelled.frame.pts for seen in kept.seen)


def test_frames_that_waited_too_long_are_stale(detector: Detector) -> None:
    # Scripted arrivals lie an hour back.
    script = feeds.Script([feeds.picture()] * 3, began=-3600.0)
    kept = Kept()
    live = Live(cameras("a"), detector, settings=LiveSettings(retries=0), outputs=[[kept]], opens=script)
    with pytest.raises(InputError), live:
        live.wait(30)
    tally = live.cameras[0].room.tally
    assert (tally.came, tally.went, kept.seen) == (3, 0, [])
    assert tally.dropped == 3


def test_a_camera_that_gives_nothing_does_not_hold_the_others(detector: Detector) -> None:
    analysed, never = threading.Semaphore(0), threading.Event()
    quick, silent = Kept(analysed), Kept()
    opens: Connect = feeds.by_address(
        quick=feeds.Script(lockstep([feeds.picture()] * 10, analysed)),
        silent=feeds.Script([lambda: never.wait(30)]),
    )
    live = Live(cameras("silent", "quick"), detector, settings=PATIENT, outputs=[[silent], [quick]], opens=opens)
    live.start()
    feeds.until(lambda: len(quick.seen) == 10)
    never.set()
    assert live.wait(30)
    with pytest.raises(InputError, match="silent"):  # in the end, both are gone
        live.stop()
    assert silent.seen == []


def test_cameras_that_all_have_frames_take_turns(detector: Detector) -> None:
    order: list[str] = []
    both = threading.Barrier(2)

    class Named(Kept):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def frame(self, seen: Seen) -> None:
            super().frame(seen)
            order.append(self.name)
            # Each goes on when both have a frame again.
            feeds.until(lambda: len(order) % 2 == 0 or live.cameras[self.name == "a"].room.waiting == 1)

    def feed(kept: Named) -> list[feeds.Step]:
        steps: list[feeds.Step] = []
        for n in range(6):
            steps.append(lambda: both.wait(20))
            steps.append(feeds.picture())
            steps.append(lambda n=n: feeds.until(lambda: len(kept.seen) == n + 1))  # type: ignore[misc]
        return steps

    a, b = Named("a"), Named("b")
    opens = feeds.by_address(a=feeds.Script(feed(a)), b=feeds.Script(feed(b)))
    live = Live(cameras("a", "b"), detector, settings=PATIENT, outputs=[[a], [b]], opens=opens)
    with pytest.raises(InputError), live:
        live.wait(60)
    assert sorted(order) == ["a"] * 6 + ["b"] * 6
    assert all({order[n], order[n + 1]} == {"a", "b"} for n in range(0, 12, 2))


def recorded(
    tmp_path: Path, detector: Detector, embedder: Embedder, *connections: Sequence[av.VideoFrame | str]
) -> Path:
    """The record of a feed with these connections."""
    analysed = threading.Semaphore(0)
    path = tmp_path / "cam.tracks.jsonl"
    gallery = feeds.gallery_of(embedder, "ann")
    record = Record(str(path), lambda info: record_header(info, detector, embedder, gallery))
    script = feeds.Script(*[lockstep(each, analysed) for each in connections])
    outputs: list[list[Output]] = [[record, Kept(analysed)]]
    settings = LiveSettings(max_staleness=60, retries=1)
    live = Live(cameras("a"), detector, embedder, gallery, settings, outputs, opens=script)
    for camera in live.cameras:
        camera.reader._backoff._first = camera.reader._backoff._longest = 0.01
    with pytest.raises(InputError), live:
        live.wait(30)
    return path


def tracks_of(record: Tracks, start: int, end: int) -> set[int]:
    return {face.track for frame in record.frames[start:end] for face in frame.faces}


def test_tracks_end_at_a_gap_and_the_record_is_whole(tmp_path: Path, detector: Detector, embedder: Embedder) -> None:
    picture = feeds.picture([feeds.ANN, feeds.SOMEBODY])
    path = recorded(tmp_path, detector, embedder, [picture] * 5 + ["the cable is out"], [picture] * 5)
    record = read(path)
    assert len(record.frames) == 10
    assert record.summary is not None
    before, after = tracks_of(record, 0, 5), tracks_of(record, 5, 10)
    assert len(before) == len(after) == 2
    assert before.isdisjoint(after)
    assert {verdict.track for verdict in record.tracks} == before | after
    assert record.frames[4].shot < record.frames[5].shot
    assert "s3cret" not in path.read_text("utf-8")
    assert record.header.path == "rtsp://a.invalid/1"


def test_tracks_end_when_the_feed_is_lost_not_when_it_comes_back(detector: Detector) -> None:
    analysed, never = threading.Semaphore(0), threading.Event()
    kept = Kept(analysed)
    script = feeds.Script([*lockstep([feeds.picture()] * 3, analysed), "the cable is out"], [lambda: never.wait(60)])
    live = Live(cameras("a"), detector, settings=LiveSettings(60, retries=9), outputs=[[kept]], opens=script)
    with live:
        feeds.until(lambda: len(kept.verdicts) == 1)
        assert kept.verdicts[0].frames == 3
        assert live.cameras[0].room.tally.came == 3
    never.set()


def test_pictures_of_another_size_get_a_record_of_their_own(
    tmp_path: Path, detector: Detector, embedder: Embedder
) -> None:
    small, large = feeds.picture([feeds.ANN]), feeds.picture([feeds.ANN], 480, 360)
    recorded(tmp_path, detector, embedder, [small] * 4 + [large] * 3 + [small] * 2)
    found = [read(tmp_path / f"cam{n}.tracks.jsonl") for n in ("", "-2", "-3")]
    assert [(r.header.width, len(r.frames)) for r in found] == [(320, 4), (480, 3), (320, 2)]
    for record in found:
        assert record.summary is not None
        assert [verdict.name for verdict in record.tracks] == ["ann"]
        assert [frame.index for frame in record.frames] == list(range(len(record.frames)))


def test_a_record_can_be_followed_on_a_stream(detector: Detector) -> None:
    analysed, stream = threading.Semaphore(0), BytesIO()
    record = Record(stream, lambda info: record_header(info, detector, None, None))
    script = feeds.Script(lockstep([feeds.picture()] * 3 + [feeds.picture(width=352)] * 2, analysed))
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[record, Kept(analysed)]], opens=script)
    with pytest.raises(InputError), live:
        live.wait(30)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(decode(line) is not None for line in lines)
    assert [line["type"] for line in lines] == (
        ["header"] + ["frame"] * 3 + ["track", "summary"] + ["header"] + ["frame"] * 2 + ["track", "summary"]
    )


def test_an_output_that_fails_ends_the_run_and_the_others_are_closed(detector: Detector) -> None:
    class Full(Kept):
        def frame(self, seen: Seen) -> None:
            raise OutputError("the disk is full")

    first, kept, never = Full(), Kept(), threading.Event()
    script = feeds.Script([feeds.picture(), lambda: never.wait(60)])
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[first, kept]], opens=script)
    with pytest.raises(OutputError, match="the disk is full"), live:
        assert live.wait(30)
    never.set()
    assert first.dropped is not None
    assert kept.dropped is not None


def test_stopping_a_run_whose_feed_hangs(detector: Detector) -> None:
    never = threading.Event()
    kept = Kept()
    script = feeds.Script([feeds.picture(), lambda: never.wait(60)])
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[kept]], opens=script)
    with live:
        feeds.until(lambda: len(kept.seen) == 1)
    assert kept.dropped is not None
    assert not never.is_set()  # the reader still hangs, and the run has ended all the same
    never.set()


def test_frames_for_python(detector: Detector, embedder: Embedder) -> None:
    analysed = threading.Semaphore(0)
    script = feeds.Script(lockstep([feeds.picture()] * 5, analysed))
    gallery = feeds.gallery_of(embedder, "ann")
    found = []

    def watch() -> None:
        (address,) = cameras("a")
        for seen in frames(address, gallery, detector=detector, embedder=embedder, settings=PATIENT, opens=script):
            found.append([face.name for face in seen.labelled.faces])
            analysed.release()

    with pytest.raises(InputError):
        watch()
    assert found == [["ann"]] * 5


def test_frames_can_be_left_early(detector: Detector) -> None:
    threads, left = threading.active_count(), threading.Event()
    opens = feeds.Script([feeds.picture(), lambda: left.wait(30)])
    for seen in frames(cameras("a")[0], detector=detector, settings=PATIENT, opens=opens):
        assert seen.labelled.faces
        break
    left.set()
    feeds.until(lambda: threading.active_count() == threads)
