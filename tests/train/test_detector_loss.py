"""The detection loss against plain NumPy, its choice of cells, and its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from train.data.boxes import cell_centres, encode_boxes, unknown_landmarks  # noqa: E402
from train.data.detection_augment import Batch, Sample, assemble  # noqa: E402
from train.losses.detection import (  # noqa: E402
    LossWeights,
    choose_cells,
    detection_loss,
    iou_and_giou,
    memory_loss,
    teacher_loss,
)

STRIDES = (8, 16)
SIDE = 32


def batch_of(boxes: list[list[float]], ignore: list[bool] | None = None) -> Batch:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    flags = np.asarray(ignore if ignore is not None else [False] * len(array), bool)
    return assemble([Sample(np.zeros((SIDE, SIDE, 3), np.uint8), array, flags, unknown_landmarks(len(array)))], STRIDES)


def tensors(batch: Batch) -> dict[str, Any]:
    return {n: tf.constant(getattr(batch, n)) for n in ("boxes", "landmarks", "cells", "valid", "ignore")}


def run(flat: np.ndarray, batch: Batch) -> tuple[Any, dict[str, Any]]:
    centres, strides = cell_centres(SIDE, SIDE, STRIDES)
    loss, parts = detection_loss(tf.constant(flat), tensors(batch), centres, strides, LossWeights())
    return loss, {k: float(v) for k, v in parts.items()}


def blank_prediction(score: float = -5.0) -> np.ndarray:
    centres, _ = cell_centres(SIDE, SIDE, STRIDES)
    flat = np.zeros((1, len(centres), 15), np.float32)
    flat[..., 0] = score
    flat[..., 1:5] = 1.0
    return flat


def slow_giou(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    x1, y1, x2, y2 = -a[0], -a[1], a[2], a[3]
    u1, v1, u2, v2 = -b[0], -b[1], b[2], b[3]
    shared = max(0, min(x2, u2) - max(x1, u1)) * max(0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
    hull = (max(x2, u2) - min(x1, u1)) * (max(y2, v2) - min(y1, v1))
    return shared / union, shared / union - (hull - union) / hull


def test_overlaps_agree_with_corner_arithmetic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.05, 4, (2, 200, 4)).astype(np.float32)
    iou, giou = iou_and_giou(tf.constant(a), tf.constant(b))
    expected = np.array([slow_giou(p, q) for p, q in zip(a, b, strict=True)])
    assert np.allclose(iou, expected[:, 0], atol=1e-5)
    assert np.allclose(giou, expected[:, 1], atol=1e-5)


def test_a_perfect_answer_costs_nothing() -> None:
    box = [[4.0, 6.0, 26.0, 27.0]]
    batch = batch_of(box)
    centres, strides = cell_centres(SIDE, SIDE, STRIDES)
    flat = blank_prediction(-20.0)
    for cell in batch.cells[0][batch.valid[0]]:
        flat[0, cell, 1:] = encode_boxes(
            np.asarray(box, np.float32), unknown_landmarks(1), centres[cell : cell + 1], strides[cell : cell + 1]
        )[0]
        flat[0, cell, 0] = 20.0
    flat = np.nan_to_num(flat)
    loss, parts = run(flat, batch)
    assert float(loss) == pytest.approx(0, abs=1e-3)
    assert parts["iou"] == pytest.approx(1, abs=1e-4)
    assert parts["positives"] == batch.valid[0].sum(), "all candidates overlap wholly, so all are kept"


def test_score_part_against_numpy() -> None:
    """No face, nothing ignored: each cell pays p²·(−log(1−p))."""
    rng = np.random.default_rng(3)
    flat = blank_prediction()
    flat[0, :, 0] = rng.normal(0, 2, flat.shape[1])
    p = 1 / (1 + np.exp(-flat[0, :, 0].astype(float)))
    _, parts = run(flat, batch_of([]))
    assert parts["score"] == pytest.approx(float((p**2 * -np.log(1 - p)).sum()), rel=1e-4)
    assert parts["box"] == parts["landmarks"] == 0


def test_ignored_cells_pay_nothing() -> None:
    flat = blank_prediction(3.0)
    whole = batch_of([[0, 0, SIDE, SIDE]], [True])
    _, parts = run(flat, whole)
    assert parts["score"] == 0
    _, parts = run(flat, batch_of([]))
    assert parts["score"] > 1


def test_a_contested_cell_goes_to_the_cheaper_face() -> None:
    cells = tf.constant([[3, 4], [3, 5]])
    valid = tf.constant([[True, True], [True, True]])
    cost = tf.constant([[1.0, 5.0], [2.0, 3.0]])
    iou = tf.constant([[0.9, 0.9], [0.9, 0.9]])
    assert choose_cells(cost, iou, cells, valid, tf.constant(9)).numpy().tolist() == [[True, True], [False, True]]
    low = tf.constant([[0.2, 0.2], [0.2, 0.2]])
    assert choose_cells(cost, low, cells, valid, tf.constant(9)).numpy().tolist() == [[True, False], [False, False]]
    nobody = tf.constant([[False, False], [False, True]])
    assert choose_cells(cost, iou, cells, nobody, tf.constant(9)).numpy().tolist() == [[False, False], [False, True]]


def test_unknown_landmarks_leave_gradients_finite_and_zero() -> None:
    batch = batch_of([[4.0, 6.0, 26.0, 27.0]])
    flat = tf.Variable(blank_prediction())
    centres, strides = cell_centres(SIDE, SIDE, STRIDES)
    with tf.GradientTape() as tape:
        loss, _ = detection_loss(flat, tensors(batch), centres, strides, LossWeights())
    gradient = tape.gradient(loss, flat).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[..., 5:] == 0).all()
    assert (gradient[..., 1:5] != 0).any()


def test_gradients_are_those_of_the_loss() -> None:
    """Numerically, away from the kinks: one wiggle at a time, in the box and landmark parts of the chosen cells."""
    rng = np.random.default_rng(5)
    sample = Sample(
        np.zeros((SIDE, SIDE, 3), np.uint8),
        np.array([[4.0, 6.0, 26.0, 27.0]], np.float32),
        np.zeros(1, bool),
        rng.uniform(8, 24, (1, 5, 2)).astype(np.float32),
    )
    batch = assemble([sample], STRIDES)
    centres, strides = cell_centres(SIDE, SIDE, STRIDES)
    start = blank_prediction(0.0)
    start[..., 1:5] += rng.uniform(0, 0.5, start[..., 1:5].shape)

    def value(flat: Any) -> Any:
        return detection_loss(flat, tensors(batch), centres, strides, LossWeights(score=0.0))[0]

    flat = tf.Variable(start)
    with tf.GradientTape() as tape:
        loss = value(flat)
    gradient = tape.gradient(loss, flat).numpy()
    places = np.argwhere(np.abs(gradient) > 1e-3)
    assert len(places) > 20
    for place in places[:: max(1, len(places) // 12)]:
        step = np.zeros_like(start)
        step[tuple(place)] = 1e-2
        slope = (float(value(tf.constant(start + step))) - float(value(tf.constant(start - step)))) / 2e-2
        assert slope == pytest.approx(gradient[tuple(place)], rel=0.05, abs=2e-3)


def opinions_of(
    scores: dict[int, float], boxes: Mapping[int, list[float]] = MappingProxyType({}), known: tuple[int, ...] = ()
) -> Any:
    """A teacher's, that sees nothing but in these cells; it is asked about the first level only."""
    centres, strides = cell_centres(SIDE, SIDE, STRIDES)
    said = {
        "scores": np.zeros((1, len(centres)), np.float32),
        "boxes": np.zeros((1, len(centres), 4), np.float32),
        "heard": (strides == STRIDES[0]).astype(np.float32),
    }
    for cell, score in scores.items():
        said["scores"][0, cell] = score
    for cell, box in boxes.items():
        said["boxes"][0, cell] = box
    inside = np.zeros((1, len(centres)), np.float32)
    inside[0, list(known)] = 1
    return {name: tf.constant(value) for name, value in said.items()}, tf.constant(inside)


