"""Another face takes the place of one that is followed: its name goes no further than the face does."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from stream import label_video, read_tracks
from stream.frames import Frame, VideoInfo
from stream.identity import Identity
from stream.live.analysis import LiveAnalyser
from stream.tracks import Tracks
from tests import networks
from tests.stream import media

WIDTH, HEIGHT = 320, 192
BOX = (100, 50, 180, 146)
COVERED = (88, 200, 90)
"""No red, so nobody's face."""

Who = Callable[[int], str | None]
"""From the index of a frame to who is on it; None for a hand before the face."""


def pattern(who: str, height: int, width: int, turned: int) -> NDArray[np.bool_]:
    """Stripes that are a person's own, by which the picture of a face is sharp and unlike another's; as a face that has
    turned by so many pixels shows them."""
    y, x = np.mgrid[0:height, 0:width]
    lines = {"ann": (y + turned) // 10, "ben": (x + turned) // 10, "cho": (x + y) // 14, "대현": (x - y) // 14}
    return np.asarray(lines[who] % 2 == 0)


def scene(who: str | None, shift: float = 0.0, turned: int = 0) -> NDArray[np.uint8]:
    """uint8 `[HEIGHT,WIDTH,3]` RGB: somebody, or a hand, before a wall that stays as it is."""
    rgb = networks.scene(WIDTH, HEIGHT)
    rgb[..., 1:] = np.random.default_rng(3).integers(20, 110, (12, 20, 2), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    left, top, right, bottom = (round(value + shift * (n % 2 == 0)) for n, value in enumerate(BOX))
    if who is None:
        rgb[top - 10 : bottom + 10, left - 10 : right + 10] = COVERED
        return rgb
    networks.paint(rgb, (left, top, right, bottom), networks.PEOPLE[who])
    face = rgb[top:bottom, left:right]
    # Red, of which the embedder sees nothing.
    face[..., 0] = np.where(pattern(who, face.shape[0], face.shape[1], turned), 250, 165)
    return rgb


def label(
    who: Who,
    frames: int,
    folder: Path,
    detector: Detector,
    embedder: Embedder,
    *,
    shift: Callable[[int], float] = lambda index: 0.0,
    turned: Callable[[int], int] = lambda index: 0,
    lookahead: float = 2.0,
    every_frame: bool = False,
    two_pass: bool = False,
) -> tuple[Tracks, int]:
    """The record of a video of that, as drawn, and how many faces were embedded; 대현 is a stranger."""

    def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return scene(who(index), shift(index), turned(index))

    video = media.Video(frames=frames, width=WIDTH, height=HEIGHT, picture=picture, pixel_format="yuv444p")
    clip = media.write(folder / "a.mkv", video)
    gallery = networks.gallery_of(embedder, "ann", "ben", "cho")
    before = embedder.session.work.items
    made = label_video(
        clip,
        gallery=gallery,
        detector=detector,
        embedder=embedder,
        video=False,
        lookahead=lookahead,
        every_frame=every_frame,
        two_pass=two_pass,
    )
    return read_tracks(made.tracks, drawn=True), embedder.session.work.items - before


def wrong(record: Tracks, who: Who) -> list[int]:
    """The frames that bear the name of somebody else than who is there."""
    return [
        frame.index
        for frame in record.frames
        if any(face.name is not None and face.name != who(frame.index) for face in frame.faces)
    ]


@pytest.mark.parametrize("every_frame", [False, True])
@pytest.mark.parametrize("cut", [31, 40, 57])
def test_a_match_cut_changes_the_name_on_the_very_frame(
    cut: int, every_frame: bool, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    def who(index: int) -> str:
        return "ann" if index < cut else "ben"

    record, _ = label(who, 90, tmp_path, detector, embedder, every_frame=every_frame)
    assert [[face.name for face in frame.faces] for frame in record.frames] == [[who(i)] for i in range(90)]
    assert [(v.track, v.name, v.frames) for v in record.tracks] == [(0, "ann", cut), (1, "ben", 90 - cut)]
    assert {frame.shot for frame in record.frames} == {0}


@pytest.mark.parametrize("two_pass", [False, True])
def test_a_stranger_in_the_same_place_bears_no_name(
    two_pass: bool, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    def who(index: int) -> str:
        return "ann" if index < 45 else "대현"

    record, _ = label(who, 90, tmp_path, detector, embedder, two_pass=two_pass)
    assert not wrong(record, who)
    assert {face.name for frame in record.frames[45:] for face in frame.faces} == {None}
    assert all(len(frame.faces) == 1 for frame in record.frames)


@pytest.mark.parametrize("covered", [3, 6, 10])
def test_somebody_else_behind_a_hand_is_somebody_else(
    covered: int, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    def who(index: int) -> str | None:
        return "ann" if index < 40 else None if index < 40 + covered else "ben"

    record, _ = label(who, 90, tmp_path, detector, embedder)
    assert set(wrong(record, who)) <= set(range(40, 40 + covered)), "only before the hand, where nobody is seen"
    assert all(frame.faces[0].name == who(frame.index) for frame in record.frames if who(frame.index))


def test_one_who_comes_back_in_the_same_place_has_the_same_track(
    detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    def who(index: int) -> str:
        return "ben" if 30 <= index < 60 else "ann"

    record, _ = label(who, 90, tmp_path, detector, embedder)
    assert not wrong(record, who)
    assert [(v.name, v.frames) for v in record.tracks] == [("ann", 60), ("ben", 30)]


def test_without_look_ahead_a_name_is_wrong_for_no_longer_than_a_look_is_away(
    detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    def who(index: int) -> str:
        return "ann" if index < 41 else "ben"

    record, _ = label(who, 90, tmp_path, detector, embedder, lookahead=0.0)
    assert len(wrong(record, who)) <= 13
    assert all(face.name == "ben" for frame in record.frames[54:] for face in frame.faces)


def test_faces_that_go_on_as_they_are_cost_no_more_looks(
    detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    """Ann sways for six seconds: one look at first, and four to make sure."""
    record, looks = label(
        lambda index: "ann",
        150,
        tmp_path,
        detector,
        embedder,
        shift=lambda index: 30 * float(np.sin(index / 9)),
    )
    assert [v.name for v in record.tracks] == ["ann"]
    assert looks <= 5


def test_a_face_that_turns_without_a_break_is_looked_at_now_and_then(
    detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    """From look to look it is all another picture, from frame to frame hardly."""
    record, looks = label(lambda index: "ann", 150, tmp_path, detector, embedder, turned=lambda index: index)
    assert [v.name for v in record.tracks] == ["ann"]
    assert looks <= 5 + 6 / Identity.drift


def test_live_the_next_person_bears_another_name_at_once(detector: Detector, embedder: Embedder) -> None:
    info = VideoInfo("camera", WIDTH, HEIGHT, 0, Fraction(1, 25), None, Fraction(25), "yuv444p")
    analyser = LiveAnalyser(info, detector, embedder, networks.gallery_of(embedder, "ann", "ben"))
    names, tracks = [], []
    for index in range(60):
        picture = av.VideoFrame.from_ndarray(scene("ann" if index < 30 else "ben"), "rgb24").reformat(format="yuv444p")
        (face,) = analyser.look(Frame(picture, index, index, Fraction(1, 25))).faces
        names.append(face.name)
        tracks.append(face.track)
    assert names == ["ann"] * 30 + ["ben"] * 30
    assert tracks == [0] * 30 + [1] * 30
    assert [(v.track, v.name, v.frames) for v in analyser.ended()] == [(0, "ann", 30)]
    looks = analyser.looks_of(1)
    assert looks is not None
    assert float(looks.mean(axis=0) @ networks.gallery_of(embedder, "ben").prototypes[0]) > 0.9
