"""Whole runs on scripted feeds: what is handed out, what is dropped, and what is left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, closing
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, OutputError
from engine.gallery import Gallery
from stream.frames import TrackVerdict
from stream.label import record_header
from stream.live.address import Address
from stream.live.analysis import LiveAnalyser
from stream.live.meter import exposition
from stream.live.outputs import Health, Output, Seen
from stream.live.record import Record
from stream.live.report import camera_state, metrics
from stream.live.run import Live, LiveSettings, aframes, frames
from stream.live.source import Connect
from stream.live.timeline import JUMP
from stream.pictures import coarse_rgb
from stream.shots import GRID, ShotDetector, glance
from stream.tracklines import decode
from stream.tracks import Tracks, read
from tests import networks
from tests.signals import interrupting
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


TOGETHER = LiveSettings(max_staleness=60, retries=0, batch_wait=0.001)
"""For runs in which frames of several cameras are looked at together."""


def run_in_rounds(
    detector: Detector,
    embedder: Embedder,
    settings: LiveSettings,
    pictures: Mapping[str, Sequence[av.VideoFrame]],
    outputs: Sequence[Kept],
) -> Live:
    """Every camera with its pictures: all give their next one when all of theirs have been looked at. From the second
    on each waits, however long, until all are there."""
    barrier = threading.Barrier(len(pictures))

    def wait_for_all() -> None:
        if live._gatherer.most > 1:
            live._gatherer.wait = 60.0

    def script(own: Sequence[av.VideoFrame]) -> feeds.Script:
        steps: list[feeds.Step] = []
        for number, picture in enumerate(own, 1):
            steps.append(lambda: barrier.wait(120))
            steps.append(picture)
            steps.append(lambda n=number: feeds.until(lambda: all(len(kept.seen) == n for kept in outputs), 120))  # type: ignore[misc]
            steps.append(wait_for_all)
        return feeds.Script(steps)

    gallery = feeds.gallery_of(embedder, "ann", "ben", "cho")
    opens = feeds.by_address(**{name: script(own) for name, own in pictures.items()})
    live = Live(cameras(*pictures), detector, embedder, gallery, settings, [[kept] for kept in outputs], opens=opens)
    with pytest.raises(InputError), live:
        live.wait(300)
    return live


def test_frames_of_several_cameras_are_looked_at_in_one_inference(detector: Detector, embedder: Embedder) -> None:
    counts = []

    class Counted(Kept):
        def frame(self, seen: Seen) -> None:
            counts.append((detector.looks.inferences, detector.looks.items))
            super().frame(seen)

    # Pictures of two sizes that are one to the detector, and of one that is another.
    sizes = {"a": (320, 240), "b": (640, 480), "c": (320, 320)}
    kept = [Counted() for _ in sizes]
    scenes = {name: [feeds.picture([feeds.ANN], *size)] * 6 for name, size in sizes.items()}
    live = run_in_rounds(detector, embedder, TOGETHER, scenes, kept)
    assert [each.names for each in kept] == [[["ann"]] * 6] * 3
    # The first frames come while the networks are made ready; from then on two inferences, one with two pictures.
    steady = counts[3::3]
    assert [(i - j, n - m) for (j, m), (i, n) in pairwise(steady)] == [(2, 3)] * 4
    for camera in live.cameras:
        assert (camera.room.tally.came, camera.room.tally.went, camera.room.tally.dropped) == (6, 6, 0)
    assert 6 <= live.looks <= 3 + 5
    assert f"iznet_looks_total {live.looks}" in exposition(metrics(live))


def test_what_is_found_does_not_depend_on_what_is_looked_at_together(tmp_path: Path, embedder: Embedder) -> None:
    coarse = networks.write_detector(tmp_path / "coarse.onnx", {"iznet.coarse": "192"})
    rng = np.random.default_rng(11)

    def scene() -> feeds.People:
        people = []
        for name in rng.permutation(list(networks.PEOPLE))[: rng.integers(0, 4)]:
            x, y, side = rng.integers(0, 240), rng.integers(0, 180), rng.integers(24, 220)
            people.append(((int(x), int(y), int(x + side), int(y + side)), networks.PEOPLE[name]))
        return people

    scenes = {name: [feeds.picture(scene()) for _ in range(8)] for name in "abc"}
    found = []
    for settings in (TOGETHER, PATIENT):
        with closing(Detector.open(coarse, threads=1)) as opened:
            kept = [Kept() for _ in scenes]
            run_in_rounds(opened, embedder, settings, scenes, kept)
            together = opened.looks.items - opened.looks.inferences
            # Two of three in each round but the first, and of each of three rehearsals of three.
            assert together >= 7 * 2 + 3 * (1 + 2) if settings is TOGETHER else together == 0
        found.append([[told(seen) for seen in each.seen] for each in kept])
    assert found[0] == found[1]
    assert any(faces for each in found[0] for faces in each)


def told(seen: Seen) -> list[tuple[int, str | None, list[float], float]]:
    """What is said of a frame."""
    faces = sorted(seen.labelled.faces, key=lambda face: face.track)
    return [(f.track, f.name, [round(v, 3) for v in f.box.tolist()], round(f.score, 4)) for f in faces]


def test_a_camera_that_stalls_holds_nobody_for_longer_than_frames_are_held_back(detector: Detector) -> None:
    rng = np.random.default_rng(7)
    analysed, never = threading.Semaphore(0), threading.Event()
    quick, stalled = Kept(analysed), Kept()
    before = int(rng.integers(1, 4))  # so many pictures, then none, and the connection stays up
    opens: Connect = feeds.by_address(
        stalled=feeds.Script([*[feeds.picture()] * before, lambda: never.wait(60)]),
        quick=feeds.Script(lockstep([feeds.picture()] * 20, analysed)),
    )
    settings = LiveSettings(max_staleness=60, retries=0, batch_wait=0.005)
    live = Live(cameras("stalled", "quick"), detector, settings=settings, outputs=[[stalled], [quick]], opens=opens)
    live.start()
    feeds.until(lambda: len(quick.seen) == 20)
    tally = live.cameras[0].room.tally
    assert (tally.came, tally.went + tally.dropped) == (before, before)
    assert [seen.labelled.frame.index for seen in quick.seen] == list(range(20))
    never.set()
    assert live.wait(30)
    with pytest.raises(InputError):
        live.stop()


def test_under_overload_several_cameras_are_accounted_for_exactly_and_in_order(detector: Detector) -> None:
    gate = threading.Semaphore(0)
    counts = {"a": 40, "b": 17, "c": 3}

    class Slow(Kept):
        def frame(self, seen: Seen) -> None:
            super().frame(seen)
            gate.acquire(timeout=0.002)  # slower than they come

    kept = [Slow() for _ in counts]
    opens = feeds.by_address(**{name: feeds.Script([feeds.picture()] * number) for name, number in counts.items()})
    settings = LiveSettings(max_staleness=60, retries=0, batch_wait=0.003)
    live = Live(cameras(*counts), detector, settings=settings, outputs=[[each] for each in kept], opens=opens)
    with pytest.raises(InputError), live:
        live.wait(60)
    for each, camera, number in zip(kept, live.cameras, counts.values(), strict=True):
        tally = camera.room.tally
        assert tally.came == number
        assert tally.went + tally.dropped == number
        assert tally.went == len(each.seen)
        assert each.dropped == tally.as_dict()
        times = [seen.labelled.frame.pts for seen in each.seen]
        assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("wait", "device", "sources", "most"),
    [(None, "cpu", 3, 1), (None, "gpu", 3, 3), (0.0, "gpu", 3, 1), (0.01, "cpu", 20, 8), (0.01, "cpu", 1, 1)],
)
def test_how_many_are_looked_at_together(
    wait: float | None, device: str, sources: int, most: int, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "device", device)
    names = [f"c{number}" for number in range(sources)]
    live = Live(cameras(*names), detector, settings=LiveSettings(batch_wait=wait))
    assert live._gatherer.most == most


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


def test_dropped_frames_stand_in_the_record_of_their_size(tmp_path: Path, detector: Detector) -> None:
    small, large = feeds.picture(), feeds.picture(width=480, height=360)
    path, kept = tmp_path / "cam.tracks.jsonl", Kept()
    record = Record(str(path), lambda info: record_header(info, detector, None, None))
    busy = threading.Event()

    def seen(count: int) -> Callable[[], None]:
        return lambda: feeds.until(lambda: len(kept.seen) == count)

    class Slow(Kept):
        """Holds the analysis up at the first frame, and at the third."""

        def frame(self, seen: Seen) -> None:
            kept.frame(seen)
            if len(kept.seen) in (1, 3):
                busy.wait(20)
                busy.clear()

    steps: list[feeds.Step] = [small, seen(1), *[small] * 3, busy.set, seen(2)]  # two dropped, and one seen
    steps += [large, seen(3), *[large] * 5, busy.set, seen(4)]  # four dropped
    outputs: list[list[Output]] = [[record, Slow()]]
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=outputs, opens=feeds.Script(steps))
    with pytest.raises(InputError), live:
        live.wait(30)
    summaries = [read(tmp_path / f"cam{n}.tracks.jsonl").summary for n in ("", "-2")]
    assert [(s.frames, s.dropped) for s in summaries if s is not None] == [
        (2, {"superseded": 2}),
        (2, {"superseded": 4}),
    ]
    assert live.cameras[0].room.tally.as_dict() == {"superseded": 6}


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


class Told(Kept):
    """An output whose state people are told."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.health = Health(name)


