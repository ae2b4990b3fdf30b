"""Tracks that turn into others, by what eyes say that need no pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.gallery import Gallery
from engine.types import Detections
from stream.analysis import Analyser
from stream.frames import Frame, LabelledFrame, TrackVerdict, VideoInfo
from stream.looking import Gap
from stream.patches import parting

PEOPLE = np.eye(8, dtype=np.float32)
INFO = VideoInfo("a.mp4", 640, 360, 0, Fraction(1, 30), None, Fraction(30), "yuv420p")
POINTS = np.array([[35, 40], [65, 40], [50, 60], [35, 80], [65, 80]], np.float32)
STEP = 8
"""Frames between two looks."""

Which = Callable[[int, float], int]
"""From a frame's number and where a face stands to whose it is, or what its picture is like."""


class Eyes:
    """See whose face stands where, and what it looks like, as they are told."""

    def __init__(self, who: Which, picture: Which) -> None:
        self.who, self.picture = who, picture
        self.turns: list[tuple[float, bool]] = []
        """Where the faces stood that were looked at, and whether their mirror images were."""

    def embeddings(
        self, frame: Frame, landmarks: Sequence[Any], mirrored: Sequence[bool]
    ) -> tuple[NDArray[np.float32], list[float]]:
        self.turns += [(float(p[0, 0]), turned) for p, turned in zip(landmarks, mirrored, strict=True)]
        return np.stack([PEOPLE[self.who(frame.index, float(p[0, 0]))] for p in landmarks]), [1.0] * len(landmarks)

    def patches(self, frame: Frame, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.eye(256, dtype=np.float32)[[self.picture(frame.index, float(box[0])) for box in boxes]]

    def done(self, frames: Iterable[Frame]) -> None:
        pass


def followed(
    places: Sequence[int], who: Which, picture: Which, frames: int, eyes: Eyes | None = None
) -> tuple[list[LabelledFrame], Any]:
    """Faces that stand still at these x, looked at on every eighth frame."""
    box = SimpleNamespace(padded_height=64, padded_width=64, padded=(64, 64))
    detector = SimpleNamespace(threshold=0.5, letterbox=lambda *a, **k: box, prepare=lambda *a: None)
    embedder = SimpleNamespace(threshold=0.5, strangers=0.0, dimension=8, prepare=lambda *a: None)
    gallery = Gallery.build({name: PEOPLE[[n, n]] for n, name in enumerate("ab")}, "x" * 64, 0.5)
    seeing = cast(Any, eyes or Eyes(who, picture))
    analyser = Analyser(INFO, cast(Any, detector), cast(Any, embedder), gallery, eyes=seeing)
    found = Detections(
        np.array([[x, 20, x + 100, 130] for x in places], np.float32),
        np.full(len(places), 0.95, np.float32),
        np.stack([POINTS + np.array([x, 10]) for x in places]).astype(np.float32),
    )
    out = []
    for start in range(0, frames, STEP):
        gap = [Frame(cast(Any, None), i, i, Fraction(1, 30)) for i in range(start, start + STEP)]
        out += analyser.follow(Gap(gap, {STEP - 1: found}, False))
    return [*out, *analyser.release()], analyser


def test_every_other_look_at_a_face_is_at_its_mirror_image() -> None:
    def alone(i: int, x: float) -> int:
        return int(x > 200)

    eyes = Eyes(alone, alone)
    followed([50, 300], alone, alone, 200, eyes)
    for place in (50, 300):
        turns = [turned for x, turned in eyes.turns if place <= x < place + 100]
        assert len(turns) >= 2
        assert turns == [bool(number % 2) for number in range(len(turns))]


@pytest.mark.parametrize("late", range(0, 40, STEP))
@pytest.mark.parametrize("change", [30, 48, 64, 80])
def test_a_face_becomes_another_before_its_picture_breaks(change: int, late: int) -> None:
    _, analyser = followed([50], lambda i, x: int(i >= change), lambda i, x: int(i >= change + late), 200)
    first, second = analyser.verdicts()
    assert (first.name, second.name) == ("a", "b")
    # A look that contradicts the track comes at the latest two seconds after the change.
    assert abs(second.first - change) <= 60
    assert first.last < second.first


def test_two_who_swap_places_keep_their_names() -> None:
    def swapped(i: int, x: float) -> int:
        return int((x > 200) ^ (i >= 50))

    frames, analyser = followed([50, 300], swapped, swapped, 200)
    verdicts: list[TrackVerdict] = analyser.verdicts()
    assert [(v.verdict, v.name) for v in verdicts] == [("named", "a"), ("named", "b"), ("named", "b"), ("named", "a")]
    for labelled in frames[STEP:]:
        assert [face.name for face in labelled.faces] == (["a", "b"] if labelled.frame.index < 50 else ["b", "a"])


def test_who_is_seen_beside_another_that_was_taken_for_them_has_their_name() -> None:
    """The face on the left becomes B's, and A, who it was, stands on the right from then on."""

    def who(i: int, x: float) -> int:
        return int(i >= 50) if x < 200 else 2 * int(i < 50)

    frames, _ = followed([50, 300], who, who, 200)
    assert [face.name for face in frames[-1].faces] == ["b", "a"]


def test_where_pictures_say_nothing_the_middle_parts() -> None:
    assert parting([np.zeros(4, np.float32)] * 20) == 10
    assert parting([np.eye(4, dtype=np.float32)[0]] * 21) == 11
    a, blank, b = np.eye(4, dtype=np.float32)[0], np.zeros(4, np.float32), np.eye(4, dtype=np.float32)[1]
    assert parting([a] * 5 + [blank] * 8 + [b] * 5) == 13
