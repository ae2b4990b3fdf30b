"""Aligned face crops as training pictures of the detector: many people, known points, faces that fill the frame.

The crops of the embedder's archive carry no boxes. Both teachers look at each crop with a border of blurred pixels
round it (they were trained on faces with a surrounding), and what they agree on becomes its label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.boxes import Picture, unknown_landmarks
from train.data.face_teachers import FaceTeacher
from train.data.faces import read_faces
from train.data.pseudo_labels import View, cached_views, pseudo_label

BORDER = 40
"""Pixels added on every side for the teachers."""
VIEWS = (View(224),)


def with_border(rgb: NDArray[np.uint8], border: int = BORDER) -> NDArray[np.uint8]:
    """`[H+2b,W+2b,3]`: the crop on a strongly blurred continuation of itself.

    Example:
        >>> with_border(np.zeros((128, 128, 3), np.uint8)).shape
        (208, 208, 3)
    """
    wide = cv2.copyMakeBorder(rgb, border, border, border, border, cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(wide, (0, 0), border / 4)
    soft[border:-border, border:-border] = rgb
    return np.asarray(soft, np.uint8)


def load_portraits(
    path: Path,
    teachers: tuple[FaceTeacher, FaceTeacher],
    cache: Path,
    *,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Picture]:
    """Up to `count` crops of the archive, drawn at random, on which the teachers agree on exactly one face.

    Raises:
        InputError: the archive cannot be read.
    """
    faces = read_faces(path)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(faces))[:count])
    nothing = np.zeros((0, 4), np.float32)
    crops = [
        Picture(faces.files[i], with_border(faces.pictures[i]), nothing, np.zeros(0, bool), unknown_landmarks(0))
        for i in drawn
    ]
    first, second = (cached_views(crops, teacher, VIEWS, cache, progress=progress) for teacher in teachers)
    portraits = []
    for crop, a, b in zip(crops, first, second, strict=True):
        seen = pseudo_label(crop, a, b)
        if len(seen.boxes) == 1 and not seen.ignore[0]:
            portraits.append(replace(seen, source="portrait"))
    return portraits
