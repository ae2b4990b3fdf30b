"""Where tracks are on the frames that are held, as pure logic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.gallery import Gallery
from stream.frames import Face, Frame, LabelledFrame
from stream.identity import Identity
from stream.trajectories import FASTEST, MISSED, Trajectories

RATE = 25
SIZE = 40.0
POINTS = np.array([[12, 18], [28, 18], [20, 26], [13, 34], [27, 34]], np.float32)
PEOPLE = np.eye(4, dtype=np.float32)
WEAK = 0.3


def face(track: int, left: float, score: float = 0.9) -> Face:
    """A square face of 40 pixels whose left edge is there."""
    box = np.array([left, 50, left + SIZE, 50 + SIZE], np.float32)
    return Face(track, box, score, POINTS + np.array([left, 50], np.float32))


class Neighbours(Identity):
    """Remembers who was said to stand beside whom."""

    def __init__(self) -> None:
        super().__init__(Gallery.build({"ann": PEOPLE[[0, 0]], "ben": PEOPLE[[1, 1]]}, "0" * 64, 0.5))
        self.met: set[frozenset[int]] = set()

    def see(self, shot: int, tracks: list[int], time: float) -> None:
        super().see(shot, tracks, time)
        self.met |= {frozenset({one, other}) for one in tracks for other in tracks if one < other}


class Video:
    """Frames that are held, one after another, some of which are looked at."""

    def __init__(self) -> None:
        self.identity = Neighbours()
        self.trajectories = Trajectories(self.identity)
        self.released: list[LabelledFrame] = []
        self._index = self._shot = 0

    def cut(self) -> None:
        self.trajectories.cut()
        self._shot += 1

    def hold(self, frames: int) -> None:
        """So many frames nobody looks at."""
        for _ in range(frames):
            frame = Frame(cast(Any, None), self._index, self._index, Fraction(1, RATE), self._shot)
            self.trajectories.hold(LabelledFrame(frame, 0))
            self._index += 1

    def look(self, *faces: Face, weak: Sequence[Face] = (), after: int = 0) -> None:
        """A frame these are found on, `after` so many that nobody looks at."""
        self.hold(after + 1)
        self.trajectories.find(faces, weak)

    def release(self, frames: int) -> None:
        self.released += [self.trajectories.release() for _ in range(frames)]

    def frames(self) -> list[LabelledFrame]:
        return [*self.released, *self.trajectories.held]

    def left(self, track: int) -> dict[int, float]:
        """The left edge of a track's face on each frame that it is on."""
        return {each.frame.index: float(f.box[0]) for each in self.frames() for f in each.faces if f.track == track}

    def score(self, track: int, index: int) -> float:
        (score,) = (f.score for f in self.frames()[index].faces if f.track == track)
        return score

    def lifespan(self, track: int) -> tuple[int, int, int]:
        lifespan = self.trajectories.lifespans[track]
        return lifespan.first, lifespan.last, lifespan.frames

    def agrees(self) -> bool:
        """Whether lifespans and neighbours are those of the frames."""
        on = {track: list(self.left(track)) for track in self.trajectories.lifespans}
        beside = {frozenset({a.track, b.track}) for f in self.frames() for a in f.faces for b in f.faces if a is not b}
        return beside <= self.identity.met and all(
            self.lifespan(track) == (places[0], places[-1], len(places)) for track, places in on.items()
        )


@pytest.fixture
def video() -> Video:
    return Video()


def test_between_two_looks_a_face_moves_evenly(video: Video) -> None:
    video.look(face(0, 100))
    video.look(face(0, 140), after=3)
    assert video.left(0) == {0: 100, 1: 110, 2: 120, 3: 130, 4: 140}
    (put,) = video.trajectories.held[2].faces
    assert put.score == 0.0
    np.testing.assert_array_equal(put.box, face(0, 120).box)
    np.testing.assert_array_equal(put.landmarks, face(0, 120).landmarks)
    assert video.lifespan(0) == (0, 4, 5)


def test_whoever_is_put_on_a_frame_stands_beside_those_who_are_there(video: Video) -> None:
    video.look(face(0, 100))
    video.look(face(1, 200), after=2)
    assert frozenset({0, 1}) not in video.identity.met
    video.look(face(0, 100), after=2)
    assert frozenset({0, 1}) in video.identity.met
    assert video.agrees()


