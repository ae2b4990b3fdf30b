"""Suppression against a plain reference that sorts and computes every overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.nms import nms


def reference(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float, limit: int | None) -> list[int]:
    """Greedy suppression as the textbooks have it, in float64."""
    b = boxes.astype(np.float64)
    usable = [i for i in range(len(b)) if not (np.isnan(b[i]).any() or np.isnan(scores[i]))]
    kept: list[int] = []
    for i in sorted(usable, key=lambda i: (-scores[i], i)):
        if limit is not None and len(kept) >= limit:
            break
        if all(overlap(b[i], b[j]) <= iou for j in kept):
            kept.append(i)
    return kept


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [max(0.0, c[2] - c[0]) * max(0.0, c[3] - c[1]) for c in (a, b)]
    return float(width * height / (sum(areas) - width * height))


def random_boxes(rng: np.random.Generator, count: int, size: float = 40) -> NDArray[np.float32]:
    corner = rng.uniform(0, 100, (count, 2))
    return np.hstack([corner, corner + rng.uniform(0, size, (count, 2))]).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("limit", [None, 0, 1, 7])
def test_agrees_with_the_reference(seed: int, limit: int | None) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 120))
    boxes = random_boxes(rng, count)
    # Few distinct scores make ties; some boxes have no area, some are inside out, some are not numbers.
    scores = (rng.integers(0, 12, count) / 12).astype(np.float32)
    for column, value in ((2, 0), (1, np.nan), (3, -5)):
        boxes[rng.random(count) < 0.1, column] = value
    scores[rng.random(count) < 0.1] = np.nan
    iou = float(rng.choice([0.0, 0.2, 0.4, 0.9, 1.0]))
    assert nms(boxes, scores, iou, limit).tolist() == reference(boxes, scores, iou, limit)


def test_ties_go_by_position() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 4 + [[50, 50, 60, 60]] * 2, np.float32)
    assert nms(boxes, np.full(6, 0.5, np.float32)).tolist() == [0, 4]


def test_an_overlap_of_exactly_the_bound_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [4, 20, 14, 30], [0, 20, 10, 30]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert nms(boxes, scores, 1 / 3).tolist() == [0, 1, 2]  # 1/3 stays, 6/14 goes


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_nan_is_never_kept_and_infinities_are_ordered(value: float) -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
    scores = np.array([value, np.inf, 0.1], np.float32)
    assert nms(boxes, scores).tolist() == ([1, 2] if np.isnan(value) else [1, 2, 0])


def test_none_and_one() -> None:
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)).tolist() == []
    assert nms(np.zeros((1, 4), np.float32), np.zeros(1, np.float32)).tolist() == [0]


def test_ten_thousand() -> None:
    rng = np.random.default_rng(5)
    boxes, scores = random_boxes(rng, 10_000), rng.random(10_000).astype(np.float32)
    kept = nms(boxes, scores, 0.3, 40)
    assert kept.tolist() == reference(boxes, scores, 0.3, 40)


def by_rows(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> list[int]:
    """`reference`, one vectorised row of overlaps a kept box: quick enough for thousands."""
    b = boxes.astype(np.float64)
    area = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1)
    left = [i for i in np.lexsort((np.arange(len(b)), -scores)) if not np.isnan(b[i]).any() and not np.isnan(scores[i])]
    order, kept = np.array(left, np.intp), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low, high = np.maximum(b[best, :2], b[order, :2]), np.minimum(b[best, 2:], b[order, 2:])
        shared = np.where((high > low).all(axis=1), np.prod(high - low, axis=1), 0)
        order = order[shared <= iou * (area[best] + area[order] - shared)]
    return kept


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_without_a_limit(seed: int) -> None:
    """Ties, boxes without area and NaN among ten thousand; the two references agree on a part of them."""
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 10_000, 60)
    scores = (rng.integers(0, 500, 10_000) / 500).astype(np.float32)
    boxes[::97, 2] = boxes[::97, 0]
    boxes[::89, 1] = np.nan
    scores[::83] = np.nan
    assert by_rows(boxes[:150], scores[:150], 0.4) == reference(boxes[:150], scores[:150], 0.4, None)
    assert nms(boxes, scores, 0.4).tolist() == by_rows(boxes, scores, 0.4)


def test_takes_other_layouts_and_dtypes() -> None:
    rng = np.random.default_rng(6)
    boxes, scores = random_boxes(rng, 50), rng.random(50).astype(np.float32)
    wide = np.zeros((50, 9), np.float64)
    wide[:, 2:6] = boxes
    loose: Any = wide[:, 2:6]
    assert nms(loose, scores).tolist() == nms(boxes, scores).tolist()


@pytest.mark.parametrize(
    ("boxes", "scores", "iou", "limit"),
    [((3, 5), 3, 0.4, None), ((3, 4), 2, 0.4, None), ((3, 4), 3, 1.5, None), ((3, 4), 3, 0.4, -1)],
)
def test_refuses_what_cannot_be_meant(boxes: tuple[int, int], scores: int, iou: float, limit: int | None) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        nms(np.zeros(boxes, np.float32), np.zeros(scores, np.float32), iou, limit)
