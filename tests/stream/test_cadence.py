"""Where the detector looks: seldom while nothing happens, on the very frame where something does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from engine.types import Detections
from stream.cadence import EVERY_FRAME, Cadence

SIZE = 40.0
STILL = 100.0


def faces(*left: float, score: float = 0.9, size: float = SIZE) -> Detections:
    """Square faces side by side, by their left edges in pixels."""
    boxes = np.array([[x, 50, x + size, 50 + size] for x in left], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(left), score, np.float32), np.zeros((len(left), 5, 2), np.float32))


NOBODY = faces()


def looked_at(clip: Sequence[Detections], cadence: Cadence | None = None) -> list[int]:
    """The frames of the gap `clip[1:]` that are looked at; `clip[0]` is the look before it."""
    asked: list[int] = []

    def look(frame: int) -> Detections:
        asked.append(frame)
        return clip[frame + 1]

    found = (cadence or Cadence()).looks(len(clip) - 1, clip[0], look).found
    assert sorted(found) == sorted(asked)
    assert all(found[frame] is clip[frame + 1] for frame in asked)
    return sorted(asked)


@pytest.mark.parametrize("there", [NOBODY, faces(STILL), faces(STILL, 300, 500)])
def test_where_nothing_happens_only_the_end_is_looked_at(there: Detections) -> None:
    assert looked_at([there] * 9) == [7]


@pytest.mark.parametrize("frame", range(8))
def test_a_face_that_appears_is_found_on_its_first_frame(frame: int) -> None:
    looks = looked_at([NOBODY] * (frame + 1) + [faces(STILL)] * (8 - frame))
    assert frame in looks
    assert frame == 0 or frame - 1 in looks
    assert len(looks) <= 4


@pytest.mark.parametrize("frame", range(8))
def test_a_face_that_leaves_is_followed_to_its_last_frame(frame: int) -> None:
    looks = looked_at([faces(STILL)] * (frame + 1) + [NOBODY] * (8 - frame))
    assert frame in looks
    assert frame == 0 or frame - 1 in looks


def test_a_second_face_counts_like_the_first() -> None:
    assert 2 in looked_at([faces(STILL)] * 3 + [faces(STILL, 300)] * 6)


def moving(step: float) -> list[Detections]:
    return [faces(STILL + step * i) for i in range(9)]


def test_the_faster_a_face_the_more_looks() -> None:
    counts = [len(looked_at(moving(pixels))) for pixels in (0.5, 3.0, 6.0, 12.0)]
    assert counts == [1, 2, 4, 8]


def test_a_face_that_grows_fast_is_looked_at() -> None:
    assert len(looked_at([faces(STILL, size=SIZE * 1.08**i) for i in range(9)])) > 1
    assert len(looked_at([faces(STILL, size=SIZE * 1.01**i) for i in range(9)])) == 1


def test_faces_that_meet_are_in_doubt_however_little_they_move() -> None:
    assert looked_at([faces(STILL, STILL + 10)] * 9) == list(range(8))
    assert looked_at([faces(STILL, STILL + 30)] * 9) == [7]


def test_faces_that_cross_are_looked_at_where_they_meet() -> None:
    crossing = [faces(STILL + 3 * i, STILL + 45 - 3 * i) for i in range(9)]
    assert set(looked_at(crossing)) >= {5, 6, 7}


def test_a_weak_face_asks_for_nothing_by_itself() -> None:
    assert looked_at([NOBODY] + [faces(STILL, score=0.3)] * 8) == [7]


def test_a_weak_face_confirms_a_sure_one() -> None:
    assert looked_at([faces(STILL)] + [faces(STILL, score=0.3)] * 8) == [7]


def swaying(period: int, size: float, count: int = 9) -> list[Detections]:
    return [faces(STILL + SIZE * size * float(np.sin(2 * np.pi * i / period))) for i in range(count)]


def doubted_looks(clip: Sequence[Detections], doubts: Callable[[int, int], int | None]) -> tuple[list[int], float]:
    """The frames of the gap `clip[1:]` that are looked at if pictures give rise to these doubts, and the motion."""
    asked: list[int] = []

    def look(frame: int) -> Detections:
        asked.append(frame)
        return clip[frame + 1]

    looked = Cadence().looks(len(clip) - 1, clip[0], look, lambda first, last, _: doubts(first, last))
    assert len(asked) == len(set(asked))
    return sorted(asked), looked.motion


def farthest_inside(clip: Sequence[Detections], least: float = 4.0) -> Callable[[int, int], int | None]:
    """Doubts as pictures raise them: the frame inside where the face is farthest, in pixels, from both ends."""

    def doubts(first: int, last: int) -> int | None:
        left = [float(each.boxes[0, 0]) for each in clip]
        off = {i: min(abs(left[i + 1] - left[end + 1]) for end in (first, last)) for i in range(first + 1, last)}
        worst = max(off, key=lambda i: off[i])
        return worst if off[worst] > least else None

    return doubts


@pytest.mark.parametrize(("period", "count"), [(8, 9), (8, 17), (12, 13), (16, 17)])
def test_who_sways_in_time_with_the_looks_is_followed(period: int, count: int) -> None:
    clip = swaying(period, 0.19, count)
    assert looked_at(clip) == [count - 2], "the ends alone say nothing"
    looks, motion = doubted_looks(clip, farthest_inside(clip))
    known = [0, *(frame + 1 for frame in looks)]
    between = np.interp(range(count), known, [clip[i].boxes[0, 0] for i in known])
    assert max(abs(between - [each.boxes[0, 0] for each in clip])) < 0.2 * SIZE
    assert len(looks) < count - 1
    assert motion > Cadence().calm


@pytest.mark.parametrize("there", [faces(STILL), faces(STILL, 300, 500)])
def test_pictures_that_are_wrong_about_a_gap_cost_one_look(there: Detections) -> None:
    assert doubted_looks([there] * 17, lambda first, last: first + 1) == ([0, 15], 0.0)


def test_what_is_off_a_little_is_not_asked_about_again() -> None:
    clip = [faces(STILL)] * 4 + [faces(STILL + 0.1 * SIZE)] + [faces(STILL)] * 4
    assert doubted_looks(clip, lambda first, last: 3 if first < 3 < last else first + 1)[0] == [3, 7]


def test_where_nobody_is_no_picture_is_asked() -> None:
    def never(first: int, last: int) -> int | None:
        raise AssertionError

    assert doubted_looks([NOBODY] * 9, never)[0] == [7]
    assert len(doubted_looks([NOBODY] * 8 + [faces(STILL)], never)[0]) == 4
    assert len(doubted_looks(moving(12.0), never)[0]) == 8


def test_pictures_are_asked_about_every_face_where_it_is_at_both_ends() -> None:
    asked = []
    before, after = faces(STILL, 300), faces(304, STILL + 2, 500, score=0.9)
    faint = Detections(after.boxes, np.array([0.9, 0.3, 0.3], np.float32), after.landmarks)
    Cadence().looks(8, before, lambda frame: faint, lambda *args: asked.append(args))
    ((first, last, boxes),) = asked
    assert (first, last) == (-1, 7)
    assert boxes[:, :, 0].tolist() == [[STILL, STILL + 2], [300, 304]]


def test_a_face_that_the_pictures_make_known_is_followed_too() -> None:
    """Somebody passes by between two looks, in front of a face that stands still."""
    clip = [faces(STILL)] * 4 + [faces(STILL, 300)] * 2 + [faces(STILL)] * 3
    looks, motion = doubted_looks(clip, lambda first, last: 4 if first < 4 < last else None)
    assert {2, 3, 4, 5} <= set(looks)
    assert motion == np.inf


def test_a_shot_of_one_frame_is_looked_at_once() -> None:
    assert list(Cadence().looks(1, None, lambda frame: NOBODY).found) == [0]


def test_motion_is_what_moved_most() -> None:
    cadence = Cadence()
    assert cadence.motion(NOBODY, NOBODY) == 0.0
    assert cadence.motion(faces(STILL, 300), faces(STILL + 4, 300)) == pytest.approx(4 / SIZE, abs=1e-6)
    assert cadence.motion(faces(STILL), NOBODY) == cadence.motion(NOBODY, faces(STILL)) == np.inf


def test_a_weak_ghost_beside_a_face_is_no_rival() -> None:
    both = faces(STILL, STILL + 4)
    ghost = Detections(both.boxes, np.array([0.9, 0.3], np.float32), both.landmarks)
    assert looked_at([ghost] * 9) == [7]


@pytest.mark.parametrize(("rate", "frames"), [(30, 8), (60, 16), (25, 6), (10, 2), (2, 1)])
def test_a_gap_is_so_many_seconds_and_one_frame_at_least(rate: float, frames: int) -> None:
    assert Cadence().gap(0.27, 1.0, [1.0 + i / rate for i in range(1, 40)]) == frames


def test_uneven_times_are_measured_not_counted() -> None:
    assert Cadence().gap(0.27, 0.0, [0.01, 0.02, 0.03, 0.2, 0.5]) == 4


def test_every_frame_means_every_frame() -> None:
    cadence = Cadence(longest=EVERY_FRAME)
    assert cadence.width() == cadence.width(0.0, 0.0) == 0.0
    assert cadence.gap(cadence.width(), 0.0, [0.04, 0.08, 0.12]) == 1


@pytest.mark.parametrize(
    ("before", "motion", "width"),
    [(None, np.inf, 0.27), (0.27, 0.0, 0.54), (0.54, 0.1, 0.54), (0.54, 0.2, 0.27), (0.54, np.inf, 0.27)],
)
def test_gaps_grow_while_it_is_calm_and_shrink_at_once(before: float | None, motion: float, width: float) -> None:
    assert Cadence(longest=0.54).width(before, motion) == pytest.approx(width)


def test_the_longest_gap_binds_the_usual_one_too() -> None:
    cadence = Cadence(longest=0.1)
    assert cadence.width() == cadence.width(0.1, 0.0) == 0.1


@pytest.mark.parametrize("clip", [moving(1.0), moving(3.0), [NOBODY] * 4 + [faces(STILL)] * 5])
def test_a_gap_knows_how_much_moved_between_its_ends(clip: list[Detections]) -> None:
    cadence = Cadence()
    looked = cadence.looks(len(clip) - 1, clip[0], lambda frame: clip[frame + 1])
    assert looked.motion == cadence.motion(clip[0], clip[-1])


@pytest.mark.parametrize("clip", [moving(7.0), [NOBODY] * 4 + [faces(STILL)] * 5])
def test_the_same_faces_give_the_same_looks(clip: list[Detections]) -> None:
    ask: Callable[[], list[int]] = lambda: looked_at(clip)  # noqa: E731
    assert ask() == ask()
