"""Faces of a track become photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.errors import InputError, UsageError
from stream.frames import Face, TrackVerdict
from stream.photo import photo_info
from stream.source import FileSource
from stream.teach import PHOTOS, photos_of
from stream.tracks import Header, TracksWriter
from tests.stream import media

FRAMES, WIDTH, HEIGHT = 40, 160, 120
PLACES = {0: (20, 30, 50, 70), 1: (90, 20, 130, 70), 2: (90, 20, 130, 70)}
COLOURS = {0: (200, 40, 40), 1: (40, 60, 220), 2: (40, 60, 220)}


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Red on the left all the time; blue on the right in the first and in the last quarter."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    for track in visible(index):
        left, top, right, bottom = PLACES[track]
        rgb[top:bottom, left:right] = COLOURS[track]
    return rgb


def visible(index: int) -> list[int]:
    return [0] + [1] * (index < 10) + [2] * (index >= 30)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    video = tmp_path / "v.mp4"
    media.write(video, media.Video(FRAMES, WIDTH, HEIGHT, pixel_format="yuv444p", picture=stage))
    path = tmp_path / "v.tracks.jsonl"
    with FileSource(video) as source:
        writer = TracksWriter.open(path, Header.of(source.info))
        for frame in source.frames():
            faces = [
                Face(track, np.array(PLACES[track], np.float32), 0.9, np.zeros((5, 2), np.float32))
                for track in visible(frame.index)
            ]
            writer.frame(index=frame.index, pts=frame.pts, shot=0, faces=faces)
    for track, stranger in ((0, 1), (1, 2), (2, 2)):
        writer.track(TrackVerdict(track, 0, "unknown", None, 0.1, 0, 0, 1, stranger))
    writer.finish()
    return path


def middle(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        rgb = np.asarray(image).astype(np.int64)
    return np.asarray(rgb[rgb.shape[0] // 2, rgb.shape[1] // 2], np.int64)


def test_a_track_gives_its_own_faces_spread_over_its_time(record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ann"
    folder.mkdir()
    written = photos_of(record, folder, track={0})
    assert len(written) == PHOTOS == len(list(folder.iterdir()))
    assert all(np.abs(middle(path) - COLOURS[0]).max() < 12 for path in written)
    seconds = [float(path.stem.split(" at ")[1].split()[0]) for path in written]
    assert seconds == sorted(seconds)
    assert seconds[0] < 0.2
    assert seconds[-1] > 1.3


def test_a_stranger_is_all_tracks_with_that_number(record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bea"
    folder.mkdir()
    written = photos_of(record, folder, stranger=2)
    assert all(np.abs(middle(path) - COLOURS[1]).max() < 12 for path in written)
    seconds = [float(path.stem.split(" at ")[1].split()[0]) for path in written]
    assert min(seconds) < 0.4
    assert max(seconds) >= 1.2


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_gives_the_one_face_that_is_on_it(tmp_path: Path, orientation: int) -> None:
    rgb = stage(0, WIDTH, HEIGHT)
    exif = Image.Exif()
    exif[0x0112] = orientation  # 6: stored lying on its left side
    stored = np.rot90(rgb) if orientation == 6 else rgb
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    path = tmp_path / "p.tracks.jsonl"
    writer = TracksWriter.open(path, Header.of(photo_info(tmp_path / "p.png", rgb)))
    faces = [Face(n, np.array(PLACES[n], np.float32), 0.9, np.zeros((5, 2), np.float32)) for n in (0, 1)]
    writer.frame(index=0, pts=0, shot=0, faces=faces)
    for track in (0, 1):
        writer.track(TrackVerdict(track, 0, "unknown", None, 0.1, 0, 0, 1))
    writer.finish()
    folder = tmp_path / "bea"
    folder.mkdir()
    (written,) = photos_of(path, folder, track={1})
    assert np.abs(middle(written) - COLOURS[1]).max() < 3
    Image.fromarray(rgb[:-20]).save(tmp_path / "other.png")
    with pytest.raises(InputError, match="belongs to another"):
        photos_of(path, folder, track={1}, video=tmp_path / "other.png")


def test_who_is_not_there_and_videos_that_do_not_belong_are_named(record: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no track 7"):
        photos_of(record, tmp_path, track={0, 7})
    with pytest.raises(UsageError, match=r"has no unknown 3; its unknown people are 1, 2$"):
        photos_of(record, tmp_path, stranger=3)
    other = tmp_path / "other.mp4"
    media.write(other, media.Video(FRAMES, WIDTH * 2, HEIGHT, picture=stage))
    with pytest.raises(InputError, match="belongs to another video"):
        photos_of(record, tmp_path, track={0}, video=other)
    (tmp_path / "v.mp4").unlink()
    with pytest.raises(InputError, match="--video"):
        photos_of(record, tmp_path, track={0})
    assert not list(tmp_path.glob("*.png"))


def test_where_nobody_is_numbered_a_track_is_asked_for(record: Path, tmp_path: Path) -> None:
    plain = record.read_bytes()
    for number in (1, 2):
        plain = plain.replace(b',"stranger":%d' % number, b"")
    record.write_bytes(plain)
    with pytest.raises(UsageError, match=r"has no unknown 1; it numbers nobody, .*: say which with --track$"):
        photos_of(record, tmp_path, stranger=1)
