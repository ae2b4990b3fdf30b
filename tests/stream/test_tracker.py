"""Association inside a shot, as pure logic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.types import Detections
from stream.tracker import Tracker, assignment_cost


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


def test_weak_detections_continue_tracks_but_never_start_one() -> None:
    tracker = Tracker(confident=0.5)
    assert tracker.update(faces(at(100), scores=[0.3]), 0.0) == [-1]
    assert tracker.update(faces(at(100), scores=[0.8]), 0.1) == [0]
    assert tracker.update(faces(at(103), scores=[0.2]), 0.2) == [0]


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
