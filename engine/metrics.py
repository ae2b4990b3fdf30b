"""What good means, defined once for training, benchmarks and tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from engine.types import Detections

# --- Detection: precision, recall and average precision ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FaceTruth:
    """The labelled faces of one picture."""

    boxes: NDArray[np.float32]
    """`[N,4]` x1, y1, x2, y2 in the same pixels as the detections."""
    ignore: NDArray[np.bool_]
    """`[N]`: neither to be found nor a mistake when found."""


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """A precision–recall curve over falling scores, and the area under it."""

    ap: float
    """Area under the curve with precision made monotone (all points); NaN where there is no face to find."""
    scores: NDArray[np.float64]
    """`[K]` falling; the points below count detections with at least this score."""
    precision: NDArray[np.float64]
    """`[K]`."""
    recall: NDArray[np.float64]
    """`[K]`."""
    faces: int
    """How many faces were there to find."""

    def at(self, threshold: float) -> tuple[float, float]:
        """(precision, recall) of the detections with a score of at least `threshold`; precision 1 where none has."""
        count = int(np.searchsorted(-self.scores, -threshold, side="right"))
        return (1.0, 0.0) if count == 0 else (float(self.precision[count - 1]), float(self.recall[count - 1]))


def box_iou(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union `[N,M]` of boxes `[N,4]` and `[M,4]` (x1, y1, x2, y2).

    Example:
        >>> float(box_iou(np.array([[0., 0., 2., 2.]]), np.array([[1., 0., 3., 2.]]))[0, 0])
        0.3333333333333333
    """
    a, b = np.asarray(first, np.float64)[:, None], np.asarray(second, np.float64)[None]
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(size, 0), axis=-1)
    total = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - shared
    iou: NDArray[np.float64] = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return iou


def match_detections(found: Detections, truth: FaceTruth, iou: float = 0.5, minimum: float = 0.0) -> NDArray[np.int8]:
    """For each detection 1 (hit), 0 (mistake) or -1 (neither).

    Best score first, each detection takes the free face it overlaps most, if by `iou` or more. One without any counts
    as neither where it overlaps an ignored face or one whose shorter side is under `minimum`, or where its own shorter
    side is (as COCO does outside an area range).
    """
    verdict = np.zeros(len(found), np.int8)
    small = (found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.inf) < minimum
    overlaps = box_iou(found.boxes, truth.boxes)
    sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
    wanted = ~truth.ignore & (sides.min(axis=1, initial=np.inf) >= minimum)
    free = wanted.copy()
    for row in np.argsort(-found.scores, kind="stable"):
        here = np.where(free, overlaps[row], -1.0)
        best = int(here.argmax()) if len(here) else -1
        if best >= 0 and here[best] >= iou:
            verdict[row], free[best] = 1, False
        elif small[row] or (overlaps[row][~wanted] >= iou).any():
            verdict[row] = -1
    return verdict