@pytest.mark.parametrize(("frames", "there"), [(int(MISSED * RATE), True), (int(MISSED * RATE) + 1, False)])
def test_a_face_that_looks_have_missed_is_put_in_between_if_that_is_not_long(
    frames: int, there: bool, video: Video
) -> None:
    video.look(face(0, 100))
    for _ in range(frames - 1):
        video.look()
    video.look(face(0, 100))
    assert list(video.left(0)) == (list(range(frames + 1)) if there else [0, frames])


def test_however_rare_looks_are_a_face_that_none_has_missed_is_put_in_between(video: Video) -> None:
    video.look(face(0, 100))
    video.look(face(0, 100), after=2 * int(MISSED * RATE))
    assert list(video.left(0)) == list(range(len(video.frames())))


def test_nobody_is_put_beside_themselves(video: Video) -> None:
    video.look(face(0, 100))
    video.look(face(1, 250), after=2)
    for track in (0, 1):
        video.identity.add(track, PEOPLE[0], 0.9, 0.0)
    video.look(face(0, 100), after=2)
    assert list(video.left(0)) == [0, 1, 2, 4, 5, 6]


def test_where_frames_are_not_held_any_more_nobody_is_put_on_any(video: Video) -> None:
    video.look(face(0, 100))
    video.hold(3)
    video.release(2)
    video.look(face(0, 100))
    assert list(video.left(0)) == [0, 4]
    assert video.lifespan(0) == (0, 4, 2)


def test_a_track_begins_where_its_face_was_found_weakly(video: Video) -> None:
    video.look(weak=[face(-1, 100, WEAK), face(-1, 300, WEAK)])
    video.look(face(0, 108), after=3)
    assert video.left(0) == {0: 100, 1: 102, 2: 104, 3: 106, 4: 108}
    assert [video.score(0, index) for index in range(5)] == [WEAK, 0.0, 0.0, 0.0, 0.9]
    assert video.lifespan(0) == (0, 4, 5)


def test_two_do_not_begin_in_one_place(video: Video) -> None:
    video.look(weak=[face(-1, 100, WEAK)])
    video.look(face(0, 100), face(1, 104), after=3)
    assert list(video.left(0)) == [0, 1, 2, 3, 4]
    assert list(video.left(1)) == [4]


@pytest.mark.parametrize("why", ["elsewhere", "at the frame before", "at an earlier look", "over a cut", "released"])
def test_a_track_begins_no_earlier_than_its_face_stood_there(why: str, video: Video) -> None:
    video.look(weak=[face(-1, 300 if why == "elsewhere" else 100, WEAK)])
    if why == "at an earlier look":
        video.look(after=1)
    if why == "over a cut":
        video.cut()
    if why != "at the frame before":
        video.hold(3)
    if why == "released":
        video.release(1)
    video.look(face(0, 100))
    assert list(video.left(0)) == [len(video.frames()) - 1]


def test_whoever_may_have_gone_on_ended_in_reach_before(video: Video) -> None:
    ended, reach = 24, SIZE * (1 + FASTEST / RATE)
    video.look(face(0, 100), face(1, 400), face(2, 700), face(3, 100 + 1.1 * reach), face(4, 100 + 0.9 * reach))
    for _ in range(ended):
        video.look(face(1, 400), face(2, 700), face(3, 100 + 1.1 * reach), face(4, 100 + 0.9 * reach))
    video.look(face(1, 400), face(5, 100), face(6, 110))
    assert video.trajectories.predecessors(5, {1, 5}) == [0, 4]
    assert video.trajectories.predecessors(5, {1, 4, 5}) == [0]


def test_a_track_that_is_on_a_frame_not_held_any_more_keeps_its_id(video: Video) -> None:
    video.look(face(0, 100))
    video.look(after=10)
    video.look(face(1, 100))
    video.look(face(1, 100))
    assert video.trajectories.predecessors(1, {1}) == [0]
    video.release(13)
    assert video.trajectories.predecessors(1, {1}) == []


def test_nobody_goes_on_a_track_of_another_shot_or_one_that_is_forgotten(video: Video) -> None:
    video.look(face(0, 100))
    video.cut()
    video.look(face(1, 100))
    video.look(after=10)
    video.look(face(2, 100))
    assert video.trajectories.predecessors(2, {2}) == [1]
    video.trajectories.forget(1)
    assert video.trajectories.predecessors(2, {2}) == []
    assert list(video.trajectories.lifespans) == [0, 2]