def taught(flat: np.ndarray, opinions: Any) -> dict[str, float]:
    said, known = opinions
    parts = teacher_loss(tf.constant(flat), said, known, *cell_centres(SIDE, SIDE, STRIDES))
    return {name: float(value) for name, value in parts.items()}


def test_a_teacher_is_followed_as_the_formulas_say() -> None:
    rng = np.random.default_rng(4)
    flat = blank_prediction()
    flat[..., 0] = rng.normal(-2, 2, flat.shape[:2])
    flat[..., 1:5] = rng.uniform(0.2, 3, (*flat.shape[:2], 4))
    wanted = {1: 0.9, 2: 0.35, 7: 0.2, 11: 0.6}
    boxes = {cell: [2.0, 3.0, 20.0 + cell, 25.0] for cell in wanted}
    centres, strides = cell_centres(SIDE, SIDE, STRIDES)
    score = box = 0.0
    for cell in np.flatnonzero(strides == STRIDES[0]):
        target, now = wanted.get(int(cell), 0.0), 1 / (1 + np.exp(-float(flat[0, cell, 0])))
        surprise = -target * np.log(now) - (1 - target) * np.log(1 - now)
        score += max(target, (target - now) ** 2) * surprise
        if target >= 0.3:
            x, y = centres[cell]
            x1, y1, x2, y2 = boxes[int(cell)]
            true = np.maximum(np.array([x - x1, y - y1, x2 - x, y2 - y]) / 8, 0.01)
            box += target * (1 - slow_giou(flat[0, cell, 1:5], true)[1])
    parts = taught(flat, opinions_of(wanted, boxes))
    assert parts["taught_score"] == pytest.approx(score / sum(wanted.values()), rel=1e-5)
    assert parts["taught_box"] == pytest.approx(box / (0.9 + 0.35 + 0.6), rel=1e-5)


