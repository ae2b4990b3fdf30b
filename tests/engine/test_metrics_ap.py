"""Average precision against an independent, slow computation, and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics import (
    FaceTruth,
    average_precision,
    bootstrap_ap,
    box_iou,
    match_detections,
)
from engine.types import Detections


def found(boxes: list[list[float]], scores: list[float]) -> Detections:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Detections(array, np.asarray(scores, np.float32), np.zeros((len(array), 5, 2), np.float32))


def truth(boxes: list[list[float]], ignore: list[bool] | None = None) -> FaceTruth:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return FaceTruth(array, np.asarray(ignore if ignore is not None else [False] * len(array), bool))


def slow_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_ap(seen: list[Detections], truths: list[FaceTruth], minimum: float) -> float:
    """For every score: match afresh what lies above it, then integrate the best precision at each recall."""
    faces = sum(
        1
        for t in truths
        for box, ignored in zip(t.boxes.tolist(), t.ignore.tolist(), strict=True)
        if not ignored and min(box[2] - box[0], box[3] - box[1]) >= minimum
    )
    points = []
    for level in sorted({float(s) for d in seen for s in d.scores}, reverse=True):
        hits = mistakes = 0
        for d, t in zip(seen, truths, strict=True):
            rows = sorted((r for r in range(len(d)) if d.scores[r] >= level), key=lambda r: (-float(d.scores[r]), r))
            taken: set[int] = set()
            wanted = [
                k
                for k, box in enumerate(t.boxes.tolist())
                if not t.ignore[k] and min(box[2] - box[0], box[3] - box[1]) >= minimum
            ]
            for r in rows:
                overlaps = {k: slow_iou(d.boxes[r].tolist(), t.boxes[k].tolist()) for k in range(len(t.boxes))}
                free = [k for k in wanted if k not in taken and overlaps[k] >= 0.5]
                if free:
                    hits += 1
                    taken.add(max(free, key=lambda k: overlaps[k]))
                    continue
                x1, y1, x2, y2 = d.boxes[r].tolist()
                excused = any(overlaps[k] >= 0.5 for k in range(len(t.boxes)) if k not in wanted)
                if not excused and min(x2 - x1, y2 - y1) >= minimum:
                    mistakes += 1
        if hits + mistakes:
            points.append((hits / faces, hits / (hits + mistakes)))
    area, reached = 0.0, 0.0
    for recall, _ in points:
        if recall > reached:
            area += (recall - reached) * max(p for r, p in points if r >= recall)
            reached = recall
    return area


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 12.0, 20.0]))
def test_agrees_with_the_slow_computation(seed: int, minimum: float) -> None:
    rng = np.random.default_rng(seed)
    seen, truths = [], []
    for _ in range(4):
        corners = rng.uniform(0, 60, (rng.integers(0, 6), 2))
        boxes = np.concatenate([corners, corners + rng.uniform(6, 40, (len(corners), 2))], 1)
        truths.append(truth(boxes.tolist(), (rng.random(len(boxes)) < 0.2).tolist()))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 3, (2 * len(boxes), 4))
        near = near[(near[:, 2:] - near[:, :2] > 1).all(1)]
        stray = rng.uniform(0, 60, (3, 2))
        every = np.concatenate([near, np.concatenate([stray, stray + 15], 1)])
        seen.append(found(every.tolist(), rng.integers(1, 12, len(every)).astype(float).tolist()))
    if not any((~t.ignore & ((t.boxes[:, 2:] - t.boxes[:, :2]).min(1, initial=99) >= minimum)).any() for t in truths):
        return
    assert average_precision(seen, truths, minimum=minimum).ap == pytest.approx(slow_ap(seen, truths, minimum))


def test_a_case_by_hand() -> None:
    """Two faces, three detections: hit (0.9), mistake (0.8), hit (0.7): 1/2·1 + 1/2·2/3."""
    faces = truth([[0, 0, 20, 20], [40, 40, 60, 60]])
    seen = found([[0, 0, 20, 20], [80, 80, 99, 99], [40, 40, 60, 60]], [0.9, 0.8, 0.7])
    curve = average_precision([seen], [faces])
    assert curve.ap == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert curve.faces == 2
    assert curve.at(0.85) == (1.0, 0.5)
    assert curve.at(0.69) == pytest.approx((2 / 3, 1.0))
    assert curve.at(0.95) == (1.0, 0.0)


def test_a_second_box_on_the_same_face_is_a_mistake() -> None:
    seen = found([[0, 0, 20, 20], [0, 0, 20, 19]], [0.9, 0.8])
    assert match_detections(seen, truth([[0, 0, 20, 20]])).tolist() == [1, 0]


def test_ignored_and_small_faces_neither_hit_nor_miss() -> None:
    faces = truth([[0, 0, 20, 20], [40, 0, 48, 30], [60, 60, 99, 99]], [False, False, True])
    seen = found([[60, 60, 99, 99], [40, 0, 48, 30], [0, 0, 20, 20]], [0.9, 0.8, 0.7])
    assert match_detections(seen, faces, minimum=16).tolist() == [-1, -1, 1]
    assert average_precision([seen], [faces], minimum=16).ap == 1.0
    assert average_precision([found([], [])], [faces], minimum=16).ap == 0.0
    specks = found([[80, 0, 95, 30], [80, 0, 96, 30]], [0.9, 0.8])
    assert match_detections(specks, faces, minimum=16).tolist() == [-1, 0], "a find that is too small is no mistake"


def test_nothing_to_find_is_no_number() -> None:
    assert np.isnan(average_precision([found([], [])], [truth([])]).ap)


def test_order_of_pictures_and_of_equal_scores_does_not_matter() -> None:
    faces = truth([[0, 0, 20, 20]])
    good, bad = found([[0, 0, 20, 20]], [0.5]), found([[50, 50, 70, 70]], [0.5])
    first = average_precision([good, bad], [faces, faces]).ap
    assert first == average_precision([bad, good], [faces, faces]).ap == pytest.approx(0.25)


def test_iou_of_empty_and_touching_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [3, 3, 3, 3]], float)
    overlaps = box_iou(boxes, boxes)
    assert np.allclose(overlaps, np.diag([1, 1, 0]))
    assert box_iou(np.zeros((0, 4)), boxes).shape == (0, 3)


def test_bootstrap_holds_the_value_and_is_repeatable() -> None:
    rng = np.random.default_rng(1)
    seen, truths = [], []
    for _ in range(30):
        truths.append(truth([[0, 0, 20, 20], [30, 30, 50, 50]]))
        seen.append(found([[0, 0, 20, 20], [70, 70, 90, 90]], rng.random(2).tolist()))
    ap = average_precision(seen, truths).ap
    low, high = bootstrap_ap(seen, truths, rounds=100)
    assert low < ap < high
    assert (low, high) == bootstrap_ap(seen, truths, rounds=100)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 pictures, but labels of 2"):
        average_precision([found([], [])], [truth([]), truth([])])