def precision_recall(verdicts: NDArray[np.int8], scores: NDArray[np.floating], faces: int) -> PrecisionRecall:
    """The curve from `match_detections`' verdicts of all pictures together; equal scores are one point."""
    counted = verdicts >= 0
    order = np.argsort(-scores[counted], kind="stable")
    values, hits = scores[counted][order].astype(np.float64), verdicts[counted][order] == 1
    last = np.append(values[1:] != values[:-1], True) if len(values) else np.zeros(0, bool)
    true = np.cumsum(hits)[last]
    total = np.arange(1, len(values) + 1)[last]
    precision = true / total
    recall = true / faces if faces else np.full(len(true), np.nan)
    if not faces:
        return PrecisionRecall(float("nan"), values[last], precision, recall, 0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    ap = float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    return PrecisionRecall(ap, values[last], precision, recall, faces)


def average_precision(
    found: Sequence[Detections], truths: Sequence[FaceTruth], iou: float = 0.5, minimum: float = 0.0
) -> PrecisionRecall:
    """Average precision over pictures: ignored faces and those under `minimum` neither hit nor miss.

    Sizes are the shorter side of the box, in the pixels of the boxes that are given.

    Raises:
        ValueError: `found` and `truths` differ in number.

    Example:
        >>> boxes = np.array([[0, 0, 20, 20]], np.float32)
        >>> found = Detections(boxes, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
        >>> average_precision([found], [FaceTruth(boxes, np.zeros(1, bool))]).ap
        1.0
    """
    verdicts, scores, faces = _pooled(found, truths, iou, minimum)
    return precision_recall(
        np.concatenate([np.zeros(0, np.int8), *verdicts]),
        np.concatenate([np.zeros(0, np.float32), *scores]),
        int(faces.sum()),
    )


def bootstrap_ap(
    found: Sequence[Detections],
    truths: Sequence[FaceTruth],
    iou: float = 0.5,
    minimum: float = 0.0,
    *,
    rounds: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the average precision when the pictures are drawn anew with replacement; NaN where there
    is no face to be found."""
    verdicts, scores, faces = _pooled(found, truths, iou, minimum)
    if not faces.any():
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        drawn = generator.integers(0, len(faces), len(faces))
        curve = precision_recall(
            np.concatenate([verdicts[i] for i in drawn]),
            np.concatenate([scores[i] for i in drawn]),
            int(faces[drawn].sum()),
        )
        values.append(curve.ap)
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pooled(
    found: Sequence[Detections], truths: Sequence[FaceTruth], iou: float, minimum: float
) -> tuple[list[NDArray[np.int8]], list[NDArray[np.float32]], NDArray[np.int64]]:
    """Per picture: verdicts, scores, and the number of faces to find."""
    if len(found) != len(truths):
        raise ValueError(f"detections of {len(found)} pictures, but labels of {len(truths)}")
    verdicts = [match_detections(f, t, iou, minimum) for f, t in zip(found, truths, strict=True)]
    sides = [(t.boxes[:, 2:] - t.boxes[:, :2]).min(axis=1, initial=np.inf) for t in truths]
    faces = [int((~t.ignore & (s >= minimum)).sum()) for t, s in zip(truths, sides, strict=True)]
    return verdicts, [f.scores for f in found], np.asarray(faces, np.int64)


# --- Verification and identification: is it the same person, and who is it --------------------------------------------


@dataclass(frozen=True, slots=True)
class Roc:
    """True against false accepts as the threshold falls. A pair is accepted when its similarity is ≥ the threshold."""

    thresholds: NDArray[np.float64]
    """`[K]` falling; the first, +inf, accepts nothing."""
    tar: NDArray[np.float64]
    """`[K]` share of the same-person pairs that is accepted."""
    far: NDArray[np.float64]
    """`[K]` share of the different-person pairs that is accepted."""

    @property
    def area(self) -> float:
        """Under the curve: the chance that a same-person pair is more similar than a different-person pair."""
        return float(np.trapezoid(self.tar, self.far))

    def accuracy(self, threshold: float) -> float:
        """Mean of the shares of same-person pairs accepted and different-person pairs refused at `threshold`.

        Both kinds of pair count alike, however many there are of each.
        """
        at = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return float((self.tar[at] + 1 - self.far[at]) / 2)

    @property
    def best(self) -> float:
        """The highest threshold with the best `accuracy`; to be chosen on other pairs than it is tested on."""
        return float(self.thresholds[int(np.argmax(self.tar - self.far))])


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy of same-or-different by k-fold cross-validation of the threshold."""

    mean: float
    accuracies: tuple[float, ...]
    """Of each fold, with the threshold chosen on the others."""
    thresholds: tuple[float, ...]


def _pairs(
    similarities: NDArray[np.floating], same: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    s, t = np.asarray(similarities, np.float64), np.asarray(same, np.bool_)
    if s.ndim != 1 or s.shape != t.shape or not t.any() or t.all():
        raise ValueError(
            f"need pairs of both kinds, one similarity each: {s.shape = }, {t.shape = }, {int(t.sum()) = }"
        )
    return s, t


def roc(similarities: NDArray[np.floating], same: NDArray[np.bool_]) -> Roc:
    """The ROC curve of pairs `[P]`; equal similarities are accepted together.

    Example:
        >>> r = roc(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]))
        >>> r.tar.tolist(), r.far.tolist()
        ([0.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    s, t = _pairs(similarities, same)
    order = np.argsort(-s, kind="stable")
    s, t = s[order], t[order]
    last = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    return Roc(
        np.append(np.inf, s[last]),
        np.append(0.0, np.cumsum(t)[last] / t.sum()),
        np.append(0.0, np.cumsum(~t)[last] / (~t).sum()),
    )


def tar_at_far(similarities: NDArray[np.floating], same: NDArray[np.bool_], far: float) -> tuple[float, float]:
    """(share of same-person pairs accepted, threshold) at the lowest threshold with a false accept rate ≤ `far`.

    The threshold lies just above the most similar different-person pair that must stay out.

    Example:
        >>> tar, threshold = tar_at_far(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]), 0.0)
        >>> tar, round(threshold, 3)
        (0.5, 0.6)
    """
    s, t = _pairs(similarities, same)
    wrong = np.sort(s[~t])[::-1]
    allowed = int(np.floor(far * len(wrong) + 1e-9))
    threshold = float(np.nextafter(wrong[allowed], np.inf)) if allowed < len(wrong) else float(s.min())
    return float(np.mean(s[t] >= threshold)), threshold


def best_threshold(similarities: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """The threshold with the most right answers; of several, the middle of the lowest such gap."""
    s, t = _pairs(similarities, same)
    order = np.argsort(s, kind="stable")
    s, t = s[order], t[order]
    edges = np.append(0, np.append(np.flatnonzero(np.diff(s)) + 1, len(s)))
    right = np.append(0, np.cumsum(~t))[edges] + t.sum() - np.append(0, np.cumsum(t))[edges]
    cut = int(edges[int(np.argmax(right))])
    below, above = s[max(cut - 1, 0)], s[min(cut, len(s) - 1)]
    return float(np.nextafter(above, np.inf)) if cut == len(s) else float(above if cut == 0 else (below + above) / 2)


def fold_accuracy(similarities: NDArray[np.floating], same: NDArray[np.bool_], folds: int = 10) -> FoldAccuracy:
    """Verification accuracy as in the LFW protocol (Huang et al. 2007): `folds` consecutive parts of equal size; the
    threshold is chosen on all parts but one and tested on that one, in turn.

    Example:
        >>> fold_accuracy(np.array([0.9, 0.1] * 4), np.array([True, False] * 4), folds=4).mean
        1.0
    """
    s, t = _pairs(similarities, same)
    if folds < 2 or len(s) % folds:
        raise ValueError(f"{len(s)} pairs do not divide into {folds} folds of equal size")
    part = np.repeat(np.arange(folds), len(s) // folds)
    thresholds = [best_threshold(s[part != k], t[part != k]) for k in range(folds)]
    hits = [float(np.mean((s[part == k] >= thresholds[k]) == t[part == k])) for k in range(folds)]
    return FoldAccuracy(float(np.mean(hits)), tuple(hits), tuple(thresholds))


def rank1(similarities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Share of rows of `similarities` `[N,P]` (faces × people) whose largest column is `truth` `[N]`.

    Example:
        >>> rank1(np.array([[0.9, 0.2], [0.3, 0.1]]), np.array([0, 1]))
        0.5
    """
    return float(np.mean(np.argmax(similarities, axis=1) == truth))


def confusion(truth: NDArray[np.integer], named: NDArray[np.integer], people: int) -> NDArray[np.int64]:
    """`[people,people]`: how many faces of person i were named j, from `[N]` positions of both.

    Example:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    return np.bincount(truth * people + named, minlength=people**2).reshape(people, people).astype(np.int64)


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Naming people where strangers come along, as the threshold falls (Phillips et al., PAMI 2011: watch list).

    A face is given the nearest person's name when its similarity is ≥ the threshold.
    """

    thresholds: NDArray[np.float64]
    """`[K]` falling; the first, +inf, names nobody."""
    dir: NDArray[np.float64]
    """`[K]` detection and identification rate: share of the known people's faces that get their right name."""
    far: NDArray[np.float64]
    """`[K]` share of the strangers' faces that get any name."""

    def at(self, far: float) -> tuple[float, float]:
        """(DIR, threshold) at the lowest threshold with a false accept rate ≤ `far`."""
        last = int(np.flatnonzero(self.far <= far + 1e-12)[-1])
        return float(self.dir[last]), float(self.thresholds[last])


def open_set(best: NDArray[np.floating], right: NDArray[np.bool_], strangers: NDArray[np.floating]) -> OpenSet:
    """The open-set identification curve.

    Args:
        best: `[N]` each known face's similarity to the nearest person.
        right: `[N]` whether that is the right person.
        strangers: `[M]` each stranger's similarity to the nearest person.

    Raises:
        ValueError: no known face or no stranger.

    Example:
        >>> curve = open_set(np.array([0.9, 0.6]), np.array([True, True]), np.array([0.7, 0.1]))
        >>> curve.at(0.0), curve.at(0.5)
        ((0.5, 0.9), (1.0, 0.6))
    """
    known, unknown = np.asarray(best, np.float64), np.asarray(strangers, np.float64)
    if not len(known) or not len(unknown):
        raise ValueError(f"need known faces and strangers: {len(known) = }, {len(unknown) = }")
    levels = np.unique(np.concatenate([known, unknown]))[::-1]
    hits, alarms = np.sort(known[np.asarray(right, np.bool_)]), np.sort(unknown)
    named = len(hits) - np.searchsorted(hits, levels, side="left")
    accepted = len(alarms) - np.searchsorted(alarms, levels, side="left")
    return OpenSet(
        np.append(np.inf, levels), np.append(0.0, named / len(known)), np.append(0.0, accepted / len(unknown))
    )


def bootstrap_interval(
    values: NDArray[np.floating] | NDArray[np.bool_], coverage: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of shares `values` `[N]`, 0…1 (Efron 1979), and no narrower than
    `at_least` has it; the seed makes it repeatable.

    Example:
        >>> low, high = bootstrap_interval(np.ones(100, np.bool_))
        >>> round(low, 3), high
        (0.963, 1.0)
    """
    rng = np.random.default_rng(seed)
    v = np.asarray(values, np.float64)
    means = np.array([v[rng.integers(len(v), size=len(v))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - coverage) / 2, (1 + coverage) / 2])
    return at_least((float(low), float(high)), float(v.mean()), len(v), coverage)


def at_least(interval: tuple[float, float], share: float, count: int, coverage: float = 0.95) -> tuple[float, float]:
    """The interval, no narrower than Wilson's for a `share` of `count` (Journal of the American Statistical Association
    22, 1927): near 0 and 1 a bootstrap is too narrow, and of a share of 1 it draws nothing else.

    Example:
        >>> [round(at_least((1.0, 1.0), 1.0, count)[0], 3) for count in (40, 300)]
        [0.912, 0.987]
    """
    z = NormalDist().inv_cdf((1 + coverage) / 2)
    whole = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / whole
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / whole
    return min(interval[0], max(centre - half, 0.0)), max(interval[1], min(centre + half, 1.0))
