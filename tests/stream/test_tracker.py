"""Association inside a shot, as pure logic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.types import Detections
from stream.tracker import Tracker, assignment_cost, doubtful


def faces(*boxes: tuple[float, float, float, float], scores: list[float] | None = None) -> Detections:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(
        array,
        np.array(scores if scores is not None else [0.9] * len(array), np.float32),
        np.zeros((len(array), 5, 2), np.float32),
    )


def at(x: float, y: float = 100.0, size: float = 40.0) -> tuple[float, float, float, float]:
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def test_two_faces_that_pass_each_other_keep_their_ids() -> None:
    tracker = Tracker()
    seen = []
    for step in range(40):
        left_to_right, right_to_left = at(100 + 5 * step, 100), at(300 - 5 * step, 128)
        # The order of the detections must not matter.
        both = [left_to_right, right_to_left] if step % 2 else [right_to_left, left_to_right]
        ids = tracker.update(faces(*both), step / 30)
        seen.append(tuple(ids) if step % 2 else tuple(reversed(ids)))
    assert set(seen) == {seen[0]}
    assert sorted(seen[0]) == [0, 1]


def test_short_occlusion_is_survived_and_long_absence_is_not() -> None:
    tracker = Tracker(patience=0.5)
    assert tracker.update(faces(at(100)), 0.0) == [0]
    assert tracker.update(faces(at(104)), 0.1) == [0]
    assert tracker.update(faces(), 0.2) == []
    assert tracker.update(faces(at(118)), 0.45) == [0]
    assert tracker.update(faces(at(118)), 1.0) == [1]


def test_motion_is_carried_through_a_gap() -> None:
    tracker = Tracker()
    for step in range(10):
        assert tracker.update(faces(at(100 + 20 * step)), step / 30) == [0]
    # Six frames unseen: 120 px on, three face widths, where only the motion can find it.
    assert tracker.update(faces(at(100 + 20 * 15)), 15 / 30) == [0]


def test_a_cut_ends_every_track_even_where_a_face_stands_in_the_same_place() -> None:
    tracker = Tracker()
    assert tracker.update(faces(at(100)), 0.0) == [0]
    tracker.cut()
    assert tracker.shot == 1
    assert tracker.update(faces(at(100)), 0.04) == [1]


def test_a_track_that_was_joined_or_parted_is_followed_under_another_id() -> None:
    tracker = Tracker(patience=0.2)
    assert tracker.update(faces(at(100)), 0.0) == [0]
    assert tracker.update(faces(at(300)), 0.4) == [1]
    tracker.join(1, into=0)
    assert tracker.update(faces(at(304)), 0.5) == [0]
    assert tracker.part(0) == 2
    assert tracker.update(faces(at(308), at(100)), 0.6) == [2, 3]


def test_weak_detections_continue_tracks_but_never_start_one() -> None:
    tracker = Tracker(confident=0.5)
    assert tracker.update(faces(at(100), scores=[0.3]), 0.0) == [-1]
    assert tracker.update(faces(at(100), scores=[0.8]), 0.1) == [0]
    assert tracker.update(faces(at(103), scores=[0.2]), 0.2) == [0]


def test_a_weak_find_has_to_be_where_the_face_is_expected() -> None:
    """Somebody taller passes in front of a face that stands still, turned away and so found weakly."""
    tracker = Tracker()
    for step in range(6):
        assert tracker.update(faces(at(100)), step / 25) == [0]
    for step in range(6, 12):
        assert tracker.update(faces(at(148 - 8 * (step - 6), 78), scores=[0.3]), step / 25) == [-1]
    assert tracker.update(faces(at(101)), 12 / 25) == [0]  # and is there again


def test_a_weak_find_brings_nobody_back_who_was_away() -> None:
    """The track of a face that is gone stays where it was; somebody turned away who comes by there is not that face."""
    for score, expected in ((0.3, -1), (0.9, 0)):
        tracker = Tracker()
        for step in range(6):
            assert tracker.update(faces(at(100)), step / 25) == [0]
        for step in range(6, 14):
            assert tracker.update(faces(), step / 25) == []
        assert tracker.update(faces(at(101), scores=[score]), 14 / 25) == [expected]


def test_a_weak_find_of_another_size_is_none_of_the_face() -> None:
    for size, expected in ((46, 0), (62, -1)):
        tracker = Tracker()
        tracker.update(faces(at(100)), 0.0)
        assert tracker.update(faces(at(104, size=size), scores=[0.3]), 0.04) == [expected]


def test_a_weak_find_follows_a_face_that_goes_on_as_it_went() -> None:
    tracker = Tracker()
    for step in range(10):
        assert tracker.update(faces(at(100 + 20 * step)), step / 30) == [0]
    assert tracker.update(faces(at(100 + 20 * 14), scores=[0.3]), 14 / 30) == [0]


def carried(tracker: Tracker, scores: Sequence[float]) -> int:
    """How many frames, with a detection of these scores in one place, the track lasts that the first one starts."""
    ids = [tracker.update(faces(at(100), scores=[score]), step / 25)[0] for step, score in enumerate(scores)]
    lasted = ids.index(-1) if -1 in ids else len(ids)
    assert ids == [0] * lasted + [-1] * (len(ids) - lasted)
    return lasted


@pytest.mark.parametrize(("sure", "lasted"), [(1, 11), (2, 12), (3, 60)])
def test_a_few_weak_finds_carry_a_track_on_or_many_one_that_was_found_often(sure: int, lasted: int) -> None:
    assert carried(Tracker(faint=10, proven=3), [0.9] * sure + [0.3] * (60 - sure)) == lasted


def test_after_a_confident_find_the_weak_ones_are_counted_anew() -> None:
    assert carried(Tracker(faint=10, proven=3), [0.9] + [0.3] * 8 + [0.9] + [0.3] * 30) == 20


def test_who_wants_to_lose_nobody_has_weak_finds_carry_a_track_on_for_ever() -> None:
    assert carried(Tracker(faint=np.inf), [0.9] + [0.3] * 99) == 100


def test_who_sways_is_found_where_it_was_although_it_should_have_gone_on() -> None:
    """Two looks a frame apart say that it goes fast; at the next one it has turned back."""
    for score in (0.9, 0.3):
        tracker = Tracker()
        assert tracker.update(faces(at(100)), 0.0) == [0]
        assert tracker.update(faces(at(120)), 1 / 30) == [0]
        assert tracker.update(faces(at(112), scores=[score]), 10 / 30) == [0]


def test_a_confident_detection_is_preferred_to_a_nearer_weak_one() -> None:
    tracker = Tracker(confident=0.5)
    tracker.update(faces(at(100)), 0.0)
    assert tracker.update(faces(at(101), at(110), scores=[0.2, 0.9]), 0.04) == [-1, 0]


def test_a_face_of_another_size_is_another_face() -> None:
    tracker = Tracker()
    tracker.update(faces(at(100, size=40)), 0.0)
    assert tracker.update(faces(at(100, size=120)), 0.04) == [1]


@pytest.mark.parametrize("count", [1, 2, 12])
def test_assignment_is_optimal_not_greedy(count: int) -> None:
    # In a row, each face has moved most of the way to its neighbour: taking the nearest pair first
    # would leave the last one over.
    tracker = Tracker(reach=0.9)
    before = faces(*(at(100 + 50 * i) for i in range(count)))
    after = faces(*(at(100 + 50 * i + 28) for i in range(count)))
    assert tracker.update(before, 0.0) == list(range(count))
    assert tracker.update(after, 0.04) == list(range(count))


def test_cost_follows_its_definition() -> None:
    a, b = np.array([at(0, 0, 10)], np.float32), np.array([at(3, 4, 16)], np.float32)
    expected = 5 / np.sqrt(10 * 16) + np.log(1.6)
    assert assignment_cost(a, b, reach=0.9)[0, 0] == pytest.approx(expected, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ids_on_a_frame_are_distinct_and_runs_are_repeatable(data: st.DataObject) -> None:
    coordinate = st.floats(0, 500, width=32)
    frames = data.draw(
        st.lists(
            st.lists(
                st.tuples(coordinate, coordinate, st.floats(4, 200, width=32), st.floats(0, 1, width=32)),
                max_size=6,
            ),
            max_size=12,
        )
    )

    def run() -> list[list[int]]:
        tracker = Tracker()
        return [
            tracker.update(faces(*(at(x, y, s) for x, y, s, _ in f), scores=[p for *_, p in f]), i / 25)
            for i, f in enumerate(frames)
        ]

    first = run()
    assert first == run()
    for ids in first:
        kept = [i for i in ids if i >= 0]
        assert len(kept) == len(set(kept))


def unit(*values: float) -> NDArray[np.float32]:
    array = np.array(values, np.float32)
    return array / np.linalg.norm(array)


ANN, BEA = unit(1, 0, 0), unit(0.1, 1, 0)


class Eye:
    """Embeds the detections of the current frame, and counts how often it is asked."""

    def __init__(self) -> None:
        self.faces: list[NDArray[np.float32]] = []
        self.asked = 0

    def __call__(self, rows: Sequence[int]) -> NDArray[np.float32]:
        self.asked += len(rows)
        return np.stack([self.faces[row] for row in rows])


def test_faces_that_meet_and_turn_back_are_told_apart_by_their_looks() -> None:
    """They walk up to each other, stop, and go back: motion alone would let them pass through each other."""
    path = [100 + 6 * min(step, 20) - 2 * max(0, step - 20) for step in range(40)]

    def run(eye: Eye | None) -> tuple[list[int], int]:
        tracker = Tracker()
        for step, x in enumerate(path):
            left, right = at(x), at(454 - x)
            turn = step % 2
            if eye is not None:
                eye.faces = [BEA, ANN] if turn else [ANN, BEA]
            # While they stand nose to nose one of them is not found for a few frames.
            if 18 <= step <= 23:
                found = faces(at(x + 2))
                if eye is not None:
                    eye.faces = [ANN]
                ids = tracker.update(found, step / 30, eye)
                continue
            ids = tracker.update(faces(right, left) if turn else faces(left, right), step / 30, eye)
            ids = ids[::-1] if turn else ids
            if step == 2:
                tracker.remember(ids[0], ANN)
                tracker.remember(ids[1], BEA)
        return ids, eye.asked if eye is not None else 0

    assert run(None)[0] == [1, 0], "the case is a real one: motion alone swaps them"
    ids, asked = run(Eye())
    assert ids == [0, 1]
    assert 0 < asked < 30, "only while there was a doubt"


def test_who_comes_back_looking_like_another_is_another() -> None:
    eye = Eye()
    tracker = Tracker()
    assert tracker.update(faces(at(100)), 0.0, eye) == [0]
    tracker.remember(0, ANN)
    tracker.update(faces(), 0.2, eye)
    eye.faces = [BEA]
    assert tracker.update(faces(at(102)), 0.4, eye) == [1], "away for 0.4 s, and another face"


def test_who_was_seen_at_the_last_look_was_not_away_however_long_ago_that_is() -> None:
    eye = Eye()
    tracker = Tracker()
    tracker.update(faces(at(100)), 0.0, eye)
    tracker.remember(0, ANN)
    assert tracker.update(faces(at(102)), 0.6, eye) == [0]
    assert eye.asked == 0


def test_whoever_stepped_in_front_is_another_once_well_seen() -> None:
    """Weak finds keep the track of a face that is covered bit by bit; what then stands there clearly is asked for its
    looks."""

    def run(then: NDArray[np.float32], weak: float) -> tuple[list[int], int]:
        eye = Eye()
        tracker = Tracker()
        assert tracker.update(faces(at(100)), 0.0, eye) == [0]
        tracker.remember(0, ANN)
        eye.faces = [then]
        steps = round(weak * 25)
        for step in range(1, steps):
            assert tracker.update(faces(at(100 + step), scores=[0.3]), step / 25, eye) == [0]
        asked = eye.asked
        assert asked == 0, "weak finds are not looked at"
        return tracker.update(faces(at(100 + steps)), weak, eye), eye.asked

    assert run(BEA, 0.6) == ([1], 1)
    assert run(ANN, 0.6) == ([0], 1)
    assert run(BEA, 0.2) == ([0], 0), "a moment of doubt is none"


def test_likeness_begins_where_the_embedder_puts_strangers() -> None:
    """An embedder whose vectors lie around one direction: the same cosines say less."""
    shared = 2.0
    ann, bea = unit(1, 0, 0, shared), unit(0.1, 1, 0, shared)
    for strangers, ids in ((0.0, [0]), (float(ann @ bea), [1])):
        eye = Eye()
        tracker = Tracker(strangers=strangers)
        tracker.update(faces(at(100)), 0.0, eye)
        tracker.remember(0, ann)
        tracker.update(faces(), 0.2, eye)
        eye.faces = [bea]
        assert tracker.update(faces(at(102)), 0.4, eye) == ids


def test_who_comes_back_looking_the_same_goes_on() -> None:
    eye = Eye()
    tracker = Tracker()
    tracker.update(faces(at(100)), 0.0, eye)
    tracker.remember(0, ANN)
    tracker.update(faces(), 0.2, eye)
    eye.faces = [unit(1, 0.3, 0.2)]
    assert tracker.update(faces(at(102)), 0.4, eye) == [0]
    assert eye.asked == 1


def test_a_face_that_is_another_one_is_followed_under_another_id() -> None:
    tracker = Tracker()
    assert tracker.update(faces(at(100), at(300)), 0.0) == [0, 1]
    assert tracker.part(0) == 2
    assert sorted(track.id for track in tracker.alive) == [1, 2]
    assert tracker.update(faces(at(104), at(300), at(200)), 0.04) == [2, 1, 3]


def test_a_lone_face_is_never_looked_at_for_its_motion() -> None:
    eye = Eye()
    tracker = Tracker()
    for step in range(20):
        assert tracker.update(faces(at(100 + 3 * step)), step / 30, eye) == [0]
        if not step:
            tracker.remember(0, ANN)
    assert eye.asked == 0


def test_a_face_not_worth_a_look_leaves_the_decision_to_motion() -> None:
    tracker = Tracker()
    tracker.update(faces(at(100), at(130)), 0.0)
    tracker.remember(0, ANN)
    tracker.remember(1, BEA)
    blind = tracker.update(faces(at(101), at(131)), 0.04, lambda rows: np.full((len(rows), 3), np.nan, np.float32))
    assert blind == [0, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31), st.floats(0.01, 2))
def test_doubt_is_a_near_rival_for_a_track_or_a_detection(tracks: int, found: int, seed: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    cost = np.where(rng.random((tracks, found)) < 0.3, 1e6, rng.uniform(0, 1.5, (tracks, found)))
    got = doubtful(cost, margin)
    for i in range(tracks):
        for j in range(found):
            expected = False
            for line, me in ((cost[i], j), (cost[:, j], i)):
                best, rest = line.min(), np.sort(line)
                rival = len(rest) > 1 and rest[1] < 1e6 and rest[1] - rest[0] < margin
                expected |= bool(rival and line[me] < 1e6 and line[me] - best < margin)
            assert got[i, j] == expected
