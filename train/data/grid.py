"""Boxes ↔ the grid of a YOLO detector: which cell and which of its boxes answers for a face, and with what numbers.

As in You Only Look Once (arXiv 1506.02640, section 2): the cell that holds the middle of a box answers for it; x and y
are the middle's place inside the cell, w and h are parts of the picture. A cell has one box for each anchor, and a
face belongs to the anchor with the closest aspect ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
VALUES = 5
"""Numbers a box: confidence, x, y, w, h."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a picture is divided, and the boxes of a cell."""

    cell: int
    """Side of a cell in pixels."""
    picture: int
    """Side in pixels of the picture that w and h are parts of. A crop of it keeps the unit: 1.0 stays `picture` px."""
    anchors: tuple[tuple[float, float], ...]
    """(width, height) in pixels of the box that each predictor of a cell starts from."""
    spare_ignored: bool = True
    """Whether the free boxes of a cell with a face are ignored, as in YOLOv3 (arXiv 1804.02767, section 2.1): they see
    the same face, and non-maximum suppression removes what they say twice."""

    @property
    def boxes(self) -> int:
        """Boxes a cell, one for each anchor."""
        return len(self.anchors)

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Height over width of each anchor."""
        return np.array([height / width for width, height in self.anchors])


FACES = Grid(cell=32, picture=416, anchors=((64.0, 64.0), (64.0, 73.6)))
"""13×13 cells over 416 pixels, anchors of 1:1 and 1:1.15."""


@dataclass(frozen=True, slots=True)
class GridTarget:
    """What a network should say about one picture of R × C cells with B boxes each."""

    values: Floats
    """`[R,C,B,5]`: 1 where a box answers for a face (else all five are 0), x, y in cells, w, h in pictures."""
    ignore: NDArray[np.bool_]
    """`[R,C,B]`: boxes that are neither face nor background; never set where `values` has a face."""


def closest_anchor(boxes: Floats, grid: Grid) -> NDArray[np.intp]:
    """`[N]`: for each box `[N,4]` (x1, y1, x2, y2) the anchor with the closest aspect ratio.

    Ratios are compared by their quotient, so that it does not matter which side is divided by which. The earlier
    anchor wins a tie.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6).astype(np.float64)
    apart = np.abs(np.log(sides[:, 1] / sides[:, 0])[:, None] - np.log(grid.ratios))
    return np.asarray(apart.argmin(axis=1), np.intp)


def encode_grid(boxes: Floats, ignore: NDArray[np.bool_], height: int, width: int, grid: Grid) -> GridTarget:
    """Put faces into the grid of a picture of `height` × `width` pixels, multiples of the cell.

    Larger faces choose first; where a face's box is taken, it gets the cell's next free one, and where all are, it
    is left out (nothing there is counted as background, since the cell's boxes are all faces).

    Args:
        boxes: `[N,4]` x1, y1, x2, y2 in pixels; middles inside the picture.
        ignore: `[N]`; cells whose middle such a box covers, and the one that holds its middle, are ignored.
        height: of the picture.
        width: of the picture.
        grid: cells and anchors.

    Example:
        >>> faces = np.array([[96, 96, 160, 160]], np.float32)
        >>> target = encode_grid(faces, np.zeros(1, bool), 416, 416, FACES)
        >>> np.argwhere(target.values[..., 0]).tolist(), target.values[4, 4, 0, 1:3].tolist()
        ([[4, 4, 0]], [0.0, 0.0])
    """
    rows, columns = height // grid.cell, width // grid.cell
    values = np.zeros((rows, columns, grid.boxes, VALUES), np.float32)
    blind = np.zeros((rows, columns, grid.boxes), bool)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    places = middles / grid.cell
    homes = np.clip(np.floor(places).astype(int), 0, [columns - 1, rows - 1])
    wanted = closest_anchor(boxes, grid)
    for number in np.argsort(-sides.prod(axis=1), kind="stable"):
        column, row = homes[number]
        if ignore[number]:
            x1, y1, x2, y2 = np.clip(np.round(boxes[number] / grid.cell), 0, [columns, rows] * 2).astype(int)
            blind[y1:y2, x1:x2] = True
            blind[row, column] = True
            continue
        free = [k for k in np.roll(np.arange(grid.boxes), -wanted[number]) if values[row, column, k, 0] == 0]
        if free:
            offset = places[number] - homes[number]
            values[row, column, free[0]] = [1, *offset, *(sides[number] / grid.picture)]
            blind[row, column] |= grid.spare_ignored
    blind &= values[..., 0] == 0
    return GridTarget(values, blind)


def decode_grid(values: Floats, grid: Grid, threshold: float = 0.5) -> tuple[Floats, Floats]:
    """Boxes `[N,4]` in pixels and their confidences `[N]`, of all boxes `[R,C,B,5]` with at least that confidence.

    The inverse of `encode_grid` up to order, row by row. Confidences over 1 come back as 1.
    """
    row, column, number = np.nonzero(values[..., 0] >= threshold)
    found = values[row, column, number].astype(np.float64)
    middles = (np.stack([column, row], 1) + found[:, 1:3]) * grid.cell
    half = found[:, 3:] * grid.picture / 2
    boxes = np.concatenate([middles - half, middles + half], axis=1)
    return boxes.astype(np.float32), found[:, 0].clip(max=1).astype(np.float32)
