"""Frames between two looks: faces stand there where they must have been, and come and go on the very frame."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.types import Detections
from stream.analysis import Analyser
from stream.eyes import HostEyes
from stream.frames import Frame, LabelledFrame, VideoInfo
from stream.tracker import FAINT
from tests.networks import PEOPLE, scene

RATE, FRAMES = 30, 60
WIDTH, HEIGHT = 320, 192
SIZE = 64
CALM = [0, 8, 24, 40, 56, 59]
"""The frames that are looked at where nothing happens."""


def picture(left: float | None, wall: int = 0) -> NDArray[np.uint8]:
    """A face with its left edge there, or nobody, before one of several walls."""
    rgb = scene(WIDTH, HEIGHT, [] if left is None else [((left, 60, left + SIZE, 124), PEOPLE["ann"])])
    tiles = np.random.default_rng(wall).integers(0, 110, (4, 40, 1), dtype=np.uint8)
    rgb[:32, :, 1:] = tiles.repeat(8, 0).repeat(8, 1)  # no red, so nobody's face
    return rgb


class DimEyes(HostEyes):
    """On some frames they find faces weakly only."""

    weak: Collection[int] = ()

    def faces(self, frame: Frame, threshold: float, coarse: bool) -> Detections:
        found = super().faces(frame, threshold, coarse)
        share = np.float32(0.5 if frame.index in self.weak else 1)
        return Detections(found.boxes, found.scores * share, found.landmarks)


def run(
    place: Callable[[int], float | None],
    detector: Detector,
    *,
    every_frame: bool = False,
    cut: int | None = None,
    lookahead: float = 2.0,
    weak: Collection[int] = (),
    cautious: bool = False,
    light: Callable[[NDArray[np.uint8], int], None] = lambda rgb, index: None,
) -> list[LabelledFrame]:
    info = VideoInfo("a.mp4", WIDTH, HEIGHT, 0, Fraction(1, RATE), None, Fraction(RATE), "yuv444p")
    eyes = DimEyes(info, detector)
    eyes.weak = weak
    analyser = Analyser(info, detector, every_frame=every_frame, cautious=cautious, lookahead=lookahead, eyes=eyes)
    frames: list[LabelledFrame] = []
    for index in range(FRAMES):
        rgb = picture(place(index), int(cut is not None and index >= cut))
        light(rgb, index)
        if cut is not None and index >= cut:
            rgb[140:] = 60, 200, 10
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv444p")
        frames += analyser.push(Frame(frame, index, index, Fraction(1, RATE)))
    frames += analyser.finish()
    assert [frame.frame.index for frame in frames] == list(range(FRAMES))
    for verdict in analyser.verdicts():
        there = [frame.frame.pts for frame in frames if verdict.track in [face.track for face in frame.faces]]
        assert (verdict.first, verdict.last, verdict.frames) == (there[0], there[-1], len(there))
    return frames


def shown(frames: list[LabelledFrame]) -> list[int]:
    return [frame.frame.index for frame in frames if frame.faces]


def looked(frames: list[LabelledFrame]) -> list[int]:
    """The frames on which a face was found, not put where it must have been."""
    return [frame.frame.index for frame in frames if any(face.score > 0 for face in frame.faces)]


@pytest.mark.parametrize("first", [1, 11, 13, 16, 23])
@pytest.mark.parametrize("lookahead", [0.0, 2.0])
def test_a_face_is_there_from_its_first_frame_to_its_last(first: int, lookahead: float, detector: Detector) -> None:
    last = first + 21
    frames = run(lambda i: 100.0 if first <= i <= last else None, detector, lookahead=lookahead)
    assert shown(frames) == list(range(first, last + 1))


def test_in_between_faces_stand_on_the_line_and_say_so(detector: Detector) -> None:
    frames = run(lambda i: 40.0 + 2 * i, detector)
    found = looked(frames)
    assert found[0] == 0
    assert found[-1] == FRAMES - 1
    assert len(found) < FRAMES / 3
    assert all(frame.faces[0].score == 0.0 for frame in frames if frame.frame.index not in found)
    assert {face.track for frame in frames for face in frame.faces} == {0}
    every = run(lambda i: 40.0 + 2 * i, detector, every_frame=True)
    assert all(frame.faces[0].score > 0 for frame in every)
    for ours, theirs in zip(frames, every, strict=True):
        np.testing.assert_allclose(ours.faces[0].box, theirs.faces[0].box, atol=1.5)
        np.testing.assert_allclose(ours.faces[0].landmarks, theirs.faces[0].landmarks, atol=1.5)


def test_where_nobody_moves_looks_are_twice_as_rare(detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector)
    assert looked(frames) == CALM
    assert shown(frames) == list(range(FRAMES))


def test_a_face_that_turns_round_is_followed(detector: Detector) -> None:
    def swing(index: int) -> float:
        return 120.0 + 70.0 * float(np.sin(index / 5))

    frames = run(swing, detector)
    assert shown(frames) == list(range(FRAMES))
    wrong = [abs(float(frame.faces[0].box[0]) - swing(frame.frame.index)) for frame in frames]
    assert max(wrong) < 0.2 * SIZE


@pytest.mark.parametrize(("period", "sway"), [(8, 16), (16, 16), (8, 12), (4, 12), (10, 30)])
def test_a_head_that_sways_in_time_with_the_looks_is_followed(period: int, sway: float, detector: Detector) -> None:
    """With a period of a gap, or half of one, it stands in the same place at every look."""

    def place(index: int) -> float:
        return 120.0 + sway * float(np.sin(2 * np.pi * index / period))

    frames = run(place, detector)
    assert shown(frames) == list(range(FRAMES))
    off = [abs(float(frame.faces[0].box[0]) - place(frame.frame.index)) for frame in frames]
    assert max(off) < 0.6 * sway
    assert {face.track for frame in frames for face in frame.faces} == {0}


def test_a_slow_sway_is_followed_with_few_looks(detector: Detector) -> None:
    frames = run(lambda i: 120.0 + 16 * float(np.sin(2 * np.pi * i / 16)), detector)
    assert len(looked(frames)) <= 3 * len(CALM)


def lamps(rgb: NDArray[np.uint8], index: int) -> None:
    """Another place beside the face is lit on every frame, in colours that make no face."""
    rng = np.random.default_rng(index)
    for _ in range(3):
        x, y = rng.integers(80, 180), rng.integers(40, 130)
        rgb[y : y + 24, x : x + 24, 1:] = np.maximum(rgb[y : y + 24, x : x + 24, 1:], rng.integers(60, 255, 2))


@pytest.mark.parametrize("every", [1, 2, 5])
def test_where_the_light_moves_looks_are_bounded(every: int, detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector, light=lambda rgb, i: lamps(rgb, i // every))
    assert shown(frames) == list(range(FRAMES))
    usual = FRAMES // 8 + 1
    assert len(looked(frames)) <= usual + 7, "wrong doubts cost one look in a gap, and soon are not asked for any more"
    assert max(abs(float(frame.faces[0].box[0]) - 100.0) for frame in frames) < 2


@pytest.mark.parametrize(("weak", "first"), [([0], 0), (range(3), 0), (range(8), 0), (range(9), 8), (range(16), 8)])
def test_a_track_goes_back_to_the_look_that_found_its_face_weakly(
    weak: Collection[int], first: int, detector: Detector
) -> None:
    frames = run(lambda i: 100.0, detector, weak=weak)
    assert shown(frames) == list(range(first, FRAMES))
    assert len(looked(frames)) <= len(CALM) + 1


def test_a_track_goes_back_no_further_than_its_shot(detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector, weak=range(20), cut=20)
    assert shown(frames) == list(range(20, FRAMES))


def test_a_weak_find_elsewhere_is_no_beginning_of_a_track(detector: Detector) -> None:
    frames = run(lambda i: 100.0 if i < 12 else 200.0, detector, weak=range(12))
    assert shown(frames) == list(range(12, FRAMES))


@pytest.mark.parametrize("last", [33, 40])
def test_a_face_that_is_found_weakly_last_stays_in_between(last: int, detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector, weak=range(last, FRAMES))
    assert shown(frames) == list(range(FRAMES))


@pytest.mark.parametrize(("cautious", "last"), [(False, 3 + FAINT), (True, FRAMES - 1)])
def test_what_was_once_taken_for_a_face_is_let_go_unless_nobody_may_be_lost(
    cautious: bool, last: int, detector: Detector
) -> None:
    blip = run(lambda i: 100.0, detector, weak={*range(FRAMES)} - {3}, every_frame=True, cautious=cautious)
    assert shown(blip) == list(range(3, last + 1))
    face = run(lambda i: 100.0, detector, weak=range(6, FRAMES), every_frame=True, cautious=cautious)
    assert shown(face) == list(range(FRAMES))


@pytest.mark.parametrize("cut", [19, 30])
def test_a_cut_ends_a_track_on_its_last_frame_and_begins_one_on_its_first(cut: int, detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector, cut=cut)
    assert shown(frames) == list(range(FRAMES))
    assert [frame.frame.shot for frame in frames] == [0] * cut + [1] * (FRAMES - cut)
    assert [frame.faces[0].track for frame in frames] == [0] * cut + [1] * (FRAMES - cut)
    assert all(frames[i].faces[0].score > 0 for i in (0, cut - 1, cut, FRAMES - 1))