class Full(Kept):
    """An output whose disk is full from the second frame on."""

    def __init__(self, name: str = "full.mkv") -> None:
        super().__init__()
        self.health = Health(name)
        self.closed = 0

    def frame(self, seen: Seen) -> None:
        super().frame(seen)
        if len(self.seen) > 1:
            raise OutputError("full.mkv: the disk is full")

    def close(self, dropped: Mapping[str, int]) -> None:
        self.closed += 1
        raise OutputError("full.mkv: the disk is still full")


def test_an_output_that_fails_is_left_out_and_told_and_nothing_else_suffers(detector: Detector) -> None:
    analysed, others = threading.Semaphore(0), threading.Semaphore(0)
    full, kept, far = Full(), Kept(analysed), Kept(others)
    opens = feeds.by_address(
        a=feeds.Script(lockstep([feeds.picture()] * 5, analysed)),
        b=feeds.Script(lockstep([feeds.picture()] * 8, others)),
    )
    live = Live(cameras("a", "b"), detector, settings=PATIENT, outputs=[[full, kept], [far]], opens=opens)
    (state,) = camera_state(live.cameras[0], 0.0)["outputs"]
    assert state == {"name": "full.mkv", "state": "not begun", "problem": None}
    assert 'iznet_output_up{camera="a",output="full.mkv"} 0' in exposition(metrics(live))
    live.start()
    feeds.until(lambda: len(kept.seen) == 5)
    (state,) = camera_state(live.cameras[0], 0.0)["outputs"]
    assert state == {"name": "full.mkv", "state": "failed", "problem": "full.mkv: the disk is full"}
    assert 'iznet_output_up{camera="a",output="full.mkv"} 0' in exposition(metrics(live))
    assert live.wait(30)
    with pytest.raises(OutputError, match=r"full\.mkv: the disk is full") as failure:
        live.stop()
    assert failure.value.exit_code == 5
    assert (len(full.seen), full.closed) == (2, 1)
    assert (len(kept.seen), len(far.seen)) == (5, 8)
    assert kept.dropped == {}
    assert "a.invalid" in str(failure.value)  # the feeds that were given up are told as well


