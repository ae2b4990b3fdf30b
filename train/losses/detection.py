"""The production detector's losses: score with IoU as its target, box, landmarks; cells chosen as in SimOTA; a teacher.

Data offers each face a handful of candidate cells (`train.data.boxes.candidate_cells`); the loss keeps the few that
answer best already (YOLOX, arXiv 2107.08430, section 2.2), and trains their score towards the IoU they reach
(generalised focal loss, arXiv 2006.04388), so that scores rank boxes by how good they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops

from train.data.dense_teacher import TAUGHT

Tensor = Any


def cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """−t·log σ(x) − (1 − t)·log(1 − σ(x)), number by number, without overflow for any logit.

    Example:
        >>> round(float(cross_entropy(1.0, ops.convert_to_tensor(0.0))), 4)
        0.6931
    """
    return ops.relu(logits) - logits * targets + ops.softplus(-ops.abs(logits))


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
    memory: float = 2.0
    """Weight of what each network says that is kept to (`memory_loss`)."""


def flatten_heads(heads: dict[str, Tensor], strides: tuple[int, ...]) -> Tensor:
    """`[B,A,15]`: all levels' cells, level by level, row by row."""
    parts = []
    for stride in strides:
        head = heads[f"head{stride}"]
        shape = ops.shape(head)
        parts.append(ops.reshape(head, (shape[0], shape[1] * shape[2], head.shape[-1])))
    return ops.concatenate(parts, axis=1)


