"""Frames between two looks: faces stand there where they must have been, and come and go on the very frame."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from stream.analysis import Analyser
from stream.frames import Frame, LabelledFrame, VideoInfo
from tests.networks import PEOPLE, scene

RATE, FRAMES = 30, 60
WIDTH, HEIGHT = 320, 192
SIZE = 64


def picture(left: float | None, wall: int = 0) -> NDArray[np.uint8]:
    """A face with its left edge there, or nobody, before one of several walls."""
    rgb = scene(WIDTH, HEIGHT, [] if left is None else [((left, 60, left + SIZE, 124), PEOPLE["ann"])])
    tiles = np.random.default_rng(wall).integers(0, 110, (4, 40, 1), dtype=np.uint8)
    rgb[:32, :, 1:] = tiles.repeat(8, 0).repeat(8, 1)  # no red, so nobody's face
    return rgb


def run(
    place: Callable[[int], float | None],
    detector: Detector,
    *,
    every_frame: bool = False,
    cut: int | None = None,
    lookahead: float = 2.0,
) -> list[LabelledFrame]:
    info = VideoInfo("a.mp4", WIDTH, HEIGHT, 0, Fraction(1, RATE), None, Fraction(RATE), "yuv444p")
    analyser = Analyser(info, detector, every_frame=every_frame, lookahead=lookahead)
    frames: list[LabelledFrame] = []
    for index in range(FRAMES):
        rgb = picture(place(index), int(cut is not None and index >= cut))
        if cut is not None and index >= cut:
            rgb[140:] = 60, 200, 10
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv444p")
        frames += analyser.push(Frame(frame, index, index, Fraction(1, RATE)))
    frames += analyser.finish()
    assert [frame.frame.index for frame in frames] == list(range(FRAMES))
    return frames


def shown(frames: list[LabelledFrame]) -> list[int]:
    return [frame.frame.index for frame in frames if frame.faces]


@pytest.mark.parametrize("first", [1, 11, 13, 16, 23])
@pytest.mark.parametrize("lookahead", [0.0, 2.0])
def test_a_face_is_there_from_its_first_frame_to_its_last(first: int, lookahead: float, detector: Detector) -> None:
    last = first + 21
    frames = run(lambda i: 100.0 if first <= i <= last else None, detector, lookahead=lookahead)
    assert shown(frames) == list(range(first, last + 1))


def test_in_between_faces_stand_on_the_line_and_say_so(detector: Detector) -> None:
    frames = run(lambda i: 40.0 + 2 * i, detector)
    looked = [frame.frame.index for frame in frames if frame.faces[0].score > 0]
    assert looked[0] == 0
    assert looked[-1] == FRAMES - 1
    assert len(looked) < FRAMES / 3
    assert all(frame.faces[0].score == 0.0 for frame in frames if frame.frame.index not in looked)
    assert {face.track for frame in frames for face in frame.faces} == {0}
    every = run(lambda i: 40.0 + 2 * i, detector, every_frame=True)
    assert all(frame.faces[0].score > 0 for frame in every)
    for ours, theirs in zip(frames, every, strict=True):
        np.testing.assert_allclose(ours.faces[0].box, theirs.faces[0].box, atol=1.5)
        np.testing.assert_allclose(ours.faces[0].landmarks, theirs.faces[0].landmarks, atol=1.5)


def test_where_nobody_moves_looks_are_twice_as_rare(detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector)
    assert [frame.frame.index for frame in frames if frame.faces[0].score > 0] == [0, 8, 24, 40, 56, 59]
    assert shown(frames) == list(range(FRAMES))


def test_a_face_that_turns_round_is_followed(detector: Detector) -> None:
    def swing(index: int) -> float:
        return 120.0 + 70.0 * float(np.sin(index / 5))

    frames = run(swing, detector)
    assert shown(frames) == list(range(FRAMES))
    wrong = [abs(float(frame.faces[0].box[0]) - swing(frame.frame.index)) for frame in frames]
    assert max(wrong) < 0.2 * SIZE


@pytest.mark.parametrize("cut", [19, 30])
def test_a_cut_ends_a_track_on_its_last_frame_and_begins_one_on_its_first(cut: int, detector: Detector) -> None:
    frames = run(lambda i: 100.0, detector, cut=cut)
    assert shown(frames) == list(range(FRAMES))
    assert [frame.frame.shot for frame in frames] == [0] * cut + [1] * (FRAMES - cut)
    assert [frame.faces[0].track for frame in frames] == [0] * cut + [1] * (FRAMES - cut)
    assert all(frames[i].faces[0].score > 0 for i in (0, cut - 1, cut, FRAMES - 1))
