"""A short video and its record, made up so that who is where is known exactly.

The picture is `media.scene`: a square that moves by three pixels a frame, so that a picture says which frame it is.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.frames import Face, TrackVerdict
from stream.source import FileSource
from stream.tracks import Header, TracksWriter
from tests.stream import media
from tests.stream.export.records import face

FRAMES = 45
WIDTH, HEIGHT = 320, 180
LEFT, RIGHT = (40.0, 30.0, 100.0, 110.0), (200.0, 40.0, 250.0, 110.0)
PEOPLE = {0: "Yuri", 1: None, 2: "Chaewon", 3: None, 4: None, 5: None}
"""The tracks."""
STRANGERS = {1: 1, 3: 1, 4: 2, 5: 1}
"""Which of the unknown a track is."""


def faces(index: int) -> list[Face]:
    """Three shots of fifteen frames, two people in each."""
    left, right = divmod(index, 15)[0] * 2, divmod(index, 15)[0] * 2 + 1
    return [face(left, PEOPLE[left], LEFT), face(right, PEOPLE[right], RIGHT)]


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
    with FileSource(clip, threads=1) as source:
        pts = [frame.pts for frame in source.frames()]
        header = Header.of(source.info, gallery="c" * 64, people=("Chaewon", "Yuri"), version="0.1.0")
    with TracksWriter.open(path, header, overwrite=True) as writer:
        for index, stamp in enumerate(pts):
            writer.frame(index=index, pts=stamp, shot=index // 15, faces=faces(index))
        for track, name in PEOPLE.items():
            first = track // 2 * 15
            kind, near = ("unknown", None) if name is None else ("named", 0.61)
            span = pts[first], pts[first + 14], 15
            writer.track(TrackVerdict(track, track // 2, kind, name, near, *span, STRANGERS.get(track)))  # type: ignore[arg-type]
        writer.finish()
    return path


def both(folder: Path, ending: str = "mp4", **settings: Any) -> Path:
    """A video and its record in a folder; the record."""
    clip = video(folder / f"mv.{ending}", **settings)
    return record(folder / "mv.tracks.jsonl", clip)
