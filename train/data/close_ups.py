"""Close-ups: crops in which one face is taller than half of the frame, up to overfilling it.

What one-stage detectors are known to miss. Crops depend on the pictures and the seed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.data.boxes import Picture, large_faces, unknown_landmarks

SHARES = (0.5, 1.4)
"""Height of the whole face in parts of the frame's height."""
VISIBLE = 0.7
"""Part of the face's box that the frame must show."""
MOST = 3
"""Crops of one face."""
TRIES = 12
"""Draws for each face; a picture may have no room for what is drawn."""


@dataclass(frozen=True, slots=True)
class CloseUp:
    """A crop with one face in it."""

    picture: Picture
    """Its one box is what of the face lies inside the crop."""
    share: float
    """Height of the whole face in parts of the frame's height."""
    visible: float
    """Part of the face's box that lies inside the frame."""
    source: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it counts as: where it is from, how large, and whether it is cut."""
        if self.share < 0.8:
            size = "face 0.5–0.8 of the frame"
        elif self.share < 1.1:
            size = "face 0.8–1.1 of the frame"
        else:
            size = "face 1.1–1.4 of the frame"
        return self.source, size, "whole" if self.visible > 0.95 else "cut by the border"


def close_ups(pictures: Sequence[Picture], count: int, source: str = "", seed: int = 0) -> list[CloseUp]:
    """Up to `count` crops, the faces of `pictures` in turn, at most `MOST` different crops of each.

    Frames are 16:9 where the picture is wide enough, else as wide as it is; the face lies anywhere in the frame as
    long as `VISIBLE` of its box is inside and what is inside is taller than half of the frame. A frame is moved, never
    padded, at the picture's edges.
    """
    faces = [(picture, k) for picture in pictures for k in large_faces(picture).tolist()]
    np.random.default_rng(seed).shuffle(faces)
    made: dict[str, CloseUp] = {}
    crops_of: Counter[int] = Counter()
    for turn in range(TRIES * len(faces)):
        if len(made) >= count:
            break
        face = turn % len(faces)
        crop = _crop(*faces[face], source, np.random.default_rng((seed, turn)))
        if crop is not None and crop.picture.name not in made and crops_of[face] < MOST:
            made[crop.picture.name] = crop
            crops_of[face] += 1
    return list(made.values())


def _crop(picture: Picture, face: int, source: str, rng: np.random.Generator) -> CloseUp | None:
    """One crop around a face, or None where the picture has no room for what was drawn."""
    tall, wide = picture.rgb.shape[:2]
    x1, y1, x2, y2 = (float(v) for v in picture.boxes[face])
    height = (y2 - y1) / np.exp(rng.uniform(*np.log(SHARES)))
    height = min(height, tall)
    width = min(height * 16 / 9, wide)
    left = (x1 + x2) / 2 - rng.uniform(0.15, 0.85) * width
    top = (y1 + y2) / 2 - rng.uniform(0.25, 0.75) * height
    corner = np.round(np.clip([left, top], 0, [wide - width, tall - height])).astype(int)
    end = np.minimum(corner + np.round([width, height]).astype(int), [wide, tall])
    window = np.concatenate([corner, end])
    rgb = np.ascontiguousarray(picture.rgb[window[1] : window[3], window[0] : window[2]])
    box = np.clip(picture.boxes[face], np.tile(corner, 2), np.tile(end, 2)) - np.tile(corner, 2)
    visible = float(np.prod(box[2:] - box[:2]) / ((x2 - x1) * (y2 - y1)))
    if visible < VISIBLE or (box[3] - box[1]) < 0.5 * rgb.shape[0]:
        return None
    crop = Picture(
        f"{picture.name}#{face}@{','.join(str(v) for v in window)}",
        rgb,
        box[None].astype(np.float32),
        np.zeros(1, bool),
        unknown_landmarks(1),
        source,
    )
    return CloseUp(crop, (y2 - y1) / rgb.shape[0], visible, source)
