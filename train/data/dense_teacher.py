"""What a teacher says about every cell of the very canvas that a student learns from.

A label made once for a picture says nothing of what the teacher would see in this crop of it, mirrored, tinted and
blurred. Asked about the canvas itself it does, about background too, and any picture will do to ask about: over a long
training the student learns the teacher's function and not a list of boxes (Beyer et al., arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from engine.metrics import box_iou
from train.data.boxes import Floats, cell_centres, cells_inside
from train.data.detection_augment import Sample
from train.data.face_teachers import FaceTeacher, yunet_cells

LEVELS = (8, 16)
"""Strides about which the teacher is asked, where the same cells answer for the same faces as in a student: its scores
go with those of the shipped detector best as they stand (correlation 0.71 and 0.63), and less moved by any cell or part
of one. On the student's higher levels stand larger faces than YuNet-n finds well."""


@dataclass(frozen=True, slots=True)
class Opinions:
    """Of the teacher, on B canvases with A cells each, level by level, row by row."""

    scores: Floats
    """`[B,A]` 0…1; 0 on levels without an opinion."""
    boxes: Floats
    """`[B,A,4]` x1, y1, x2, y2 in pixels: those that are known, where the teacher sees such a face."""
    heard: Floats
    """`[A]`: 1 on levels with an opinion."""


TAUGHT = 0.3
"""Score of the teacher from which its boxes count."""
SAME = 0.4
"""Intersection over union from which both mean one face."""


def settled(seen: Floats, scores: Floats, known: Floats) -> Floats:
    """The boxes `[A,4]` that a teacher sees, but for those that mean a face whose box `[G,4]` is known: this one.

    Whoever labels draws boxes in a way of their own, around masked faces above all; taught both ways, a student would
    draw them in between.

    Example:
        >>> seen = np.array([[0, 0, 10, 12], [40, 40, 50, 50]], np.float32)
        >>> settled(seen, np.ones(2, np.float32), np.array([[0, 2, 10, 12]], np.float32)).astype(int).tolist()
        [[0, 2, 10, 12], [40, 40, 50, 50]]
    """
    boxes = seen.copy()
    sure = np.flatnonzero(scores >= TAUGHT)
    if len(sure) and len(known):
        overlap = box_iou(seen[sure], known)
        meant = overlap.max(1) >= SAME
        boxes[sure[meant]] = known[overlap.argmax(1)[meant]]
    return boxes


@dataclass(frozen=True)
class DenseTeacher:
    """YuNet-n, asked about canvases; opened where it is first asked, so it can be sent to other processes."""

    path: Path
    """`yunet_n.onnx`."""
    threads: int = 1
    """That it may use."""

    @cached_property
    def _teacher(self) -> FaceTeacher:
        return FaceTeacher.yunet(self.path, self.threads)

    def __getstate__(self) -> dict[str, object]:
        """Without the opened network."""
        return {name: value for name, value in vars(self).items() if name != "_teacher"}

    def opinions(self, samples: Sequence[Sample], strides: Sequence[int]) -> Opinions:
        """What it says about canvases of one size, whose sides are multiples of 32, cell by cell of `strides`.

        Raises:
            InputError: there is no such file.

        Example:
            >>> teacher = DenseTeacher(Path("yunet_n.onnx"))                   # doctest: +SKIP
            >>> teacher.opinions([sample], (8, 16, 32, 64)).scores.shape       # doctest: +SKIP
            (1, 1360)
        """
        side = samples[0].rgb.shape[0]
        centres, steps = cell_centres(side, side, strides)
        scores = np.zeros((len(samples), len(centres)), np.float32)
        boxes = np.zeros((len(samples), len(centres), 4), np.float32)
        for number, sample in enumerate(samples):
            outputs = self._teacher.answer(sample.rgb)
            for stride in LEVELS:
                level = steps == stride
                cells = yunet_cells(outputs, side, side, stride)
                scores[number, level] = cells.scores
                boxes[number, level] = settled(cells.boxes, cells.scores, sample.boxes[~sample.ignore])
        return Opinions(scores, boxes, np.isin(steps, LEVELS).astype(np.float32))


def known_cells(samples: Sequence[Sample], strides: Sequence[int]) -> Floats:
    """`[B,A]`: 1 in faces whose boxes are known, where a teacher may miss what is there."""
    side = samples[0].rgb.shape[0]
    known = [cells_inside(s.boxes[~s.ignore], side, side, strides) for s in samples]
    return np.stack(known).astype(np.float32)
