"""Does an engine still say what its network says? Held against ONNX Runtime on the CPU, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.alignment import SIZE, align_face
from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError
from engine.letterbox import letterbox
from engine.metrics import FaceTruth, average_precision
from engine.runtime import Session

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far an engine may be from its network."""

    score: float
    """Largest difference of a detector's score anywhere on a picture."""
    ap: float
    """Least average precision of its faces (IoU 0.5), where the network's own are the truth."""
    cosine: float
    """Least mean cosine of an embedder's embeddings and the network's own."""


EXACT = Bounds(score=0.02, ap=0.98, cosine=0.999)
"""Of a network in floats, whether the engine computes in f32 or in f16."""
QUANTISED = Bounds(score=0.25, ap=0.95, cosine=0.97)
"""Of a quantised network: in f32 or f16 it is off by what it was quantised by, in int8 by other roundings."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far an engine is from its network; None for what the network does not do or the pictures do not show."""

    pictures: int
    faces: int
    """That the network itself found on them; 0 for pictures that were made up."""
    score: float | None = None
    ap: float | None = None
    cosine: float | None = None
    worst_cosine: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def offences(self, bounds: Bounds) -> list[str]:
        """What is beyond the bounds, in words."""
        found = []
        # Written so that NaN, which is less than nothing, is an offence too.
        if self.score is not None and not self.score <= bounds.score:
            found.append(f"a score is off by {self.score:.3f}, where {bounds.score:g} is allowed")
        if self.ap is not None and not self.ap >= bounds.ap:
            found.append(f"it finds the network's faces with an AP of {self.ap:.3f}, where {bounds.ap:g} is asked")
        if self.cosine is not None and not self.cosine >= bounds.cosine:
            found.append(
                f"the cosine to the network's embeddings is {self.cosine:.4f}, where {bounds.cosine:g} is asked"
            )
        return found

    def __str__(self) -> str:
        parts = [f"{self.pictures} pictures" + (f", {self.faces} faces" if self.faces else "")]
        for words, value in (
            ("largest difference of a score", self.score),
            ("AP", self.ap),
            ("mean cosine", self.cosine),
            ("worst cosine", self.worst_cosine),
        ):
            if value is not None:
                parts.append(f"{words} {value:.4f}")
        return ", ".join(parts)


def measure(session: Session, reference: Session, pictures: Pictures | None = None, size: int = 640) -> Accuracy:
    """Hold a session against the reference of the same network.

    Args:
        session: the engine's.
        reference: ONNX Runtime's.
        pictures: uint8 `[H,W,3]` RGB with faces on them; without any, made-up pictures show whether the numbers agree,
            though not whether faces are found.
        size: pixels of the longer side that a detector looks at.

    Raises:
        InputError: the reference finds no face on the pictures.
    """
    if session.model.metadata.get("iznet.kind") == "detector":
        return _detectors(Detector(session, size), Detector(reference, size), pictures)
    return _embedders(Embedder(session), Embedder(reference), pictures)


def _detectors(ours: Detector, theirs: Detector, pictures: Pictures | None) -> Accuracy:
    shown = made_up(2, ours.size * 9 // 16, ours.size) if pictures is None else pictures
    score = max(_score_difference(ours, theirs, picture) for picture in shown)
    if pictures is None:
        return Accuracy(len(shown), 0, score)
    truth = [theirs.detect([picture])[0] for picture in pictures]
    faces = sum(map(len, truth))
    if not faces:
        raise InputError(f"{ours.session.model.path}: no face is on the pictures to check with; name others")
    wanted = [FaceTruth(seen.boxes, np.zeros(len(seen), np.bool_)) for seen in truth]
    # One by one: the engine may have been made for that alone.
    found = [ours.detect([picture])[0] for picture in pictures]
    return Accuracy(len(pictures), faces, score, ap=average_precision(found, wanted).ap)


def _score_difference(ours: Detector, theirs: Detector, picture: NDArray[np.uint8]) -> float:
    box = ours.letterbox(picture.shape[1], picture.shape[0])
    pixels = letterbox(picture, box)[None]
    heads = [_outputs(detector.session, "images", pixels) for detector in (ours, theirs)]
    return max(float(np.abs(heads[0][name][..., ::15] - head[..., ::15]).max()) for name, head in heads[1].items())


def _embedders(ours: Embedder, theirs: Embedder, pictures: Pictures | None) -> Accuracy:
    if pictures is None:
        crops = made_up(8, SIZE, SIZE)
    else:
        finder = Detector.open(device="cpu")
        found = finder.detect(pictures)
        crops = [
            align_face(picture, points) for picture, f in zip(pictures, found, strict=True) for points in f.landmarks
        ]
        finder.close()
        if not crops:
            raise InputError(f"{ours.session.model.path}: no face is on the pictures to check with; name others")
    cosines = np.array([float((ours.embed(crop[None]) @ theirs.embed(crop[None]).T)[0, 0]) for crop in crops])
    return Accuracy(
        len(crops if pictures is None else pictures),
        0 if pictures is None else len(crops),
        cosine=float(cosines.mean()),
        worst_cosine=float(cosines.min()),
    )


def _outputs(session: Session, name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    request = session.request()
    request.input(name, array.shape).host()[...] = array
    request.start()
    request.wait()
    return {spec.name: request.output(spec.name).host().copy() for spec in session.outputs}


def made_up(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Pictures of noise as coarse and as fine as that of photographs, the same on every call.

    Returns:
        uint8 `[height,width,3]` each.
    """
    random = np.random.default_rng(20)
    pictures = []
    for _ in range(count):
        picture = np.full((height, width, 3), 0.5, np.float32)
        for octave in range(1, 7):
            coarse = random.standard_normal((2**octave, 2**octave, 3)).astype(np.float32)
            picture += 0.5 / octave**1.5 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2
        pictures.append((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return pictures
