"""What the networks make of the kernels' pictures and of the CPU's: the same faces, the same person."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from engine.alignment import face_region, shifted, similarity_transform, warp_face
from engine.cuda.kernels import HeadMap, Kernels, claims
from engine.decoding import CHANNELS, VOTES, candidates
from engine.detector import Detector
from engine.embedder import Embedder
from stream.pictures import region_rgb, small_rgb
from tests.engine.cuda.host import address, picture_of


def portrait(pixel_format: str) -> av.VideoFrame:
    """A real face, in BT.709."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    rgb = np.full((540, 960, 3), 40, np.uint8)
    rgb[:, 200:740] = cv2.resize(data.astronaut(), (540, 540), interpolation=cv2.INTER_CUBIC)
    made = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixel_format, dst_colorspace=1, dst_color_range=1)
    made.colorspace, made.color_range = 1, 1
    return made


@pytest.mark.parametrize("pixel_format", ["nv12", "p010le"])
def test_the_same_faces_and_the_same_person(
    pixel_format: str, kernels: Kernels, shipped_detector: Detector, shipped_embedder: Embedder
) -> None:
    made = portrait(pixel_format)
    picture, box = picture_of(made), shipped_detector.letterbox(960, 540)
    batch = np.zeros((2, box.padded_height, box.padded_width, 3), np.uint8)
    small_rgb(made, *box.inner, batch[0])
    kernels.letterbox(picture, box, address(batch[1]))
    assert np.abs(batch[0].astype(int) - batch[1]).mean() < 0.5
    cpu, gpu = shipped_detector.detect_letterboxed(batch, [box, box])
    assert len(cpu) == len(gpu) >= 1
    size = float(cpu.boxes[0, 2] - cpu.boxes[0, 0])
    np.testing.assert_allclose(gpu.boxes, cpu.boxes, atol=0.02 * size)
    np.testing.assert_allclose(gpu.landmarks, cpu.landmarks, atol=0.02 * size)
    np.testing.assert_allclose(gpu.scores, cpu.scores, atol=0.02)

    matrix = similarity_transform(cpu.landmarks[0])
    x1, y1, x2, y2 = face_region(matrix, 960, 540)
    crops = np.empty((2, 112, 112, 3), np.uint8)
    crops[0] = warp_face(region_rgb(made, x1, y1, x2, y2), shifted(matrix, x1, y1))
    kernels.warp(picture, matrix[None], address(crops[1]))
    embeddings = shipped_embedder.embed(crops)
    assert embeddings[0] @ embeddings[1] > 0.995


def test_the_detectors_own_maps_are_decoded_alike(kernels: Kernels, shipped_detector: Detector) -> None:
    """With the strides, boxes and threshold that the network's metadata give."""
    made = portrait("yuv420p")
    box = shipped_detector.letterbox(960, 540)
    request = shipped_detector.session.request()
    images = request.input("images", (1, box.padded_height, box.padded_width, 3)).host()
    images[...] = 0
    small_rgb(made, *box.inner, images[0])
    request.start()
    request.wait()
    maps = [(np.ascontiguousarray(request.output(f"head{s}").host()), s) for s in shipped_detector.strides]
    least = VOTES * shipped_detector.threshold
    told = [HeadMap(address(h), h.shape[1], h.shape[2], s, h.shape[3] // CHANNELS) for h, s in maps]
    faces, counts = np.empty((1, claims(told), CHANNELS), np.float32), np.empty(1, np.int32)
    kernels.decode(told, [box.inner], least, address(faces), address(counts), claims(told))
    parts = [
        candidates(np.ascontiguousarray(one), stride, least, float(box.inner_width), float(box.inner_height))
        for head, stride in maps
        for one in np.split(head[0], head.shape[3] // CHANNELS, axis=2)
    ]
    expected = np.concatenate(parts)
    assert counts[0] == len(expected) >= 1
    np.testing.assert_array_max_ulp(faces[0, : counts[0]], expected, maxulp=1)