def iou_and_giou(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (arXiv 1902.09630) of boxes `[…,4]` given as distances from a shared centre."""
    lower, upper = ops.minimum(predicted, wanted), ops.maximum(predicted, wanted)
    width, height = lower[..., 0] + lower[..., 2], lower[..., 1] + lower[..., 3]
    shared = ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
    area = (predicted[..., 0] + predicted[..., 2]) * (predicted[..., 1] + predicted[..., 3])
    true_area = (wanted[..., 0] + wanted[..., 2]) * (wanted[..., 1] + wanted[..., 3])
    union = area + true_area - shared
    hull = (upper[..., 0] + upper[..., 2]) * (upper[..., 1] + upper[..., 3])
    iou = shared / ops.maximum(union, 1e-9)
    return iou, iou - (hull - union) / ops.maximum(hull, 1e-9)


def choose_cells(cost: Tensor, iou: Tensor, cells: Tensor, valid: Tensor, total: Tensor) -> Tensor:
    """`[G,K]` bool: for each face its k cheapest candidates, k = the sum of its overlaps (at least 1).

    A cell that several faces want goes to the one it costs least.
    """
    cost = ops.where(valid, cost, 1e9)
    overlap = ops.where(valid, iou, 0.0)
    wanted = ops.maximum(ops.round(ops.sum(overlap, axis=1, keepdims=True)), 1.0)
    rank = ops.argsort(ops.argsort(cost, axis=1), axis=1)
    chosen = valid & (ops.cast(rank, "float32") < wanted)
    price = ops.where(chosen, cost, 1e9)
    least = -ops.segment_max(ops.reshape(-price, (-1,)), ops.reshape(cells, (-1,)), total)
    return chosen & (price <= ops.take(least, cells, axis=0))


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
    per_picture = ops.shape(flat)[1]
    rows = ops.reshape(flat, (-1, flat.shape[-1]))
    total = ops.shape(rows)[0]
    cells, valid = batch["cells"], batch["valid"]
    answer = ops.take(rows, cells, axis=0)
    within = cells % per_picture
    middle, step = ops.take(centres, within, axis=0), ops.take(strides, within, axis=0)[..., None]
    boxes = batch["boxes"][:, None]
    wanted = ops.maximum(ops.concatenate([middle - boxes[..., :2], boxes[..., 2:] - middle], -1) / step, 0.01)
    iou, giou = iou_and_giou(answer[..., 1:5], wanted)
    known_iou = ops.stop_gradient(iou)
    logit = ops.stop_gradient(answer[..., 0])
    cost = cross_entropy(known_iou, logit) - weights.match_iou * ops.log(known_iou + 1e-6)
    chosen = choose_cells(cost, known_iou, cells, valid, total)
    picked = ops.cast(chosen, "float32")
    count = ops.maximum(ops.sum(picked), 1.0)

    places = ops.reshape(cells, (-1,))
    target = ops.segment_max(ops.reshape(known_iou * picked, (-1,)), places, total)
    positive = ops.segment_max(ops.reshape(picked, (-1,)), places, total) > 0
    target = ops.where(positive, target, 0.0)
    scores = rows[:, 0]
    surprise = ops.stop_gradient(ops.square(ops.sigmoid(scores)))
    factor = ops.where(positive, 1.0, weights.negative * surprise * (1.0 - batch["ignore"]))
    score_loss = ops.sum(factor * cross_entropy(target, scores)) / count
    box_loss = ops.sum(picked * (1.0 - giou)) / count

    points = batch["landmarks"][:, None]
    known = ops.cast(ops.isfinite(points), "float32") * picked[..., None, None]
    found = ops.reshape(answer[..., 5:], (*ops.shape(answer)[:2], 5, 2)) * step[..., None] + middle[..., None, :]
    sides = boxes[..., 2:] - boxes[..., :2]
    size = ops.sqrt(ops.maximum(sides[..., 0] * sides[..., 1], 1.0))[..., None, None]
    error = ops.where(known > 0, (found - points) / size, 0.0)
    distance = ops.abs(error)
    smooth = ops.where(distance < 0.01, 50.0 * ops.square(error), distance - 0.005)  # one in a hundred still counts
    landmark_loss = ops.sum(smooth * known) / ops.maximum(ops.sum(known), 1.0)

    parts = {
        "score": weights.score * score_loss,
        "box": weights.box * box_loss,
        "landmarks": weights.landmarks * 10.0 * landmark_loss,
    }
    details = {**parts, "iou": ops.sum(known_iou * picked) / count, "positives": count}
    return parts["score"] + parts["box"] + parts["landmarks"], details


def teacher_loss(
    flat: Tensor, opinions: dict[str, Tensor], known: Tensor, centres: Tensor, strides: Tensor
) -> dict[str, Tensor]:
    """How far a student is from a teacher that has seen the same canvases, cell by cell (`train.data.dense_teacher`).

    Scores: cross-entropy with the teacher's as target; cells where it sees a face weigh as much as it is sure, others
    by how far the student is off, squared (generalised focal loss, arXiv 2006.04388, Eq. 4). Inside faces that are
    known the teacher may raise a score and never lower it. Boxes: generalised IoU with the teacher's (or the known one
    that it means), weighed by its score, where that is at least `TAUGHT`.

    Args:
        flat: `[B,A,15]` score logits, distances and points in strides (`flatten_heads`).
        opinions: `scores` `[B,A]`, `boxes` `[B,A,4]` in pixels, `heard` `[A]` (`Opinions`).
        known: `[B,A]`, 1 in faces whose boxes are known (`known_cells`).
        centres: `[A,2]` pixels.
        strides: `[A]` pixels.

    Returns:
        `taught_score` and `taught_box`, both 0 where the teacher has nothing to say.
    """
    wanted = opinions["scores"]
    score = _followed(flat[..., 0], wanted, opinions["heard"], known)
    sure = opinions["heard"] * ops.where(wanted >= TAUGHT, wanted, 0.0)
    boxes = opinions["boxes"]
    distances = ops.concatenate([centres - boxes[..., :2], boxes[..., 2:] - centres], -1) / strides[:, None]
    giou = iou_and_giou(flat[..., 1:5], ops.maximum(distances, 0.01))[1]
    box = ops.sum(sure * (1.0 - giou)) / ops.maximum(ops.sum(sure), 1.0)
    return {"taught_score": score, "taught_box": box}


def memory_loss(
    flat: Tensor, before: Tensor, known: Tensor, strides: Tensor, largest: int | None = None
) -> dict[str, Tensor]:
    """How far a network is from what another one of its form, such as itself before it learned here, says about the
    same canvases (learning without forgetting, Li and Hoiem, arXiv 1606.09282): scores as from a teacher
    (`teacher_loss`), boxes and points where the other one sees a face. Inside faces that are known it may raise a
    score and has no word on box and points.

    Args:
        flat: `[B,A,15]` score logits, distances and points in strides (`flatten_heads`).
        before: the other one's, likewise.
        known: `[B,A]`, 1 in faces whose boxes are known (`known_cells`).
        strides: `[A]` pixels.
        largest: stride up to which the other one has learned; None: all.

    Returns:
        `kept_score`, `kept_box` and `kept_points` (mean distance along an axis, in strides).
    """
    wanted = ops.sigmoid(before[..., 0])
    heard = ops.cast(strides <= largest, "float32") if largest is not None else ops.ones_like(strides)
    sure = heard * (1.0 - known) * ops.where(wanted >= TAUGHT, wanted, 0.0)
    total = ops.maximum(ops.sum(sure), 1.0)
    giou = iou_and_giou(flat[..., 1:5], before[..., 1:5])[1]
    apart = ops.mean(ops.abs(flat[..., 5:] - before[..., 5:]), axis=-1)
    return {
        "kept_score": _followed(flat[..., 0], wanted, heard, known),
        "kept_box": ops.sum(sure * (1.0 - giou)) / total,
        "kept_points": ops.sum(sure * apart) / total,
    }


def _followed(logits: Tensor, wanted: Tensor, heard: Tensor, known: Tensor) -> Tensor:
    """How far scores are from those that are wanted, where these are heard (`teacher_loss`)."""
    now = ops.stop_gradient(ops.sigmoid(logits))
    heard = heard * (1.0 - known * ops.cast(wanted < now, "float32"))
    weight = heard * ops.maximum(wanted, ops.square(wanted - now))
    return ops.sum(weight * cross_entropy(wanted, logits)) / ops.maximum(ops.sum(heard * wanted), 1.0)
