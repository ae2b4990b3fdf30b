"""Pretrained face detectors behind one function each: teachers to learn from, and rivals to measure against.

Their weights are the user's; nothing of them is shipped. Decoding follows each project's published code:
YuNet (libfacedetection.train, arXiv 2202.02298), CenterFace (arXiv 1911.03599), SCRFD (arXiv 2105.04714).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.types import Detections

Outputs = dict[str, NDArray[np.float32]]

YUNET_OUTPUTS = tuple(f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
CENTERFACE_OUTPUTS = ("537", "538", "539", "540")
SCRFD_OUTPUTS = tuple(f"out{number}" for number in range(9))


def _suppress(boxes: NDArray[Any], scores: NDArray[Any], points: NDArray[Any], iou: float) -> Detections:
    """Greedy non-maximum suppression."""
    if not len(boxes):
        return Detections.empty()
    rects = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)
    keep = np.asarray(cv2.dnn.NMSBoxes(rects.tolist(), scores.astype(float).tolist(), 0.0, iou), np.intp).reshape(-1)
    keep = keep[np.argsort(-scores[keep], kind="stable")]
    return Detections(boxes[keep].astype(np.float32), scores[keep].astype(np.float32), points[keep].astype(np.float32))


def _grid(height: int, width: int, stride: int) -> NDArray[np.float32]:
    """Top-left corners `[H/s·W/s, 2]` of the cells in pixels."""
    ys, xs = np.mgrid[: height // stride, : width // stride]
    return (np.stack([xs, ys], -1).reshape(-1, 2) * stride).astype(np.float32)


@dataclass(frozen=True, slots=True)
class YuNetCells:
    """What YuNet says about each of the N cells of one level."""

    scores: NDArray[np.float32]
    """`[N]` 0…1."""
    boxes: NDArray[np.float32]
    """`[N,4]` in pixels."""
    points: NDArray[np.float32]
    """`[N,5,2]` in pixels."""


def yunet_cells(outputs: Outputs, height: int, width: int, stride: int) -> YuNetCells:
    """YuNet: score = √(cls·obj); box centre and log-size, and points, relative to the cell's corner in strides."""
    corner = _grid(height, width, stride)
    cls, obj = outputs[f"cls_{stride}"][0, :, 0], outputs[f"obj_{stride}"][0, :, 0]
    box, points = outputs[f"bbox_{stride}"][0], outputs[f"kps_{stride}"][0].reshape(-1, 5, 2)
    centre = corner + box[:, :2] * stride
    half = np.exp(box[:, 2:]) * stride / 2
    return YuNetCells(
        np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1)),
        np.concatenate([centre - half, centre + half], 1),
        corner[:, None] + points * stride,
    )


def decode_yunet(outputs: Outputs, height: int, width: int, threshold: float) -> Detections:
    """Faces out of YuNet's cells of all levels."""
    levels = [yunet_cells(outputs, height, width, stride) for stride in (8, 16, 32)]
    scores = np.concatenate([level.scores for level in levels])
    boxes, points = (np.concatenate([getattr(level, part) for level in levels]) for part in ("boxes", "points"))
    keep = scores >= threshold
    return _suppress(boxes[keep], scores[keep], points[keep], 0.45)


def decode_centerface(outputs: Outputs, height: int, width: int, threshold: float) -> Detections:
    """CenterFace: heat map at stride 4, log-size, offset (y, x), and points (y, x) relative to the box's corner."""
    heat, scale, offset, marks = (outputs[k][0] for k in CENTERFACE_OUTPUTS)
    rows, columns = np.nonzero(heat[0] >= threshold)
    size = np.exp(scale[:, rows, columns]) * 4
    middle_y = (rows + offset[0, rows, columns] + 0.5) * 4
    middle_x = (columns + offset[1, rows, columns] + 0.5) * 4
    corner = np.stack([middle_x - size[1] / 2, middle_y - size[0] / 2], 1)
    far = np.stack([middle_x + size[1] / 2, middle_y + size[0] / 2], 1)
    extent = np.stack([size[1], size[0]], 1)
    found = marks[:, rows, columns].reshape(5, 2, -1)[:, ::-1]
    points = corner[:, None] + found.transpose(2, 0, 1) * extent[:, None]
    return _suppress(np.concatenate([corner, far], 1), heat[0, rows, columns], points, 0.3)


