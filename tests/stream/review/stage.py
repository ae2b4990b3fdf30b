"""A short video and its record, made up so that who is where is known exactly.

The picture is `media.scene`: a square that moves by three pixels a frame, so that a picture says which frame it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.frames import TrackVerdict
from stream.source import FileSource
from stream.tracks import Header, TracksWriter
from tests.stream import media
from tests.stream.export.records import face

FRAMES = 45
WIDTH, HEIGHT = 320, 180
LEFT, RIGHT = (40.0, 30.0, 100.0, 110.0), (200.0, 40.0, 250.0, 110.0)
PEOPLE = {0: "Yuri", 1: None, 2: "Chaewon", 3: None, 4: None, 5: None}
"""The tracks: two in each of three shots of fifteen frames."""
STRANGERS = {1: 1, 3: 1, 4: 2, 5: 1}
"""Which of the unknown a track is."""


def square(rgb: NDArray[np.uint8]) -> int:
    """Which frame a picture is of, as displayed at its own size."""
    row = rgb[HEIGHT // 3 + 10].astype(int).min(axis=1)
    return round(float(np.flatnonzero(row > 205)[0]) / 3)


def video(path: Path, **settings: Any) -> Path:
    """H.264 and sound in an MP4, unless said otherwise."""
    usual: dict[str, Any] = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT, "time_base": Fraction(1, 12800)}
    picture = media.Video(**usual | settings)
    return media.write(path, picture, [media.audio(seconds=FRAMES / 25)])


def record(path: Path, clip: Path) -> Path:
    """The record of such a video."""
    return _record(path, clip, list(PEOPLE.values()), STRANGERS, 2, 15)


def crowd(folder: Path, names: Sequence[str | None]) -> Path:
    """A video and its record in a folder, of people who come one after another for three frames each; the record."""
    clip = video(folder / "mv.mp4", frames=3 * len(names))
    strangers = {track: 1 + track for track, name in enumerate(names) if name is None}
    return _record(folder / "mv.tracks.jsonl", clip, names, strangers, 1, 3)


def _record(
    path: Path, clip: Path, names: Sequence[str | None], strangers: Mapping[int, int], together: int, length: int
) -> Path:
    """Shots of `length` frames, each with the next tracks, so many `together`."""
    with FileSource(clip, threads=1) as source:
        pts = [frame.pts for frame in source.frames()]
        known = tuple(sorted({name for name in names if name is not None}))
        header = Header.of(source.info, gallery="c" * 64, people=known, version="0.1.0")
    with TracksWriter.open(path, header, overwrite=True) as writer:
        for index, stamp in enumerate(pts):
            first = index // length * together
            there = zip(range(first, first + together), (LEFT, RIGHT), strict=False)
            faces = [face(track, names[track], box) for track, box in there]
            writer.frame(index=index, pts=stamp, shot=index // length, faces=faces)
        for track, name in enumerate(names):
            shot = track // together
            kind, near = ("unknown", None) if name is None else ("named", 0.61)
            span = pts[length * shot], pts[length * (shot + 1) - 1], length
            writer.track(TrackVerdict(track, shot, kind, name, near, *span, strangers.get(track)))  # type: ignore[arg-type]
        writer.finish()
    return path


def both(folder: Path, ending: str = "mp4", **settings: Any) -> Path:
    """A video and its record in a folder; the record."""
    clip = video(folder / f"mv.{ending}", **settings)
    return record(folder / "mv.tracks.jsonl", clip)
