"""Naming frame by frame, and forgetting."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.photos import Photos
from stream.frames import Frame, LabelledFrame, VideoInfo
from stream.live import analysis
from stream.live.analysis import KEPT_GONE, KEPT_LOOKS, LiveAnalyser
from tests.conftest import ROOT
from tests.engine.galleries import with_people
from tests.stream.live import feeds

BASE = Fraction(1, 25)
INFO = VideoInfo("cam", 320, 240, 0, BASE, None, None, "yuv444p")


class Feed:
    """Hands pictures to an analyser, 25 a second."""

    def __init__(self, analyser: LiveAnalyser) -> None:
        self.analyser = analyser
        self.index = 0

    def show(self, people: feeds.People, times: int = 1) -> LabelledFrame:
        for _ in range(times):
            labelled = self.analyser.look(Frame(feeds.picture(people), self.index, self.index, BASE))
            self.index += 1
        return labelled


@pytest.fixture
def feed(detector: Detector, embedder: Embedder) -> Feed:
    gallery = feeds.gallery_of(embedder, "ann", "ben")
    return Feed(LiveAnalyser(INFO, detector, embedder, gallery))


def names(labelled: LabelledFrame) -> list[str | None]:
    return [face.name for face in sorted(labelled.faces, key=lambda face: float(face.box[0]))]


def test_everybody_is_named_on_the_very_frame_they_appear_on(feed: Feed) -> None:
    assert feed.show([]).faces == []
    labelled = feed.show([feeds.ANN, feeds.SOMEBODY])
    assert labelled.frame.index == 1
    assert names(labelled) == ["ann", None]
    assert labelled.faces[0].track != labelled.faces[1].track


def test_a_track_is_told_once_when_it_has_ended_and_then_forgotten(feed: Feed) -> None:
    track = feed.show([feeds.ANN], 5).faces[0].track
    assert feed.analyser.ended() == []
    feed.show([], 30)  # more than the tracker's patience
    (verdict,) = feed.analyser.ended()
    assert (verdict.track, verdict.name, verdict.frames) == (track, "ann", 5)
    assert (verdict.first, verdict.last) == (0, 4)
    assert feed.analyser.ended() == []


def test_breaking_off_ends_every_track_and_bridges_none(feed: Feed) -> None:
    before = feed.show([feeds.ANN, feeds.SOMEBODY], 3)
    feed.analyser.break_off()
    ended = feed.analyser.ended()
    assert {verdict.track for verdict in ended} == {face.track for face in before.faces}
    after = feed.show([feeds.ANN, feeds.SOMEBODY])
    assert {face.track for face in after.faces}.isdisjoint(face.track for face in before.faces)
    assert after.frame.shot > before.frame.shot
    assert names(after) == ["ann", None]


def test_memory_does_not_grow_with_the_number_of_people_who_pass(feed: Feed) -> None:
    sizes = []
    for _ in range(8):
        feed.show([feeds.ANN, feeds.SOMEBODY], 2)
        feed.index += 30
        feed.show([])
        feed.analyser.ended()
        identity, trajectories = feed.analyser._identity, feed.analyser._trajectories
        sizes.append(
            len(trajectories.held)
            + len(trajectories.lifespans)
            + len(trajectories._here)
            + sum(
                len(each)
                for each in (
                    identity._evidence,
                    identity._born,
                    identity._shot_of,
                    identity._tracks_of,
                    identity._names,
                    identity._looks_of,
                )
            )
        )
    assert sizes[-1] == sizes[0] == 0


def test_the_looks_of_the_latest_who_left_are_kept(feed: Feed) -> None:
    tracks = []
    for _ in range(KEPT_GONE + 3):
        tracks.append(feed.show([feeds.ANN]).faces[0].track)
        feed.analyser.break_off()
    kept = [track for track in tracks if feed.analyser.looks_of(track) is not None]
    assert kept == tracks[-KEPT_GONE:]
    feed.analyser.say(tracks[-1], "ben")  # nobody is there to bear it
    assert names(feed.show([feeds.ANN])) == ["ann"]


def test_looks_are_unit_the_best_first_and_few(feed: Feed) -> None:
    x1, y1, x2, y2 = feeds.ANN[0]
    for grown in range(0, 60, 4):  # each clearly larger than before, so looked at again
        labelled = feed.show([((x1, y1, x2 + grown, y2 + grown), feeds.ANN[1])])
    looks = feed.analyser.looks_of(labelled.faces[0].track)
    assert looks is not None
    assert 1 < len(looks) <= KEPT_LOOKS
    assert np.linalg.norm(looks, axis=1) == pytest.approx(np.ones(len(looks)), abs=1e-5)


def test_a_gallery_that_grows_names_who_is_on_screen_from_the_next_frame(feed: Feed, embedder: Embedder) -> None:
    before = feed.show([feeds.SOMEBODY], 3)
    assert names(before) == [None]
    looks = feed.analyser.looks_of(before.faces[0].track)
    assert looks is not None
    gallery = with_people(feeds.gallery_of(embedder, "ann", "ben"), {"dora": Photos(looks)})
    feed.analyser.recognise(gallery)
    after = feed.show([feeds.SOMEBODY])
    assert names(after) == ["dora"]
    assert after.faces[0].track == before.faces[0].track


def test_what_people_say_counts_until_it_is_taken_back(feed: Feed) -> None:
    track = feed.show([feeds.SOMEBODY], 3).faces[0].track
    feed.analyser.say(track, "dora")
    assert names(feed.show([feeds.SOMEBODY])) == ["dora"]
    assert feed.analyser.naming(track).verdict == "named"
    feed.analyser.say(track, None)
    assert names(feed.show([feeds.SOMEBODY])) == [None]


def test_nobody_is_on_a_frame_twice_not_even_by_word(feed: Feed) -> None:
    labelled = feed.show([feeds.ANN, feeds.SOMEBODY], 3)
    stranger = max(labelled.faces, key=lambda face: float(face.box[0])).track
    feed.analyser.say(stranger, "ann")
    assert names(feed.show([feeds.ANN, feeds.SOMEBODY])) == [None, "ann"]


def test_without_a_gallery_nobody_is_known_and_nobody_can_be(detector: Detector, embedder: Embedder) -> None:
    feed = Feed(LiveAnalyser(INFO, detector))
    assert names(feed.show([feeds.ANN])) == [None]
    with pytest.raises(ValueError, match="embedder"):
        feed.analyser.recognise(feeds.gallery_of(embedder, "ann"))


def test_getting_ready_leaves_no_trace(feed: Feed) -> None:
    feed.analyser.ready.result()
    assert not feed.analyser._clock.stages  # what is told of a run is how long pictures took that came
    assert names(feed.show([feeds.ANN])) == ["ann"]
    assert feed.analyser.ended() == []


FIRST_LOOKS = """
import sys
from pathlib import Path
import numpy as np
from engine.cachefolder import cache_folder
from engine.detector import Detector
from engine.embedder import Embedder
from stream.frames import Frame
from stream.live.analysis import LiveAnalyser
from stream.overlay import Overlay
from stream.tracker import assignment
from tests.stream.live import feeds
from tests.stream.live.test_analysis import BASE, INFO

