"""Comma-separated values (`.csv`, RFC 4180): a row a face.

`rows` is also what the Parquet file holds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from stream.tracks import Tracks

LANDMARKS = ("eye1", "eye2", "nose", "mouth1", "mouth2")
"""Of a pair, the one on the picture's left first."""
COLUMNS = (
    *("frame", "pts", "time", "shot", "track", "name", "verdict", "score", "similarity", "x1", "y1", "x2", "y2"),
    *(f"{point}_{axis}" for point in LANDMARKS for axis in "xy"),
)
"""`time` in seconds, boxes and points in pixels as displayed; an empty `name` is someone unknown."""

Value = int | float | str | None


def rows(record: Tracks) -> Iterator[tuple[Value, ...]]:
    """A tuple in the order of `COLUMNS` for every face of every frame; numbers rounded as in the record."""
    verdicts = {verdict.track: verdict.verdict for verdict in record.tracks}
    for frame in record.frames:
        for face in frame.faces:
            yield (
                *(frame.index, frame.pts, round(frame.time, 6), frame.shot),
                *(face.track, face.name, verdicts.get(face.track)),
                *(round(face.score, 3), None if face.similarity is None else round(face.similarity, 3)),
                *(round(v, 1) for v in (*face.box.tolist(), *face.landmarks.ravel().tolist())),
            )


def encode(record: Tracks, video: Path) -> bytes:
    """UTF-8 with a heading; a frame without a face has no row.

    No byte order mark, though Excel wants one: readers of plain UTF-8 take it for a part of the heading. And names are
    not altered so that no spreadsheet takes them for formulas: other readers could not undo it.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows(rows(record))
    return out.getvalue().encode()
