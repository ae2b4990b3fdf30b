"""The picture that stands in for a feed that gives none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import av
import numpy as np

from stream.frames import VideoInfo
from stream.glyphs import Glyphs
from stream.overlay import text_size_of
from stream.pictures import convert

GROUND = 28
"""Grey level of the picture; its text is nearly white."""
TEXT = 225


def slate(info: VideoInfo, lines: Sequence[str]) -> av.VideoFrame:
    """A dark picture of a feed's geometry with lines of text in its middle, the second twice as large.

    Example:
        >>> slate(info, ("door", "no signal", "since 20:15:00"))            # doctest: +SKIP
        <av.VideoFrame, pts=None yuv420p 1280x720>
    """
    grey = np.full((info.height, info.width), GROUND, np.uint8)
    size = text_size_of(info.width, info.height)
    masks = [
        _glyphs().mask(line, size * (2 if n == 1 else 1), info.width) for n, line in enumerate(lines) if line.strip()
    ]
    top = max(0, (info.height - sum(mask.shape[0] for mask in masks)) // 2)
    for mask in masks:
        left = max(0, (info.width - mask.shape[1]) // 2)
        place = grey[top : top + mask.shape[0], left : left + mask.shape[1]]
        part = mask[: place.shape[0], : place.shape[1]].astype(np.uint16)
        place[...] = (GROUND * (255 - part) + TEXT * part) // 255
        top += mask.shape[0]
    stored = np.ascontiguousarray(np.rot90(grey, info.rotation // 90)).repeat(3).reshape(*_stored(info), 3)
    return convert(av.VideoFrame.from_ndarray(stored, "rgb24"), info.pixel_format)


def _stored(info: VideoInfo) -> tuple[int, int]:
    return info.coded_height, info.coded_width


@lru_cache(maxsize=1)
def _glyphs() -> Glyphs:
    return Glyphs()
