"""A sheet of training canvases with their labels: what the detector is shown, to be looked at before it is trained."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.detection_augment import AugmentSettings, Pool, Sample, make_sample

LEARNT, IGNORED = (0, 230, 0), (160, 160, 160)
"""Colours (RGB) of boxes to learn and boxes to ignore."""
POINTS = ((255, 60, 60), (60, 120, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255))
"""Colours of the five points in their order."""


def draw_sample(sample: Sample) -> NDArray[np.uint8]:
    """`[S,S,3]` the canvas with its labels drawn on a copy: faces green, ignored ones grey, points in five colours."""
    image = sample.rgb.copy()
    for box, ignored, points in zip(sample.boxes, sample.ignore, sample.landmarks, strict=True):
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), IGNORED if ignored else LEARNT, 1)
        radius = max(1, round(float(x2 - x1) / 60))
        for point, colour in zip(points, POINTS, strict=True):
            if not ignored and np.isfinite(point).all():
                cv2.circle(image, (round(float(point[0])), round(float(point[1]))), radius, colour, -1)
    return image


def canvas_sheet(
    pool: Pool, settings: AugmentSettings, *, size: int = 256, columns: int = 6, rows: int = 4, seed: int = 0
) -> NDArray[np.uint8]:
    """`[rows·size, columns·size, 3]` RGB: canvases as `make_sample` makes them, with their labels."""
    canvases = [
        draw_sample(make_sample(pool, size, settings, np.random.default_rng((seed, number))))
        for number in range(columns * rows)
    ]
    return np.concatenate([np.concatenate(canvases[r * columns : (r + 1) * columns], 1) for r in range(rows)], 0)