def test_a_teacher_never_talks_a_student_out_of_a_known_face() -> None:
    flat = blank_prediction()
    flat[0, 5, 0] = 3.0
    assert taught(flat, opinions_of({}))["taught_score"] > 1
    assert taught(flat, opinions_of({}, known=(5,)))["taught_score"] < 1e-3
    flat[0, 5, 0] = -3.0
    shy, sure = (taught(flat, opinions_of({5: score}, known=(5,)))["taught_score"] for score in (0.0, 0.9))
    assert shy < 1e-3 < 1 < sure


def test_a_teacher_says_nothing_of_levels_it_is_not_asked_about() -> None:
    flat = blank_prediction()
    before = taught(flat, opinions_of({}))
    flat[0, 16:, 0] = 5.0  # the second level
    assert taught(flat, opinions_of({})) == before


def kept(
    flat: np.ndarray, before: np.ndarray, known: np.ndarray | None = None, largest: int | None = None
) -> dict[str, Any]:
    _, strides = cell_centres(SIDE, SIDE, (8, 32))
    known = np.zeros(flat.shape[:2], np.float32) if known is None else known
    with tf.GradientTape() as tape:
        prediction = tf.Variable(flat)
        parts = memory_loss(prediction, tf.constant(before), tf.constant(known), strides, largest)
        total = sum(parts.values())
    gradient = np.asarray(tape.gradient(total, prediction))
    return {**{name: float(value) for name, value in parts.items()}, "gradient": gradient}


def remembered() -> np.ndarray:
    """What a network says of 16 small cells and a large one: two faces and background."""
    rng = np.random.default_rng(5)
    before = rng.uniform(0.5, 2.0, (1, 17, 15)).astype(np.float32)
    before[..., 0] = -4.0
    before[0, [3, 16], 0] = 1.0
    before[0, 3, 1] = -0.2  # a box beside the cell
    return before


def test_what_is_remembered_costs_nothing_more() -> None:
    before = remembered()
    same = kept(before.copy(), before)
    assert same["kept_box"] == pytest.approx(0, abs=1e-6)
    assert same["kept_points"] == 0
    np.testing.assert_allclose(same["gradient"][..., 0], 0, atol=1e-6)
    np.testing.assert_allclose(same["gradient"][..., 5:], 0, atol=1e-6)


def test_what_is_forgotten_costs() -> None:
    before = remembered()
    same = kept(before.copy(), before)
    forgotten, wider, elsewhere = before.copy(), before.copy(), before.copy()
    forgotten[0, 16, 0] = -4.0
    wider[0, 3, 1:5] += 1.0
    elsewhere[0, 16, 5:] += 0.5
    assert kept(forgotten, before)["kept_score"] > same["kept_score"] + 0.5
    assert kept(wider, before)["kept_box"] > 0.1
    # Both faces are as sure, so the one that moved is half of the mean.
    assert kept(elsewhere, before)["kept_points"] == pytest.approx(0.25, rel=1e-5)
    background = before.copy()
    background[0, 7, 5:] += 9.0
    assert kept(background, before)["kept_points"] == 0, "points of what is no face mean nothing"


def test_what_is_known_better_may_be_learned() -> None:
    before = remembered()
    found = before.copy()
    found[0, 7, 0] = 4.0
    inside = np.zeros((1, 17), np.float32)
    inside[0, 7] = 1
    assert kept(found, before)["kept_score"] > kept(found, before, inside)["kept_score"] + 1
    inside[0, 3] = 1
    found[0, 3, 1:] += 1.0
    free = kept(found, before, inside)
    assert free["kept_box"] == pytest.approx(0, abs=1e-6)
    assert free["kept_points"] == 0


def test_levels_that_have_learned_nothing_are_not_remembered() -> None:
    before = remembered()
    other = before.copy()
    other[0, 16] += 2.0
    changed, same = kept(other, before, largest=8), kept(before.copy(), before, largest=8)
    assert all(changed[name] == pytest.approx(same[name], abs=1e-6) for name in same if name != "gradient")
    assert kept(other, before)["kept_points"] > 0.5
