"""A few pictures out of a video, evenly spread: to check a network with what it will really see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.images import load_image
from stream.filekind import is_photo
from stream.orientation import upright
from stream.pictures import region_rgb
from stream.source import FileSource

RGB = NDArray[np.uint8]


def sample_pictures(files: Sequence[Path], count: int = 24) -> list[RGB]:
    """Up to `count` pictures of each video, and all of the photos, as displayed.

    Returns:
        uint8 `[H,W,3]` RGB each.

    Raises:
        InputError: a file that is neither, or cannot be read.

    Example:
        >>> len(sample_pictures([Path("mv.mp4")], 24))  # doctest: +SKIP
        24
    """
    pictures = []
    for file in files:
        pictures += [load_image(file)] if is_photo(file) else _of_video(file, count)
    return pictures


def _of_video(file: Path, count: int) -> list[RGB]:
    """Evenly spread without knowing how long the video is: every frame, then every second, fourth …"""
    kept: list[RGB] = []
    step = 1
    with FileSource(file) as source:
        info = source.info
        for frame in source.frames():
            if frame.index % step:
                continue
            whole = region_rgb(frame.picture, 0, 0, info.coded_width, info.coded_height)
            kept.append(upright(whole, info.rotation).copy())
            if len(kept) >= 2 * count:
                kept, step = kept[::2], 2 * step
    return [kept[n] for n in np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).astype(int))]
