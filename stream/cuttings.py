"""Faces cut out of a video where its record says they are: for contact sheets, and to teach somebody new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from stream.frames import Face, Frame, VideoInfo
from stream.orientation import boxes_to_coded, upright
from stream.pictures import region_rgb
from stream.source import FileSource
from stream.tracks import RecordedFrame

RGB = NDArray[np.uint8]
SLACK = 0.02
"""Seconds that a frame's time may be off, as some containers round times to milliseconds."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A face and the frame it is on."""

    frame: RecordedFrame
    face: Face


def choose(sights: Sequence[Sight], count: int) -> list[Sight]:
    """The clearest sights, spread over time: the best of each of `count` equal parts.

    Large, confidently found faces are clear. A frame is taken once.
    """
    by_frame = {s.frame.index: s for s in sorted(sights, key=_clarity)}
    ordered = [by_frame[index] for index in sorted(by_frame)]
    bounds = np.linspace(0, len(ordered), min(count, len(ordered)) + 1).astype(int)
    return [max(ordered[a:b], key=_clarity) for a, b in pairwise(bounds.tolist())]


def _clarity(sight: Sight) -> float:
    left, top, right, bottom = sight.face.box.tolist()
    return float(sight.face.score * np.sqrt(max(0.0, right - left) * max(0.0, bottom - top)))


def cut_out(source: FileSource, chosen: Iterable[Sequence[Sight]], room: float) -> list[list[RGB]]:
    """The faces of each group, uint8 `[S,S,3]` RGB as displayed, in one pass up to the last frame that is wanted.

    Args:
        source: the video of the record.
        chosen: groups of sights.
        room: side of the cutting in longer sides of the face's box.

    Raises:
        InputError: the video ends before a frame that is wanted, or shows the frames at other times: it is another one.
    """
    cuttings: list[list[RGB]] = []
    wanted: defaultdict[int, list[tuple[list[RGB], Sight]]] = defaultdict(list)
    for sights in chosen:
        row: list[RGB] = []
        cuttings.append(row)
        for sight in sights:
            wanted[sight.frame.index].append((row, sight))
    later: float | None = None
    """Seconds by which the video's times are later than the record's: a copy may begin elsewhere."""
    for frame in source.frames() if wanted else ():
        for row, sight in wanted.pop(frame.index, ()):
            later = frame.time - sight.frame.time if later is None else later
            if abs(frame.time - sight.frame.time - later) > SLACK:
                raise InputError(
                    f"{source.path} shows frame {frame.index} at {frame.time:.2f} s and the record at "
                    f"{sight.frame.time + later:.2f} s; give the video that the record was made of, or its whole copy"
                )
            row.append(cut(frame, sight.face, source.info, room))
        if not wanted:
            break
    if wanted:
        raise InputError(
            f"{source.path} has no frame {max(wanted)}; give the video that the record was made of, or its whole copy"
        )
    return cuttings


def cut(frame: Frame, face: Face, info: VideoInfo, room: float) -> RGB:
    """The face with some room around it, uint8 `[S,S,3]` RGB; square where the picture is large enough for that."""
    left, top, right, bottom = face.box.tolist()
    side = min(room * max(right - left, bottom - top, 8.0), info.width, info.height)
    x = min(max((left + right - side) / 2, 0.0), info.width - side)
    y = min(max((top + bottom - side) / 2, 0.0), info.height - side)
    region = boxes_to_coded(np.array([[x, y, x + side, y + side]], np.float32), info)[0].round().astype(int)
    x0, y0 = max(0, int(region[0])), max(0, int(region[1]))
    x1 = min(frame.picture.width, max(x0 + 1, int(region[2])))
    y1 = min(frame.picture.height, max(y0 + 1, int(region[3])))
    return np.ascontiguousarray(upright(region_rgb(frame.picture, x0, y0, x1, y1), info.rotation))
