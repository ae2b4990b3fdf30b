"""What the tests of measuring share: box sets that are files, and detectors whose answers are known."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from engine.types import Detections
from tests.networks import PEOPLE, scene
from train.contenders import Contender
from train.data.boxes import Picture, unknown_landmarks

FACES = [[40, 40, 100, 110], [300, 60, 380, 150], [160, 220, 260, 330]]
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
"""Of an upright face, as parts of its box."""


def write_rectangles(path: Path) -> Path:
    """Three pictures of 640×384 with rectangles for `tests.networks`; in the last, one label stands where nothing is,
    and a fourth picture is missing."""
    entries = []
    with zipfile.ZipFile(path, "w") as archive:
        for number, shown in enumerate((FACES[:2], FACES, FACES[1:])):
            rgb = scene(640, 384, [(box, PEOPLE["ann"]) for box in shown])
            ok, data = cv2.imencode(".png", rgb[..., ::-1])
            assert ok
            archive.writestr(f"{number}.png", data.tobytes())
            labels = [*shown, [500, 200, 560, 280]] if number == 2 else shown
            entries.append(
                {
                    "image": f"{number}.png",
                    "width": 640,
                    "height": 384,
                    "boxes": labels,
                    "ignore": [False] * len(labels),
                }
            )
        entries.append({"image": "gone.png", "boxes": [], "ignore": []})
        archive.writestr("boxes.json", json.dumps(entries))
    return path


def detections(boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> Detections:
    """Upright faces."""
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    points = array[:, None, :2] + (array[:, 2:] - array[:, :2])[:, None] * POINTS
    return Detections(array, np.asarray(scores, np.float32), points.astype(np.float32))


def blank(name: str = "p", width: int = 640, height: int = 480, boxes: Sequence[Sequence[float]] = ()) -> Picture:
    """A black picture with labels."""
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    rgb = np.zeros((height, width, 3), np.uint8)
    return Picture(name, rgb, array, np.zeros(len(array), bool), unknown_landmarks(len(array)))


def seer(answer: Callable[[np.ndarray, int], Detections], threshold: float = 0.5) -> Contender:
    """A contender that answers what a function says."""
    return Contender("seer", answer, threshold, Path("none.onnx"))