def test_whoever_interrupts_the_end_of_a_run_gets_it_whole(detector: Detector) -> None:
    class Slow(Kept):
        def close(self, dropped: Mapping[str, int]) -> None:
            if self.dropped is None:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)  # told in the main thread, which waits for this
                    time.sleep(0.1)
                super().close(dropped)
            raise OutputError("slow.mkv: the disk is full")

    analysed = threading.Semaphore(0)
    slow = Slow(analysed)
    script = feeds.Script(lockstep([feeds.picture()] * 2, analysed))
    live = Live(cameras("a"), detector, settings=LiveSettings(60), outputs=[[slow]], opens=script)
    with interrupting():
        live.start()
        feeds.until(lambda: len(slow.seen) == 2)
        with pytest.raises(OutputError, match="the disk is full"):
            live.stop()
    assert slow.dropped is not None
    assert not live.alive


def test_the_outputs_of_a_source_that_never_came_are_counted_as_down(detector: Detector) -> None:
    analysed, never = threading.Semaphore(0), threading.Event()
    opens = feeds.by_address(
        here=feeds.Script([*lockstep([feeds.picture()], analysed), lambda: never.wait(60)]), gone=feeds.Script()
    )
    here, gone = Kept(analysed), Kept()
    outputs = [[Told("here.mkv"), here], [Told("gone.mkv"), gone]]
    live = Live(cameras("here", "gone"), detector, settings=LiveSettings(60), outputs=outputs, opens=opens)
    with live:
        feeds.until(lambda: len(here.seen) == 1)
        told = exposition(metrics(live))
        assert 'iznet_output_up{camera="here",output="here.mkv"} 1' in told
        assert 'iznet_output_up{camera="gone",output="gone.mkv"} 0' in told
        assert 'iznet_up{camera="gone"} 0' in told
        never.set()


