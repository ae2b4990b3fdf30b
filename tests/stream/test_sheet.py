"""Contact sheets: the right people in the right order, the right pixels in the right frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.errors import InputError, OutputError
from stream.cuttings import choose
from stream.frames import Face, TrackVerdict
from stream.live.timeline import TICK
from stream.sheet import CROPS, TILE, Crop, Row, contact_sheet, draw_sheet, groups_of, lightened
from stream.source import FileSource
from stream.styles import GREY, colour_of
from stream.summary import UNKNOWN_ROWS
from stream.tracks import Header, TracksWriter, read
from stream.wording import clock, length
from tests.stream import media

FRAMES, WIDTH, HEIGHT = 36, 160, 120
SQUARES = {0: ((20, 30, 50, 70), (200, 40, 40)), 1: ((90, 20, 130, 70), (40, 60, 220))}


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Two faces of plain colour; the second one's green tells the frame."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    for (left, top, right, bottom), colour in SQUARES.values():
        rgb[top:bottom, left:right] = colour
    left, top, right, bottom = SQUARES[1][0]
    rgb[top:bottom, left:right, 1] = 60 + 4 * index
    return rgb


def face(track: int, box: tuple[float, ...], name: str | None, score: float = 0.9) -> Face:
    return Face(track, np.array(box, np.float32), score, np.zeros((5, 2), np.float32), name, 0.6 if name else None)


def record(video: Path, path: Path, frames: int = FRAMES) -> Path:
    """Yuri on all frames from 4 on, somebody unknown on the first half."""
    with FileSource(video) as source:
        writer = TracksWriter.open(path, Header.of(source.info, gallery="0" * 64, people=("유리", "예나")))
        for frame in source.frames():
            if frame.index >= frames:
                break
            faces = [face(0, SQUARES[0][0], "유리")] if frame.index >= 4 else []
            if frame.index < FRAMES // 2:
                faces.append(face(1, SQUARES[1][0], None, 0.5 + frame.index / 100))
            writer.frame(index=frame.index, pts=frame.pts, shot=0, faces=faces)
    writer.track(TrackVerdict(0, 0, "named", "유리", 0.6, 0, 0, 1))
    writer.track(TrackVerdict(1, 0, "unknown", None, None, 0, 0, 1))
    writer.finish()
    return path


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_faces_are_cut_from_their_frames_as_displayed(tmp_path: Path, rotation: int) -> None:
    turns = rotation // 90

    def stored(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(np.rot90(stage(index, WIDTH, HEIGHT), turns))

    sides = (HEIGHT, WIDTH) if turns % 2 else (WIDTH, HEIGHT)
    video = tmp_path / "v.mp4"
    media.write(video, media.Video(FRAMES, *sides, pixel_format="yuv444p", picture=stored, rotation=-rotation))
    with FileSource(video) as source:
        assert source.info.rotation == rotation
    out = contact_sheet(video, record(video, tmp_path / "v.tracks.jsonl"), tmp_path / "v.png")
    with Image.open(out) as image:
        assert image.format == "PNG"
        sheet = np.asarray(image).astype(int)
    # Crops stand in a grid; the middle of every one is the face's own colour.
    centres = [sheet[92 + 10 + TILE // 2, 28 + 300 + i * (TILE + 10) + TILE // 2] for i in range(CROPS)]
    assert all(np.abs(c - SQUARES[0][1]).max() < 12 for c in centres)
    second = 92 + 10 + TILE // 2 + TILE + 24 + 20 + 10
    greens = [int(sheet[second, 28 + 300 + i * (TILE + 10) + TILE // 2][1]) for i in range(CROPS)]
    # the best-scored frame of each sixth of frames 0 to 17 is its last
    expected = [60 + 4 * index for index in (2, 5, 8, 11, 14, 17)]
    assert np.abs(np.array(greens) - expected).max() <= 3


def test_choose_spreads_over_time_and_takes_a_frame_once(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    media.write(video, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage))
    groups, hidden = groups_of(read(record(video, tmp_path / "r.tracks.jsonl")))
    assert hidden == 0
    assert [(g.title, g.known, len(g.sights)) for g in groups] == [("유리", True, 32), ("unknown, track 1", False, 18)]
    assert groups[0].presence.seconds == pytest.approx(32 / 25, abs=0.002)
    chosen = choose([*groups[0].sights, *groups[0].sights], CROPS)
    indices = [s.frame.index for s in chosen]
    assert len(indices) == CROPS
    assert indices == sorted(set(indices))
    assert indices[0] < 10
    assert indices[-1] > 26
    assert len(choose(groups[0].sights[:2], CROPS)) == 2
    large = choose([*groups[1].sights], CROPS)
    assert [s.frame.index for s in large] == [2, 5, 8, 11, 14, 17]


def test_a_crowd_gets_a_few_rows_and_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "crowd.tracks.jsonl"
    writer = TracksWriter.open(path, Header("c.mp4", WIDTH, HEIGHT, 0, Fraction(1, 25), None))
    for i in range(20):
        writer.frame(index=i, pts=i, shot=0, faces=[face(t, (1, 1, 9, 9), None) for t in range(20) if t >= i])
    for track in range(20):
        writer.track(TrackVerdict(track, 0, "unknown", None, None, 0, track, track + 1))
    writer.finish()
    groups, hidden = groups_of(read(path))
    assert hidden == 20 - UNKNOWN_ROWS
    assert [g.sights[0].face.track for g in groups] == list(range(20 - UNKNOWN_ROWS, 20))  # the longest, by number


def test_a_row_has_the_persons_colour(tmp_path: Path) -> None:
    """As the style `colours` draws them, whoever is on screen longest."""
    video = tmp_path / "v.mp4"
    media.write(video, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage))
    out = contact_sheet(video, record(video, tmp_path / "v.tracks.jsonl"), tmp_path / "v.png")
    with Image.open(out) as image:
        sheet = np.asarray(image).astype(int)
    for row, colour in enumerate((colour_of("유리", ("유리", "예나")), GREY)):
        edge = sheet[92 + row * (TILE + 24 + 20 + 10) + 20, 28 + 3]
        assert np.abs(edge - np.array(colour) * 255).max() <= 1


def test_dark_faces_are_lightened_and_others_left_alone() -> None:
    rng = np.random.default_rng(3)
    dark, light = (rng.integers(0, top, (TILE, TILE, 3)).astype(np.uint8) for top in (40, 200))
    assert lightened(light) is light
    lifted = lightened(dark)
    assert 50 < lifted.mean() < 80
    order = np.argsort(dark.reshape(-1), kind="stable")
    assert (np.diff(lifted.reshape(-1)[order].astype(int)) >= 0).all()  # what was brighter still is
    black = np.zeros((2, 2, 3), np.uint8)
    assert lightened(black).max() == 0


def test_tracks_of_one_stranger_share_a_row(tmp_path: Path) -> None:
    path = tmp_path / "s.tracks.jsonl"
    writer = TracksWriter.open(path, Header("c.mp4", WIDTH, HEIGHT, 0, Fraction(1, 25), None))
    for i in range(12):
        writer.frame(index=i, pts=i, shot=i // 4, faces=[face(i // 4, (1, 1, 9, 9), None)])
    for track, number in enumerate((1, 2, 1)):
        writer.track(TrackVerdict(track, track, "unknown", None, 0.1, 4 * track, 4 * track + 3, 4, number))
    writer.finish()
    groups, _ = groups_of(read(path))
    assert [(g.title, len(g.sights)) for g in groups] == [("unknown 1", 8), ("unknown 2", 4)]


def test_other_videos_are_refused(tmp_path: Path) -> None:
    video, short, wide = tmp_path / "v.mp4", tmp_path / "short.mp4", tmp_path / "wide.mp4"
    media.write(video, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage))
    media.write(short, media.Video(5, WIDTH, HEIGHT, picture=stage))
    media.write(wide, media.Video(FRAMES, WIDTH * 2, HEIGHT, picture=stage))
    tracks = record(video, tmp_path / "v.tracks.jsonl")
    with pytest.raises(InputError, match=r"short\.mp4 lasts 0\.2 s, but .*of 1\.4 s"):
        contact_sheet(short, tracks, tmp_path / "s.png")
    few = tmp_path / "few.mp4"
    media.write(few, media.Video(FRAMES - 20, WIDTH, HEIGHT, picture=stage))
    with pytest.raises(InputError, match=r"few\.mp4 has no frame"):
        contact_sheet(few, tracks, tmp_path / "s.png")
    slower = tmp_path / "slower.mp4"
    times = [512 * (index + (index > 20)) for index in range(FRAMES)]
    media.write(slower, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage, pts=times))
    with pytest.raises(InputError, match=r"slower\.mp4 shows frame \d+ at .* and the record at"):
        contact_sheet(slower, tracks, tmp_path / "s.png")
    with pytest.raises(InputError, match=r"wide\.mp4 is 320x120.*160x120"):
        contact_sheet(wide, tracks, tmp_path / "s.png")
    (tmp_path / "there.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"there\.png exists"):
        contact_sheet(video, tracks, tmp_path / "there.png")
    with pytest.raises(OutputError, match="nowhere"):
        contact_sheet(video, tracks, tmp_path / "nowhere" / "s.png")
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert not (tmp_path / "s.png").exists()


def test_a_copy_that_begins_elsewhere_will_do(tmp_path: Path) -> None:
    video, copy = tmp_path / "v.mp4", tmp_path / "copy.mkv"
    media.write(video, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage))
    times = [23 + round(40 * index) for index in range(FRAMES)]
    media.write(copy, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage, pts=times, time_base=Fraction(1, 1000)))
    tracks = record(video, tmp_path / "v.tracks.jsonl")
    one, other = (contact_sheet(each, tracks, tmp_path / f"{each.stem}.png") for each in (video, copy))
    with Image.open(one) as a, Image.open(other) as b:
        assert a.size == b.size


def test_the_copy_of_a_source_that_was_cut_short_will_do(tmp_path: Path) -> None:
    """The source says that it is longer than what was found in it."""
    video, copy = tmp_path / "v.mp4", tmp_path / "copy.mp4"
    media.write(video, media.Video(48, WIDTH, HEIGHT, picture=stage))
    media.write(copy, media.Video(20, WIDTH, HEIGHT, picture=stage))
    tracks = record(video, tmp_path / "v.tracks.jsonl", frames=20)
    assert read(tracks).header.duration == pytest.approx(1.92)
    assert contact_sheet(copy, tracks, tmp_path / "s.png").is_file()


def test_the_record_of_a_live_source_is_refused(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    media.write(video, media.Video(FRAMES, WIDTH, HEIGHT, picture=stage))
    path = tmp_path / "live.tracks.jsonl"
    writer = TracksWriter.open(path, Header("v.mp4", WIDTH, HEIGHT, 0, TICK, None))
    for index in range(10):
        writer.frame(index=index, pts=round(index * 55 / 1000 / TICK), shot=0, faces=[face(0, SQUARES[0][0], None)])
    writer.track(TrackVerdict(0, 0, "unknown", None, None, 0, 9, 10, 1))
    writer.finish()
    with pytest.raises(InputError, match="record of a live source"):
        contact_sheet(video, path, tmp_path / "s.png")


def test_an_empty_record_gives_a_sheet_that_says_so(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    media.write(video, media.Video(3, WIDTH, HEIGHT, picture=stage))
    path = tmp_path / "none.tracks.jsonl"
    writer = TracksWriter.open(path, Header("v.mp4", WIDTH, HEIGHT, 0, Fraction(1, 25), None))
    writer.finish()
    out = contact_sheet(video, path, tmp_path / "s.png")
    with Image.open(out) as image:
        assert image.height < 250


def test_draw_sheet_is_pure_and_shows_every_row() -> None:
    crop = Crop(np.full((TILE, TILE, 3), (10, 200, 30), np.uint8), 1.5)
    rows = [Row("さくら", True, ("a", "b"), (crop,) * CROPS), Row("x" * 300, False, (), ())]
    first, second = (draw_sheet("mv.mp4" * 60, "s", rows, hidden=3) for _ in range(2))
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    green = (first == (10, 200, 30)).all(-1)
    assert green.sum() == CROPS * TILE * TILE
    assert len(draw_sheet("m", "s", rows)) > len(draw_sheet("m", "s", rows[:1]))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (3599.97, "1:00:00.0"), (-0.01, "0:00.0"), (-2, "-0:02.0")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_times_and_lengths_are_rounded_alike() -> None:
    for hundredths in range(10, 5995):
        assert clock(hundredths / 100) == f"0:{length(hundredths / 100).removesuffix(' s').zfill(4)}"


def test_what_is_there_has_a_length() -> None:
    assert [length(seconds) for seconds in (0.0, 0.02, 0.96, 61.25)] == ["0.0 s", "0.1 s", "1.0 s", "61.2 s"]
