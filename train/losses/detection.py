"""The production detector's losses: score with IoU as its target, box, landmarks; cells chosen as in SimOTA; a teacher.

Data offers each face a handful of candidate cells (`train.data.boxes.candidate_cells`); the loss keeps the few that
answer best already (YOLOX, arXiv 2107.08430, section 2.2), and trains their score towards the IoU they reach
(generalised focal loss, arXiv 2006.04388), so that scores rank boxes by how good they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensor = Any


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part counts."""

    score: float = 1.0
    box: float = 2.0
    landmarks: float = 1.0
    negative: float = 1.0
    """Weight of background cells in the score part."""
    match_iou: float = 3.0
    """Weight of the overlap against the score when cells are chosen."""
    teacher: float = 0.0
    """Weight of what a teacher says about every cell (`teacher_loss`)."""


def flatten_heads(heads: dict[str, Tensor], strides: tuple[int, ...]) -> Tensor:
    """`[B,A,15]`: all levels' cells, level by level, row by row."""
    parts = []
    for stride in strides:
        head = heads[f"head{stride}"]
        shape = tf.shape(head)
        parts.append(tf.reshape(head, [shape[0], shape[1] * shape[2], head.shape[-1]]))
    return tf.concat(parts, axis=1)


def iou_and_giou(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (arXiv 1902.09630) of boxes `[…,4]` given as distances from a shared centre."""
    lower, upper = tf.minimum(predicted, wanted), tf.maximum(predicted, wanted)
    width, height = lower[..., 0] + lower[..., 2], lower[..., 1] + lower[..., 3]
    shared = tf.maximum(width, 0.0) * tf.maximum(height, 0.0)
    area = (predicted[..., 0] + predicted[..., 2]) * (predicted[..., 1] + predicted[..., 3])
    true_area = (wanted[..., 0] + wanted[..., 2]) * (wanted[..., 1] + wanted[..., 3])
    union = area + true_area - shared
    hull = (upper[..., 0] + upper[..., 2]) * (upper[..., 1] + upper[..., 3])
    iou = shared / tf.maximum(union, 1e-9)
    return iou, iou - (hull - union) / tf.maximum(hull, 1e-9)


def choose_cells(cost: Tensor, iou: Tensor, cells: Tensor, valid: Tensor, total: Tensor) -> Tensor:
    """`[G,K]` bool: for each face its k cheapest candidates, k = the sum of its overlaps (at least 1).

    A cell that several faces want goes to the one it costs least.
    """
    cost = tf.where(valid, cost, 1e9)
    overlap = tf.where(valid, iou, 0.0)
    wanted = tf.maximum(tf.math.round(tf.reduce_sum(overlap, axis=1, keepdims=True)), 1.0)
    rank = tf.argsort(tf.argsort(cost, axis=1, stable=True), axis=1, stable=True)
    chosen = valid & (tf.cast(rank, tf.float32) < wanted)
    price = tf.where(chosen, cost, 1e9)
    least = tf.math.unsorted_segment_min(tf.reshape(price, [-1]), tf.reshape(cells, [-1]), total)
    return chosen & (price <= tf.gather(least, cells))


def detection_loss(
    flat: Tensor, batch: dict[str, Tensor], centres: Tensor, strides: Tensor, weights: LossWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one batch and its parts.

    Args:
        flat: `[B,A,15]` score logits, distances and points in strides (`flatten_heads`).
        batch: boxes `[G,4]` and landmarks `[G,5,2]` in pixels, cells and valid `[G,K]`, ignore `[B·A]`.
        centres: `[A,2]` pixels.
        strides: `[A]` pixels.
        weights: how much each part counts.
    """
    per_picture = tf.shape(flat)[1]
    rows = tf.reshape(flat, [-1, flat.shape[-1]])
    total = tf.shape(rows)[0]
    cells, valid = batch["cells"], batch["valid"]
    answer = tf.gather(rows, cells)
    within = cells % per_picture
    middle, step = tf.gather(centres, within), tf.gather(strides, within)[..., None]
    boxes = batch["boxes"][:, None]
    wanted = tf.maximum(tf.concat([middle - boxes[..., :2], boxes[..., 2:] - middle], -1) / step, 0.01)
    iou, giou = iou_and_giou(answer[..., 1:5], wanted)
    known_iou = tf.stop_gradient(iou)
    logit = tf.stop_gradient(answer[..., 0])
    cost = tf.nn.sigmoid_cross_entropy_with_logits(known_iou, logit) - weights.match_iou * tf.math.log(known_iou + 1e-6)
    chosen = choose_cells(cost, known_iou, cells, valid, total)
    picked = tf.cast(chosen, tf.float32)
    count = tf.maximum(tf.reduce_sum(picked), 1.0)

    places = tf.reshape(cells, [-1])
    target = tf.math.unsorted_segment_max(tf.reshape(known_iou * picked, [-1]), places, total)
    positive = tf.math.unsorted_segment_max(tf.reshape(picked, [-1]), places, total) > 0
    target = tf.where(positive, target, 0.0)
    scores = rows[:, 0]
    surprise = tf.stop_gradient(tf.square(tf.nn.sigmoid(scores)))
    factor = tf.where(positive, 1.0, weights.negative * surprise * (1.0 - batch["ignore"]))
    score_loss = tf.reduce_sum(factor * tf.nn.sigmoid_cross_entropy_with_logits(target, scores)) / count
    box_loss = tf.reduce_sum(picked * (1.0 - giou)) / count

    points = batch["landmarks"][:, None]
    known = tf.cast(tf.math.is_finite(points), tf.float32) * picked[..., None, None]
    shape = tf.concat([tf.shape(answer)[:2], [5, 2]], 0)
    found = tf.reshape(answer[..., 5:], shape) * step[..., None] + middle[..., None, :]
    sides = boxes[..., 2:] - boxes[..., :2]
    size = tf.sqrt(tf.maximum(sides[..., 0] * sides[..., 1], 1.0))[..., None, None]
    error = tf.where(known > 0, (found - points) / size, 0.0)
    distance = tf.abs(error)
    smooth = tf.where(distance < 0.01, 50.0 * tf.square(error), distance - 0.005)  # one in a hundred still counts
    landmark_loss = tf.reduce_sum(smooth * known) / tf.maximum(tf.reduce_sum(known), 1.0)

    parts = {
        "score": weights.score * score_loss,
        "box": weights.box * box_loss,
        "landmarks": weights.landmarks * 10.0 * landmark_loss,
    }
    details = {**parts, "iou": tf.reduce_sum(known_iou * picked) / count, "positives": count}
    return parts["score"] + parts["box"] + parts["landmarks"], details


TAUGHT = 0.3
"""Score of the teacher from which its boxes count."""


def teacher_loss(flat: Tensor, opinions: dict[str, Tensor], centres: Tensor, strides: Tensor) -> dict[str, Tensor]:
    """How far a student is from a teacher that has seen the same canvases, cell by cell (`train.data.dense_teacher`).

    Scores: cross-entropy with the teacher's as target; cells where it sees a face weigh as much as it is sure, others
    by how far the student is off, squared (generalised focal loss, arXiv 2006.04388, Eq. 4). Inside faces that are
    known the teacher may raise a score and never lower it. Boxes: generalised IoU with the teacher's, weighed by its
    score, where that is at least `TAUGHT`.

    Args:
        flat: `[B,A,15]` score logits, distances and points in strides (`flatten_heads`).
        opinions: `scores` `[B,A]`, `boxes` `[B,A,4]` in pixels, `heard` `[A]`, `known` `[B,A]`.
        centres: `[A,2]` pixels.
        strides: `[A]` pixels.

    Returns:
        `taught_score` and `taught_box`, both 0 where the teacher has nothing to say.
    """
    wanted, logits = opinions["scores"], flat[..., 0]
    now = tf.stop_gradient(tf.sigmoid(logits))
    heard = opinions["heard"] * (1.0 - opinions["known"] * tf.cast(wanted < now, tf.float32))
    weight = heard * tf.maximum(wanted, tf.square(wanted - now))
    surprise = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits)
    score = tf.reduce_sum(weight * surprise) / tf.maximum(tf.reduce_sum(heard * wanted), 1.0)
    sure = opinions["heard"] * tf.where(wanted >= TAUGHT, wanted, 0.0)
    boxes = opinions["boxes"]
    distances = tf.concat([centres - boxes[..., :2], boxes[..., 2:] - centres], -1) / strides[:, None]
    giou = iou_and_giou(flat[..., 1:5], tf.maximum(distances, 0.01))[1]
    box = tf.reduce_sum(sure * (1.0 - giou)) / tf.maximum(tf.reduce_sum(sure), 1.0)
    return {"taught_score": score, "taught_box": box}
