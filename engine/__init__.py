"""Faces and names: one batch of pixels in, boxes, embeddings and people out.

Example:
    >>> from engine import Detector, Embedder, Gallery, align_face, load_image
    >>> rgb = load_image("photo.jpg")                                              # doctest: +SKIP
    >>> faces = Detector.open().detect([rgb])[0]                                   # doctest: +SKIP
    >>> crops = np.stack([align_face(rgb, points) for points in faces.landmarks])  # doctest: +SKIP
    >>> Gallery.load("izone.gallery").identify(Embedder.open().embed(crops)).names # doctest: +SKIP
    ['yuri', None]
"""

from engine.alignment import ARCFACE_TEMPLATE, align_face, similarity_transform
from engine.detector import Detector
from engine.embedder import Embedder
from engine.enrolment import EnrolmentReport, enroll
from engine.gallery import Gallery, Matches
from engine.images import load_image
from engine.letterbox import Letterbox, letterbox
from engine.nms import nms
from engine.runtime import Session, open_session
from engine.types import Detections
from engine.version import VERSION as __version__

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
    "letterbox",
    "load_image",
    "nms",
    "open_session",
    "similarity_transform",
]
