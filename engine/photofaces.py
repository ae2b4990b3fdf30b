"""The faces on a photo as people have them: found with further looks, cut out, embedded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.checksum import sha256_of
from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError
from engine.facechoice import PhotoFaces
from engine.images import load_image
from engine.letterbox import Letterbox, letterbox
from engine.levelling import aligned_faces
from engine.types import Detections

MIN_FACE = 20
"""Pixels: the side of the smallest face (square root of its area) that is worth enrolling."""
_BACKGROUND = 1 / 3
"""Faces whose side is less than this part of the largest one's stand in the background and do not count."""
_DOUBTFUL = 2 / 3
"""Faces that score less than this part of the best one are perhaps none, and do not count either."""
_SURE = 1.35
"""Times the detector's threshold: where a face scores that much, the photo lies neither on its side nor on its head.
Of clear upright faces hardly one scores less, of others hardly one more: upside down, many a close-up nearly does."""
_BETTER = 0.03
"""How much more the faces of a photo have to score in another position for it to be theirs."""
_QUALITY = 85
"""Of the JPEG thumbnails."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and the faces on it that count, at least one."""

    digest: str
    """SHA-256 of the file."""
    faces: PhotoFaces
    landmarks: NDArray[np.float32]
    """`[k,5,2]` five points of each face, as parts of the photo's width and height."""
    crops: NDArray[np.uint8]
    """`[k,112,112,3]` RGB: the aligned faces."""


def look_at(file: Path, detector: Detector, embedder: Embedder) -> Photo:
    """A photo's faces.

    Raises:
        IznetError: why it cannot be used, naming the file.
    """
    if file.is_dir():
        raise InputError(f"{file}: a folder inside a person's folder is not looked into; move its photos up")
    rgb, turns, faces = upright(load_image(file), detector)
    faces = distinct(faces)
    if not len(faces):
        raise InputError("no face found")
    sides = np.sqrt((faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1]))
    if sides.max() < MIN_FACE:
        raise InputError(f"the face is only {sides.max():.0f} pixels large; {MIN_FACE} are needed")
    counted = sides >= max(MIN_FACE, _BACKGROUND * float(sides.max()))
    counted &= faces.scores >= _DOUBTFUL * faces.scores[counted].max()
    faces, sides = faces.select(counted), sides[counted]
    crops = aligned_faces(rgb, faces.landmarks, detector)
    height, width = rgb.shape[:2]
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 / (width, height) - 0.5
    # Half the weight is lost towards the corners: of two faces equally large the central one is meant.
    prominence = sides**2 * (1 - np.linalg.norm(centres, axis=1) / np.sqrt(2))
    return Photo(
        sha256_of(file),
        PhotoFaces(embedder.embed(crops, mirrored=True), prominence.astype(np.float32)),
        _turned_back((faces.landmarks / np.array([width, height], np.float32)).astype(np.float32), turns),
        crops,
    )


def thumbnail(crop: NDArray[np.uint8]) -> bytes:
    """A face, uint8 `[H,W,3]` RGB, as a small JPEG file."""
    done, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return data.tobytes()


def find_faces(rgb: NDArray[np.uint8], detector: Detector) -> Detections:
    """The faces of a photo, with further looks where the first finds none.

    The second look adds a margin: detectors learn faces up to a part of the frame, and a close-up becomes such a face.
    The third is at twice the size, for small faces on large photos.

    Args:
        rgb: uint8 `[H,W,3]`.
        detector: its own threshold applies.

    Returns:
        Faces in pixels of the photo; empty when all looks fail.
    """
    faces = detector.detect([rgb])[0]
    if not len(faces):
        faces = _with_margin(rgb, detector)
    if not len(faces) and max(rgb.shape[:2]) > detector.size:
        faces = detector.detect([rgb], size=2 * detector.size)[0]
    return faces


def upright(rgb: NDArray[np.uint8], detector: Detector) -> tuple[NDArray[np.uint8], int, Detections]:
    """A photo as its faces stand upright, and what `find_faces` finds there.

    Scans and pictures that went through a messenger often lie on their side, and nothing in the file says so. A
    detector finds a face that lies, or half of it, but is less sure of it.

    Args:
        rgb: uint8 `[H,W,3]`.
        detector: its own threshold applies.

    Returns:
        The photo, the quarter turns against the clock that make it so (0 … 3), and the faces in its pixels.
    """

    def best(faces: Detections) -> float:
        return float(faces.scores.max(initial=0))

    position = rgb, 0, find_faces(rgb, detector)
    if best(position[2]) >= _SURE * detector.threshold:
        return position
    least = best(position[2]) + _BETTER
    for turns in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(rgb, turns))
        faces = detector.detect([turned])[0]
        if best(faces) > least:
            position, least = (turned, turns, faces), best(faces)
    return position


def _turned_back(parts: NDArray[np.float32], turns: int) -> NDArray[np.float32]:
    """Points `[…,2]`, as parts of width and height of a photo after those quarter turns, on the photo before."""
    for _ in range(turns):
        parts = np.stack([1 - parts[..., 1], parts[..., 0]], axis=-1)
    return parts


def distinct(faces: Detections) -> Detections:
    """The faces whose centres lie in no better face's box.

    Suppression lets boxes through that overlap by a third; on a photo of one large face they are parts of it.
    """
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    inside = (centres[:, None] > faces.boxes[None, :, :2]) & (centres[:, None] < faces.boxes[None, :, 2:])
    better = np.tril(np.ones((len(faces), len(faces)), np.bool_), -1)  # best score first
    repeated = np.any(inside.all(2) & better, axis=1)
    return faces.select(np.flatnonzero(~repeated))


def _with_margin(rgb: NDArray[np.uint8], detector: Detector) -> Detections:
    height, width = rgb.shape[:2]
    # No larger than what the detector will look at: photos of a hundred megapixels exist.
    box = Letterbox.fit(width, height, min(detector.size, max(width, height)), multiple=1)
    small = letterbox(rgb, box)
    x, y = box.inner_width // 2, box.inner_height // 2
    faces = detector.detect([np.pad(small, ((y, y), (x, x), (0, 0)))])[0]
    boxes = box.to_frame(faces.boxes - np.array([x, y, x, y], np.float32))
    np.clip(boxes, 0, np.array([width, height] * 2, np.float32), out=boxes)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    landmarks = box.to_frame(faces.landmarks - np.array([x, y], np.float32))
    return Detections(boxes, faces.scores, landmarks).select(inside)
