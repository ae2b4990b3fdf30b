"""Records made up for tests: who is where is known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stream.frames import Face, TrackVerdict, Verdict
from stream.tracks import Header, Tracks, TracksWriter, read

GALLERY = "c" * 64
Frames = list[tuple[int, list[Face]]]
"""For every frame its shot and its faces."""
YURI, CHAEWON, STRANGER = 0, 1, 2
NTSC = Fraction(1, 30000)
"""Seconds a tick at 29.97 frames a second, 1001 ticks a frame."""


def header(**over: Any) -> Header:
    values: dict[str, Any] = {
        "path": "mv.mp4",
        "width": 160,
        "height": 90,
        "rotation": 0,
        "time_base": NTSC,
        "duration": 2.0,
        "gallery": GALLERY,
        "people": ("Yuri", "최예나"),
        "version": "0.1.0",
    }
    return Header(**(values | over))


def face(track: int, name: str | None = None, box: Sequence[float] = (20, 10, 50.5, 40), score: float = 0.9) -> Face:
    x1, y1, x2, y2 = box
    points = [
        [x1 + a * (x2 - x1), y1 + b * (y2 - y1)]
        for a, b in ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.8), (0.7, 0.8))
    ]
    return Face(
        track,
        np.array(box, np.float32),
        score,
        np.array(points, np.float32),
        name,
        None if name is None else 0.61,
    )


def write(
    path: Path,
    frames: Sequence[tuple[int, Sequence[Face]]],
    names: Mapping[int, str | None],
    *,
    pts: Sequence[int] | None = None,
    step: int = 1001,
    **over: Any,
) -> Path:
    """A record; `frames` are shots and faces, `names` the final verdicts on the tracks."""
    times = list(pts) if pts is not None else [step * i for i in range(len(frames))]
    writer = TracksWriter.open(path, header(**over), overwrite=True)
    on: dict[int, list[int]] = {}
    shots: dict[int, int] = {}
    for i, (shot, faces) in enumerate(frames):
        writer.frame(index=i, pts=times[i], shot=shot, faces=faces)
        for f in faces:
            on.setdefault(f.track, []).append(times[i])
            shots[f.track] = shot
    for track, seen in sorted(on.items()):
        name = names.get(track)
        verdict: Verdict = "unknown" if name is None else "named"
        similarity = None if name is None else 0.61
        writer.track(TrackVerdict(track, shots[track], verdict, name, similarity, seen[0], seen[-1], len(seen)))
    writer.finish()
    return path


def stage(path: Path, **over: Any) -> Path:
    """Forty frames in two shots of twenty-five and fifteen: Yuri throughout the first, then again; Yena (in Hangul)
    joins at frame 10 for ten frames; a stranger on every frame of the second. Nothing was drawn on the first three
    frames of the first track: its name stands in the verdict only.
    """
    frames: Frames = []
    for i in range(40):
        if i < 25:
            faces = [face(0, "Yuri" if i >= 3 else None, (20 + i, 10, 50.5 + i, 40))]
            if 10 <= i < 20:
                faces.append(face(1, "최예나", (100, 20, 130, 60)))
        else:
            faces = [face(2, None, (60, 30, 90, 70), 0.7), face(3, "Yuri", (5.2, 5.1, 35, 45))]
        frames.append((0 if i < 25 else 1, faces))
    return write(path, frames, {0: "Yuri", 1: "최예나", 2: None, 3: "Yuri"}, **over)


def stage_record(folder: Path, **over: Any) -> Tracks:
    return read(stage(folder / "mv.tracks.jsonl", **over))


def empty_record(folder: Path, **over: Any) -> Tracks:
    """A record without a frame."""
    return read(write(folder / "empty.tracks.jsonl", [], {}, **over))