def there():
    return {path.name for path in cache_folder("code").iterdir()} | set(sys.modules)

embedder = Embedder.open(sys.argv[2], threads=1)
analyser = LiveAnalyser(INFO, Detector.open(sys.argv[1], threads=1), embedder, feeds.gallery_of(embedder, "ann"))
overlay = Overlay(INFO, unknown="box")
analyser.ready.result()
pictures = [feeds.picture(people) for people in ([feeds.ANN, feeds.SOMEBODY], [feeds.ANN], [])]
before = there()
for index, picture in enumerate(pictures):
    labelled = analyser.look(Frame(picture, index, index, BASE))
    overlay.draw(labelled.frame.picture, labelled.faces)
assert assignment(np.array([[0.1, 0.2], [0.15, 9e9]])) == [(0, 1), (1, 0)]
print(*sorted(there() - before))
"""


def test_once_all_is_ready_nothing_is_imported_or_compiled_while_pictures_wait(
    detector_file: Path, embedder_file: Path, tmp_path: Path
) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", FIRST_LOOKS, str(detector_file), str(embedder_file)]
    for _ in ("on a machine that never did it", "on one that has all machine code"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", env=environment)
        assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_who_stays_keeps_no_more_people_in_mind_than_the_latest(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "KEPT_GONE", 2)
    for _ in range(5):
        feed.show([feeds.ANN, feeds.SOMEBODY], 2)
        feed.show([feeds.ANN], 30)
    (stays,) = feed.analyser._identity._evidence.values()
    assert len(stays.seen_with) == 1 + 2  # itself, and the latest
