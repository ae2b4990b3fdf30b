"""Detectors that are measured side by side: ours, the teachers and rivals, and further files, behind one shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.errors import UsageError
from engine.types import Detections
from train.data.face_teachers import FaceTeacher

Detect = Callable[[NDArray[np.uint8], int], Detections]
"""(RGB picture, longer side it is scaled to) → all faces down to a very low score, in pixels of the picture."""

LOWEST = 0.02
"""Score down to which curves are followed."""
RIVAL_THRESHOLD = 0.5
"""Default threshold of the networks that bring none of their own."""
RIVALS = (
    ("yunet_n.onnx", FaceTeacher.yunet),
    ("centerface.onnx", FaceTeacher.centerface),
    ("scrfd_2.5g.onnx", FaceTeacher.scrfd),
)
YUNET = "YuNet-n"


@dataclass(frozen=True, slots=True)
class Contender:
    """One detector of the table."""

    name: str
    detect: Detect
    threshold: float
    """Score from which it calls something a face."""
    file: Path
    sizes: tuple[int, ...] = ()
    """Longer sides in pixels that it is measured at; empty: whatever is asked for."""
    landmarks: bool = True
    """Whether it gives five points a face."""

    def at(self, size: int) -> int:
        """The size that it looks at where `size` is asked for: a file that is made for one size takes no other.

        Example:
            >>> none = Contender("SCRFD", lambda rgb, size: Detections.empty(), 0.5, Path("scrfd.onnx"), (640,))
            >>> none.at(320), none.at(640)
            (640, 640)
        """
        return size if not self.sizes or size in self.sizes else self.sizes[0]


def clipped(found: Detections, rgb: NDArray[np.uint8]) -> Detections:
    """The detections with boxes cut off at the picture's edges; what lies outside is left out."""
    height, width = rgb.shape[:2]
    boxes = np.clip(found.boxes, 0, np.array([width, height] * 2, np.float32))
    inside = np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1), np.bool_)
    return Detections(boxes, found.scores, found.landmarks).select(inside)


def of_detector(detector: Detector, name: str | None = None) -> Contender:
    """The engine's detector, every face down to `LOWEST`."""

    def detect(rgb: NDArray[np.uint8], size: int) -> Detections:
        return detector.detect([rgb], threshold=LOWEST, size=size)[0]

    return Contender(name or detector.name, detect, detector.threshold, detector.session.model.path)


def of_teacher(teacher: FaceTeacher, file: Path) -> Contender:
    """A pretrained network. SCRFD's file has one size, 640 × 640."""

    def detect(rgb: NDArray[np.uint8], size: int) -> Detections:
        return clipped(teacher.detect(rgb, size, LOWEST), rgb)

    return Contender(teacher.name, detect, RIVAL_THRESHOLD, file, (640,))


def rivals(folder: Path | None) -> list[Contender]:
    """Those of `RIVALS` whose files lie in `folder`, in their order."""
    if folder is None:
        return []
    return [of_teacher(make(folder / file), folder / file) for file, make in RIVALS if (folder / file).is_file()]


def also(words: Sequence[str]) -> list[Contender]:
    """Further detectors that `engine` runs, each named as `NAME=FILE.onnx`, or `NAME=FILE.onnx@416` for its size.

    Raises:
        UsageError: not of that form.
        InputError: a file that is no detector.
    """
    made = []
    for word in words:
        parts = re.fullmatch(r"([^=]+)=(.+?)(?:@(\d+))?", word)
        if parts is None:
            raise UsageError(f"--also {word}: give NAME=FILE.onnx, or NAME=FILE.onnx@416 with the size it is made for")
        name, file, size = parts.groups()
        detector = Detector.open(Path(file), threads=1, precision="f32")
        pointed = detector.session.model.metadata.get("iznet.landmarks") != "usual"
        made.append(replace(of_detector(detector, name), sizes=(int(size),) if size else (), landmarks=pointed))
    return made
