"""A picture of what the rectangles network says about plots it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import Detections
from train.data.rectangles import SIDE, Plot

PIXEL = 14
"""Pixels of the sheet a pixel of a plot."""
GAP = 10
TRUE, FOUND = (220, 40, 40), (20, 120, 255)


def rectangles_sheet(plots: Sequence[Plot], found: Sequence[Detections], columns: int = 8) -> NDArray[np.uint8]:
    """RGB: every plot with the true outlines in red and, just inside, the answers in blue with their middles."""
    tiles = [_tile(plot, answer) for plot, answer in zip(plots, found, strict=True)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[k : k + columns], axis=1) for k in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def _tile(plot: Plot, answer: Detections) -> NDArray[np.uint8]:
    grey = np.asarray(255 - 200 * plot.image, np.uint8)
    image = cv2.cvtColor(
        cv2.resize(grey, None, fx=PIXEL, fy=PIXEL, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB
    )
    image = cv2.copyMakeBorder(image, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    side = SIDE * PIXEL + 2 * GAP - 1
    cv2.rectangle(image, (GAP - 1, GAP - 1), (side - GAP + 1, side - GAP + 1), (200, 200, 200), 1)
    for box in plot.boxes:
        x1, y1, x2, y2 = (round(float(v) * PIXEL) + GAP for v in box)
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), TRUE, 2)
    for box in answer.boxes:
        x1, y1, x2, y2 = (round(float(v) * PIXEL) + GAP for v in box)
        cv2.rectangle(image, (x1 + 3, y1 + 3), (x2 - 4, y2 - 4), FOUND, 2)
        cv2.circle(image, ((x1 + x2) // 2, (y1 + y2) // 2), 4, FOUND, -1)
    return np.asarray(image, np.uint8)