@pytest.mark.parametrize(("missed", "between"), [(False, [1, 2, 3]), (True, [])])
def test_a_track_that_goes_on_another_is_that_one(missed: bool, between: list[int], video: Video) -> None:
    video.look(face(0, 100))
    video.hold(1)
    if missed:
        video.look(face(2, 300))
    else:
        video.hold(1)
    video.look(face(1, 140), after=1)
    video.look(face(1, 140))
    video.identity.join(1, 0)
    video.trajectories.join(1, 0)
    assert list(video.left(0)) == [0, *between, 4, 5]
    assert video.left(1) == {}
    assert video.lifespan(0) == (0, 5, 3 + len(between))
    assert 1 not in video.trajectories.lifespans
    video.look(face(0, 152), after=2)
    assert [video.left(0)[index] for index in (5, 6, 7, 8)] == [140, 144, 148, 152]
    assert video.agrees()


def parted(video: Video, since: int, after: int) -> None:
    """From frame `since` on, track 0 is track 9, since the look at frame `after`."""
    video.identity.see(0, [9], 0.0)
    video.trajectories.part(0, 9, since / RATE, after / RATE)


def test_a_track_that_is_parted_is_another_from_there_on(video: Video) -> None:
    video.look(face(0, 100))
    video.look(face(0, 100), face(1, 300), after=3)
    video.look(face(0, 100), face(1, 300), after=3)
    parted(video, since=6, after=4)
    assert list(video.left(0)) == [0, 1, 2, 3, 4, 5]
    assert list(video.left(9)) == [6, 7, 8]
    assert video.lifespan(0) == (0, 5, 6)
    assert video.lifespan(9) == (6, 8, 3)
    assert video.trajectories.lifespans[9].shot == 0
    assert frozenset({1, 9}) in video.identity.met
    assert video.agrees()
    video.look(face(9, 112), after=2)
    assert [video.left(9)[index] for index in (8, 9, 10, 11)] == [100, 104, 108, 112]


def test_both_parts_of_a_track_may_be_gone_on(video: Video) -> None:
    video.look(face(0, 100))
    video.look(face(0, 100), after=3)
    parted(video, since=2, after=0)
    video.look(after=10)
    video.look(face(3, 100))
    assert video.trajectories.predecessors(3, {3}) == [0, 9]
    video.identity.join(3, 9)
    video.trajectories.join(3, 9)
    assert list(video.left(9)) == [2, 3, 4, 16]
    video.identity.join(9, 0)
    video.trajectories.join(9, 0)
    assert list(video.left(0)) == [0, 1, 2, 3, 4, 16]
    assert video.agrees()


def test_a_part_of_a_track_goes_on_or_is_gone_on_from_where_it_was_found(video: Video) -> None:
    video.look(face(0, 100), face(1, 130), after=2)
    video.look(face(0, 100), after=3)
    video.look(face(0, 100), after=3)
    parted(video, since=8, after=6)
    video.look(face(2, 100), after=3)
    for track, into in ((9, 1), (2, 0)):
        assert into in video.trajectories.predecessors(track, {2, 9})
        video.identity.join(track, into)
        video.trajectories.join(track, into)
    assert list(video.left(1)) == [2, 8, 9, 10], "a look at frame 6 was at another"
    assert list(video.left(0)) == [2, 3, 4, 5, 6, 7, 14], "a look at frame 10 was at another"
    assert video.agrees()


def test_a_track_none_of_whose_frames_is_held_ended_where_it_was_released(video: Video) -> None:
    for _ in range(6):
        video.look(face(0, 100))
    video.release(4)
    parted(video, since=4, after=3)
    assert video.lifespan(0) == (0, 3, 4)
    assert video.lifespan(9) == (4, 5, 2)
    assert video.agrees()
    video.look(after=10)
    video.look(face(1, 100))
    assert video.trajectories.predecessors(1, {1}) == [9], "where the first was seen last is not known any more"


LOOKS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.dictionaries(st.integers(0, 3), st.tuples(st.floats(0, 300), st.booleans()), max_size=4),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(LOOKS)
def test_lifespans_are_those_of_the_frames_whatever_is_found(looks: list[tuple[int, Any, int]]) -> None:
    video = Video()
    for after, places, released in looks:
        found = [face(track, left) for track, (left, weak) in places.items() if not weak]
        weak = [face(-1, left, WEAK) for left, weak in places.values() if weak]
        video.look(*found, weak=weak, after=after)
        video.release(min(released, len(video.trajectories.held) - 1))
    assert video.agrees()
    for each in video.frames():
        tracks = [f.track for f in each.faces]
        assert len(tracks) == len(set(tracks))
