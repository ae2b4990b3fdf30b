"""Faces and names: one batch of pixels in, boxes, embeddings and people out.

Example:
    >>> from engine import Detector, Embedder, Gallery, align_face, load_image
    >>> rgb = load_image("photo.jpg")                                               # doctest: +SKIP
    >>> faces = Detector.open().detect([rgb])[0]                                    # doctest: +SKIP
    >>> crops = np.stack([align_face(rgb, points) for points in faces.landmarks])   # doctest: +SKIP
    >>> Gallery.load("izone.gallery").identify(Embedder.open().embed(crops)).names  # doctest: +SKIP
    ['yuri', None]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.lazy import lazy
from engine.version import VERSION as __version__

if TYPE_CHECKING:
    from engine.alignment import ARCFACE_TEMPLATE, align_face, similarity_transform
    from engine.detector import Detector
    from engine.embedder import Embedder
    from engine.enrolment import EnrolmentReport, enroll
    from engine.gallery import Gallery, Matches
    from engine.images import load_image
    from engine.letterbox import Letterbox
    from engine.runtime import Session, open_session
    from engine.types import Detections

_PLACES = {
    "ARCFACE_TEMPLATE": "alignment",
    "Detections": "types",
    "Detector": "detector",
    "Embedder": "embedder",
    "EnrolmentReport": "enrolment",
    "Gallery": "gallery",
    "Letterbox": "letterbox",
    "Matches": "gallery",
    "Session": "runtime",
    "align_face": "alignment",
    "enroll": "enrolment",
    "load_image": "images",
    "open_session": "runtime",
    "similarity_transform": "alignment",
}

__all__ = [
    "ARCFACE_TEMPLATE",
    "Detections",
    "Detector",
    "Embedder",
    "EnrolmentReport",
    "Gallery",
    "Letterbox",
    "Matches",
    "Session",
    "__version__",
    "align_face",
    "enroll",
    "load_image",
    "open_session",
    "similarity_transform",
]

__getattr__, __dir__ = lazy(__name__, _PLACES)
