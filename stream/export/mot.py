"""MOT Challenge (`.txt`): a line a face, for the tools that measure and draw trackers.

    frame, id, left, top, width, height, confidence, -1, -1, -1

Frames, ids and pixels count from 1 there: `id` is the record's track + 1, and the picture's first pixel is 1, 1. The
format has no room for names. A face that was put in between two looks has a confidence of -1, which means none: by 0 a
line of the truth is left out.

Source: Milan et al., MOT16: A Benchmark for Multi-Object Tracking, 2016, section 3.3.
"""

from __future__ import annotations

from pathlib import Path

from stream.tracks import Tracks


def encode(record: Tracks, video: Path) -> bytes:
    """Lines in order of frames, then ids."""
    lines = []
    for frame in record.frames:
        for face in sorted(frame.faces, key=lambda face: face.track):
            x1, y1, x2, y2 = (round(v, 1) for v in face.box.tolist())
            place = f"{x1 + 1:.1f},{y1 + 1:.1f},{x2 - x1:.1f},{y2 - y1:.1f}"
            score = f"{face.score:.3f}" if face.score else "-1"
            lines.append(f"{frame.index + 1},{face.track + 1},{place},{score},-1,-1,-1\n")
    return "".join(lines).encode()