def test_a_run_whose_last_output_has_failed_ends(detector: Detector) -> None:
    never, full = threading.Event(), Full()
    picture = feeds.picture()
    script = feeds.Script([picture, lambda: feeds.until(lambda: bool(full.seen)), picture, lambda: never.wait(60)])
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[full]], opens=script)
    with pytest.raises(OutputError, match="the disk is full"), live:
        assert live.wait(30)
    never.set()


def test_a_bug_in_an_output_is_no_failure_to_live_with(detector: Detector) -> None:
    class Buggy(Kept):
        def frame(self, seen: Seen) -> None:
            raise KeyError("a bug")

    kept, never = Kept(), threading.Event()
    script = feeds.Script([feeds.picture(), lambda: never.wait(60)])
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[Buggy(), kept]], opens=script)
    with pytest.raises(KeyError, match="a bug"), live:
        assert live.wait(30)
    never.set()
    assert kept.dropped is not None


def test_a_file_keeps_its_tracks_from_the_first_frame_on_however_long_the_networks_take(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = LiveAnalyser._prepare

    def slow(self: LiveAnalyser, gallery: Gallery | None) -> None:
        time.sleep(1.5 * JUMP)
        quick(self, gallery)

    monkeypatch.setattr(LiveAnalyser, "_prepare", slow)
    kept = Kept()
    address = Address.parse(str(feeds.clip(tmp_path / "stage.mkv", 10)), realtime=True)
    with Live([address], detector, settings=PATIENT, outputs=[[kept]]) as live:
        assert live.wait(30)
    assert len(kept.seen) > 1
    assert len({face.track for seen in kept.seen for face in seen.labelled.faces}) == 2
    assert {seen.labelled.frame.shot for seen in kept.seen} == {0}


def test_making_ready_for_one_camera_does_not_hold_the_others(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, go = LiveAnalyser._prepare, threading.Event()

    def slow(self: LiveAnalyser, gallery: Gallery | None) -> None:
        if self._info.width == 352:
            go.wait(30)
        quick(self, gallery)

    monkeypatch.setattr(LiveAnalyser, "_prepare", slow)
    analysed, others = threading.Semaphore(0), threading.Semaphore(0)
    large, small = Kept(others), Kept(analysed)
    opens = feeds.by_address(
        a=feeds.Script(lockstep([feeds.picture(width=352)] * 3, others)),
        b=feeds.Script(lockstep([feeds.picture()] * 8, analysed)),
    )
    live = Live(cameras("a", "b"), detector, settings=PATIENT, outputs=[[large], [small]], opens=opens)
    live.start()
    feeds.until(lambda: len(small.seen) == 8)
    assert large.seen == []
    go.set()
    assert live.wait(30)
    assert len(large.seen) == 3
    with pytest.raises(InputError):
        live.stop()


def test_a_camera_that_pans_makes_no_cut_however_many_frames_are_dropped(detector: Detector) -> None:
    cells = np.random.default_rng(3).integers(0, 110, (12, 60, 3), dtype=np.uint8)
    wall = np.asarray(cv2.resize(cells, (1920, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    wall = np.minimum(wall, 110)

    def at(step: int) -> av.VideoFrame:
        rgb = np.ascontiguousarray(wall[:, 8 * step : 8 * step + 320])
        networks.paint(rgb, *feeds.ANN)
        return av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv444p")

    sparse = ShotDetector(delay=0)
    looks = [glance(coarse_rgb(at(step), *GRID)) for step in range(0, 121, 12)]
    assert any(cut for look in looks for cut in sparse.push(look)), "too slow a pan to tell anything"

    kept, hold = Kept(), threading.Semaphore(0)

    class Slow(Kept):
        def frame(self, seen: Seen) -> None:
            kept.frame(seen)
            hold.acquire(timeout=20)

    def seen(count: int) -> Callable[[], None]:
        return lambda: feeds.until(lambda: len(kept.seen) == count)

    steps: list[feeds.Step] = [at(0), seen(1)]
    for look in range(1, 11):  # the last of twelve is looked at
        steps += [*(at(step) for step in range(12 * look - 11, 12 * look + 1)), hold.release, seen(look + 1)]
    steps.append(hold.release)
    live = Live(cameras("a"), detector, settings=PATIENT, outputs=[[Slow()]], opens=feeds.Script(steps))
    with pytest.raises(InputError), live:
        live.wait(60)
    assert live.cameras[0].room.tally.as_dict() == {"superseded": 110}
    assert [[face.track for face in seen.labelled.faces] for seen in kept.seen] == [[0]] * 11


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


def test_frames_open_the_networks_of_videos(
    detector: Detector, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def instead_of(network: Detector | Embedder) -> Callable[..., Detector | Embedder]:
        def opens(**options: bool) -> Detector | Embedder:
            opened.append((network, options))
            return network

        return opens

    monkeypatch.setattr(Detector, "open", instead_of(detector))
    monkeypatch.setattr(Embedder, "open", instead_of(embedder))
    script = feeds.Script([feeds.picture()])
    with pytest.raises(InputError):
        list(frames(cameras("a")[0], feeds.gallery_of(embedder, "ann"), settings=PATIENT, opens=script))
    assert opened == [(detector, {"video": True}), (embedder, {"video": True})]


def test_frames_refuse_a_gallery_of_another_embedder(detector: Detector, embedder: Embedder) -> None:
    other = Gallery.build({"zoe": np.eye(1, 64, dtype=np.float32)}, "another embedder", 0.5)
    with pytest.raises(InputError, match=r"another.*enroll PHOTOS -o GALLERY --overwrite"):
        next(iter(frames(cameras("a")[0], other, detector=detector, embedder=embedder)))


def test_frames_for_asyncio(detector: Detector, embedder: Embedder) -> None:
    analysed = threading.Semaphore(0)
    script = feeds.Script(lockstep([feeds.picture()] * 5, analysed))
    gallery = feeds.gallery_of(embedder, "ann")
    found, beats = [], 0

    async def watch() -> None:
        nonlocal beats

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.001)

        beating = asyncio.create_task(beat())
        (address,) = cameras("a")
        feed = aframes(address, gallery, detector=detector, embedder=embedder, settings=PATIENT, opens=script)
        try:
            async with aclosing(feed):
                async for seen in feed:
                    found.append([face.name for face in seen.labelled.faces])
                    analysed.release()
        finally:
            beating.cancel()

    with pytest.raises(InputError):
        asyncio.run(watch())
    assert found == [["ann"]] * 5
    assert beats > 5  # the loop went on meanwhile


def test_waiting_for_a_frame_can_be_cancelled(detector: Detector) -> None:
    before, never = set(threading.enumerate()), threading.Event()
    shown = asyncio.Event()
    opens = feeds.Script([feeds.picture(), lambda: never.wait(60)])

    async def watch() -> None:
        feed = aframes(cameras("a")[0], detector=detector, settings=PATIENT, opens=opens)
        async with aclosing(feed):
            async for _ in feed:
                shown.set()

    async def leave() -> None:
        watching = asyncio.create_task(watch())
        await shown.wait()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    asyncio.run(leave())
    never.set()
    feeds.until(lambda: set(threading.enumerate()) <= before)


def test_frames_can_be_left_early(detector: Detector) -> None:
    before, left = set(threading.enumerate()), threading.Event()
    opens = feeds.Script([feeds.picture(), lambda: left.wait(30)])
    for seen in frames(cameras("a")[0], detector=detector, settings=PATIENT, opens=opens):
        assert seen.labelled.faces
        break
    left.set()
    feeds.until(lambda: set(threading.enumerate()) <= before)


def test_a_camera_that_cannot_end_leaves_no_output_open_and_no_reader_behind(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stream.live.camera import Camera

    analysed, end = threading.Semaphore(0), Camera.end

    def broken(self: Camera) -> None:
        end(self)
        if self.number == 0:
            raise RuntimeError("half changed")

    monkeypatch.setattr(Camera, "end", broken)
    kept = [Kept(analysed), Kept(analysed)]
    script = feeds.Script(lockstep([feeds.picture()] * 2, analysed))
    live = Live(cameras("a", "b"), detector, settings=LiveSettings(60), outputs=[[each] for each in kept], opens=script)
    live.start()
    feeds.until(lambda: sum(len(each.seen) for each in kept) >= 2)
    with pytest.raises(RuntimeError, match="half changed"):
        live.stop()
    assert all(each.dropped is not None for each in kept)
    feeds.until(lambda: not [t for t in threading.enumerate() if t.name.startswith("iznet-")])