def decode_scrfd(outputs: Outputs, height: int, width: int, threshold: float) -> Detections:
    """SCRFD: two anchors a cell, distances and points from the cell's corner in strides."""
    boxes, scores, points = [], [], []
    for level, stride in enumerate((8, 16, 32)):
        corner = np.repeat(_grid(height, width, stride), 2, axis=0)
        score = outputs[f"out{level}"][0, :, 0]
        keep = score >= threshold
        box = outputs[f"out{level + 3}"][0][keep] * stride
        kps = outputs[f"out{level + 6}"][0][keep].reshape(-1, 5, 2) * stride
        boxes.append(np.concatenate([corner[keep] - box[:, :2], corner[keep] + box[:, 2:]], 1))
        points.append(corner[keep][:, None] + kps)
        scores.append(score[keep])
    return _suppress(np.concatenate(boxes), np.concatenate(scores), np.concatenate(points), 0.4)


class FaceTeacher:
    """One pretrained detector, run on ONNX Runtime.

    Example:
        >>> teacher = FaceTeacher.yunet(Path("yunet_n.onnx"))   # doctest: +SKIP
        >>> teacher.detect(rgb, size=640).boxes.shape           # doctest: +SKIP
    """

    def __init__(
        self,
        path: Path,
        name: str,
        decode: Callable[[Outputs, int, int, float], Detections],
        outputs: Sequence[str],
        *,
        bgr: bool = False,
        mean: float = 0.0,
        scale: float = 1.0,
        square: bool = False,
        threads: int = 1,
    ) -> None:
        import onnxruntime

        if not path.is_file():
            raise InputError(f"{path}: no such file; give the {name} network as an ONNX file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a dozen kinds, of no common parent
            raise InputError(f"{path} cannot be opened as the {name} network: {error}") from error
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]
        if absent := [output for output in outputs if output not in self._names]:
            raise InputError(f"{path} is not the {name} network: it has no output {', '.join(absent)}")
        self._decode, self._bgr, self._mean, self._scale, self._square = decode, bgr, mean, scale, square
        self.name = name

    @classmethod
    def yunet(cls, path: Path, threads: int = 1) -> FaceTeacher:
        """YuNet-n (Apache-2.0)."""
        return cls(path, "YuNet-n", decode_yunet, YUNET_OUTPUTS, bgr=True, threads=threads)

    @classmethod
    def centerface(cls, path: Path, threads: int = 1) -> FaceTeacher:
        """CenterFace (MIT)."""
        return cls(path, "CenterFace", decode_centerface, CENTERFACE_OUTPUTS, threads=threads)

    @classmethod
    def scrfd(cls, path: Path, threads: int = 1) -> FaceTeacher:
        """SCRFD-2.5G (research only: to measure against, not to learn from)."""
        name, mean, scale = "SCRFD-2.5G", 127.5, 1 / 128
        return cls(path, name, decode_scrfd, SCRFD_OUTPUTS, mean=mean, scale=scale, square=True, threads=threads)

    def detect(self, rgb: NDArray[np.uint8], size: int = 640, threshold: float = 0.02) -> Detections:
        """Faces in pixels of `rgb` `[H,W,3]`, found with the longer side scaled to `size`."""
        height, width = rgb.shape[:2]
        factor = size / max(height, width)
        inner = max(1, round(width * factor)), max(1, round(height * factor))
        scaled = cv2.resize(rgb, inner, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        padded_w, padded_h = (size, size) if self._square else (-(-inner[0] // 32) * 32, -(-inner[1] // 32) * 32)
        found = self._decode(self.answer(scaled, padded_h, padded_w), padded_h, padded_w, threshold)
        ratio = np.array([width / inner[0], height / inner[1]], np.float32)
        return Detections(found.boxes * np.tile(ratio, 2), found.scores, found.landmarks * ratio)

    def answer(self, rgb: NDArray[np.uint8], height: int | None = None, width: int | None = None) -> Outputs:
        """The network's own outputs for `rgb` `[H,W,3]`, padded at right and bottom up to `height` × `width`."""
        tall, wide = rgb.shape[:2]
        canvas = np.zeros((height or tall, width or wide, 3), np.float32)
        canvas[:tall, :wide] = ((rgb[..., ::-1] if self._bgr else rgb) - np.float32(self._mean)) * self._scale
        values = self._session.run(None, {self._input: canvas.transpose(2, 0, 1)[None]})
        return dict(zip(self._names, values, strict=True))
