"""A face that leaves and comes back inside a shot is one track; across a cut, or as another person, it is two."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from engine.types import Detections
from stream.analysis import Analyser
from stream.frames import Frame, LabelledFrame, VideoInfo
from stream.tracker import Looks, Tracker
from tests.networks import PEOPLE, scene

RATE = 25
WIDTH, HEIGHT = 320, 192


def gallery(embedder: Embedder, *names: str) -> Gallery:
    """These people, as the synthetic embedder sees their colours."""
    crops = {name: np.full((1, 112, 112, 3), PEOPLE[name], np.uint8) for name in names}
    people = {name: embedder.embed(crop) for name, crop in crops.items()}
    return Gallery.build(people, embedder_sha256=embedder.sha256, threshold=0.9)


def striped(face: NDArray[np.uint8]) -> None:
    """Make a face sharp enough to be told from others, in place: `[H,W,3]`, whose mean colour stays what it is."""
    stripes = np.where(np.arange(face.shape[0]) // 4 % 2, 20, -20)[:, None]
    face[..., 1] = face[..., 1] + stripes


def run(
    pictures: Sequence[Sequence[tuple[float, str]]], detector: Detector, embedder: Embedder, *, lookahead: float = 2.0
) -> tuple[list[LabelledFrame], Analyser]:
    """Frames with faces (left edge in pixels, person), through the analyser."""
    info = VideoInfo("a.mp4", WIDTH, HEIGHT, 0, Fraction(1, RATE), None, Fraction(RATE), "yuv444p")
    analyser = Analyser(info, detector, embedder, gallery(embedder, "ann", "ben"), lookahead=lookahead)
    frames: list[LabelledFrame] = []
    for index, faces in enumerate(pictures):
        rgb = scene(WIDTH, HEIGHT, [((x, 60, x + 64, 124), PEOPLE[who]) for x, who in faces])
        for x, _ in faces:
            striped(rgb[60:124, round(x) : round(x) + 64])
        picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv444p")
        frames += analyser.push(Frame(picture, index, index, Fraction(1, RATE)))
    return frames + analyser.finish(), analyser


def tracks(frames: list[LabelledFrame]) -> set[int]:
    return {face.track for frame in frames for face in frame.faces}


@pytest.mark.parametrize("away", [20, 40])
def test_one_who_comes_back_elsewhere_is_the_same_track(away: int, detector: Detector, embedder: Embedder) -> None:
    frames, analyser = run([[(20, "ann")]] * 20 + [[]] * away + [[(220, "ann")]] * 20, detector, embedder)
    assert tracks(frames) == {0}
    (verdict,) = analyser.verdicts()
    assert (verdict.name, verdict.first, verdict.last, verdict.frames) == ("ann", 0, 39 + away, 40)
    assert [len(frame.faces) for frame in frames] == [1] * 20 + [0] * away + [1] * 20


def test_another_person_in_the_same_place_is_another_track(detector: Detector, embedder: Embedder) -> None:
    frames, analyser = run([[(20, "ann")]] * 20 + [[]] * 20 + [[(20, "ben")]] * 20, detector, embedder)
    assert tracks(frames) == {0, 1}
    assert [v.name for v in analyser.verdicts()] == ["ann", "ben"]


def test_an_unknown_person_who_comes_back_is_one_track_and_one_stranger(detector: Detector, embedder: Embedder) -> None:
    pictures: list[list[tuple[float, str]]] = (
        [[(20.0, "cho")]] * 20 + [[]] * 20 + [[(220.0, "cho"), (20.0, "대현")]] * 20
    )
    frames, analyser = run(pictures, detector, embedder)
    assert len(tracks(frames)) == 2
    assert {v.verdict for v in analyser.verdicts()} == {"unknown"}
    assert sorted(v.stranger or 0 for v in analyser.verdicts()) == [1, 2]


def test_nobody_is_farther_away_than_a_face_gets(detector: Detector, embedder: Embedder) -> None:
    """One look later the same face stands at the other end of the picture: three face sizes in a frame."""
    frames, analyser = run([[(20, "ann")]] * 20 + [[(220, "ann")]] * 20, detector, embedder)
    assert tracks(frames) == {0, 1}
    assert [v.name for v in analyser.verdicts()] == ["ann", "ann"]


def test_without_look_ahead_an_id_once_given_stays(detector: Detector, embedder: Embedder) -> None:
    frames, analyser = run([[(20, "ann")]] * 20 + [[]] * 20 + [[(220, "ann")]] * 20, detector, embedder, lookahead=0.0)
    assert tracks(frames) == {0, 1}
    assert [v.name for v in analyser.verdicts()] == ["ann", "ann"]


def test_two_at_once_are_never_joined(detector: Detector, embedder: Embedder) -> None:
    """The same colours twice on one frame: whoever comes back can be one of them only."""
    both = [(20.0, "ann"), (120.0, "ann")]
    frames, _ = run([both] * 20 + [[both[1]]] * 25 + [[both[1], (240.0, "ann")]] * 20, detector, embedder)
    for frame in frames:
        ids = [face.track for face in frame.faces]
        assert len(ids) == len(set(ids))
    assert tracks(frames) == {0, 1}


class ForgetfulTracker(Tracker):
    """Takes a face for a new one at its sixth look."""

    updates = 0

    def update(self, detections: Detections, time: float, looks: Looks | None = None) -> list[int]:
        self.updates += 1
        if self.updates == 6:
            self._alive.clear()
        return super().update(detections, time, looks)


def test_a_track_that_goes_on_another_has_no_hole_where_nobody_looked(
    detector: Detector, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.analysis.Tracker", ForgetfulTracker)
    frames, analyser = run([[(100, "ann")]] * 60, detector, embedder)
    assert tracks(frames) == {0}
    assert [len(frame.faces) for frame in frames] == [1] * 60
    (verdict,) = analyser.verdicts()
    assert (verdict.first, verdict.last, verdict.frames) == (0, 59, 60)
