"""Pictures as RGB and frames as YUV are two doors to the same arithmetic: the same boxes, the same embeddings."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.alignment import align_face
from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from stream.analysis import Analyser
from stream.frames import Frame, Rotation, VideoInfo


def portrait(width: int, height: int) -> NDArray[np.uint8]:
    """A real face on a wide, dim ground; uint8 `[height,width,3]` RGB."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    astronaut = cv2.resize(data.astronaut(), (height, height), interpolation=cv2.INTER_CUBIC)
    rgb = np.full((height, width, 3), 40, np.uint8)
    rgb[:, 200 : 200 + height] = astronaut
    return rgb


def coded(rgb: NDArray[np.uint8], rotation: Rotation, pixel_format: str) -> av.VideoFrame:
    """The picture as a camera held at `rotation` would store it: BT.709, limited range."""
    stored = np.ascontiguousarray(np.rot90(rgb, rotation // 90))
    frame = av.VideoFrame.from_ndarray(stored, "rgb24")
    made = frame.reformat(format=pixel_format, dst_colorspace=1, dst_color_range=1)
    made.colorspace, made.color_range = 1, 1
    made.pts = 0
    return made


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_boxes_landmarks_and_embeddings_agree(
    rotation: Rotation, pixel_format: str, shipped_detector: Detector, shipped_embedder: Embedder
) -> None:
    rgb = portrait(1280, 720)
    found = shipped_detector.detect([rgb])[0]
    assert len(found) >= 1
    embedding = shipped_embedder.embed(align_face(rgb, found.landmarks[0])[None])
    gallery = Gallery.build({"eileen": embedding}, embedder_sha256=shipped_embedder.sha256, threshold=0.3)

    picture = coded(rgb, rotation, pixel_format)
    base = Fraction(1, 25)
    info = VideoInfo("a.mp4", picture.width, picture.height, rotation, base, None, None, pixel_format)
    analyser = Analyser(info, shipped_detector, shipped_embedder, gallery, every_frame=True)
    frames = [frame for i in range(12) for frame in analyser.push(Frame(picture, i, i, base))]
    frames += analyser.finish()
    assert len(frames) == 12
    for labelled in frames:
        face = max(labelled.faces, key=lambda f: f.score)
        size = float(found.boxes[0, 2] - found.boxes[0, 0])
        assert np.abs(face.box - found.boxes[0]).max() < 0.06 * size
        assert np.abs(face.landmarks - found.landmarks[0]).max() < 0.06 * size
        assert face.score == pytest.approx(float(found.scores[0]), abs=0.05)
        assert face.name == "eileen"
        assert face.similarity is not None
        assert face.similarity > 0.95
