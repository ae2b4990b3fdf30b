"""How a video's pictures are seen: the few things that are asked of a picture, answered by the CPU here.

`stream.gpu_eyes` answers the same on a GPU, where the pictures are. Who asks does not know which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engine.alignment import face_region, mirrored_transform, shifted, warp_face
from engine.detector import Detector
from engine.embedder import Embedder
from engine.letterbox import Letterbox
from engine.levelling import Leveller, is_tilted
from engine.types import Detections
from stream.frames import Frame, VideoInfo
from stream.orientation import face_transform, to_coded, upright
from stream.patches import SIDE, patch_places, patches_of
from stream.pictures import coarse_rgb, grey_cells, region_rgb, small_rgb
from stream.shots import GRID
from stream.stages import StageClock


class Eyes(Protocol):
    """What is asked of a video's pictures. Each of its methods for one thread at a time, all of them together."""

    def cells(self, frame: Frame) -> NDArray[np.uint8]:
        """The picture in a few cells, uint8 `[18,32,3]` RGB, which shots are told apart by."""
        ...

    def faces(self, frame: Frame, threshold: float, coarse: bool) -> Detections:
        """The faces, in pixels as displayed.

        Args:
            frame: to be looked at.
            threshold: the least score.
            coarse: whether to look again for faces that fill the picture.
        """
        ...

    def expect(self, frame: Frame, threshold: float) -> None:
        """`faces` will be asked of this frame next but one, with that threshold, whatever comes of the next: who can
        begins at once, so that it is looked at while the one before it is."""
        ...

    def embeddings(
        self, frame: Frame, landmarks: Sequence[NDArray[np.float32]], mirrored: Sequence[bool]
    ) -> tuple[NDArray[np.float32], list[float]]:
        """Unit vectors `[N,D]` of N ≥ 1 faces, each given by five points `[5,2]` as displayed and looked at as it is or
        `mirrored`, and how sharp each is, 0.1 … 1."""
        ...

    def patches(self, frame: Frame, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `stream.patches` compares, `[N,SIDE²]`, of N ≥ 1 faces in `[N,4]` xyxy pixels as displayed. May be asked
        of a frame that is `done`."""
        ...

    def done(self, frames: Iterable[Frame]) -> None:
        """Nothing more will be asked of these, but for `patches`."""
        ...


class HostEyes:
    """The CPU's: see `Eyes`.

    Args:
        info: the video's geometry.
        detector: finds the faces.
        embedder: tells them apart.
        clock: where the time of each stage is added up.
    """

    def __init__(
        self, info: VideoInfo, detector: Detector, embedder: Embedder | None = None, clock: StageClock | None = None
    ) -> None:
        self._info = info
        self._detector = detector
        self._embedder = embedder
        self._clock = clock or StageClock()
        self._box = detector.letterbox(info.width, info.height, pixel_aspect=info.pixel_aspect)
        self._level = Leveller(detector, *self._box.padded)
        # OpenCV's own threads save nothing on pictures so small, and turn in circles while they wait for the next.
        cv2.setNumThreads(1)

    def cells(self, frame: Frame) -> NDArray[np.uint8]:
        return coarse_rgb(frame.picture, *GRID)

    def faces(self, frame: Frame, threshold: float, coarse: bool) -> Detections:
        job = self._detector.job(1, self._box.padded_height, self._box.padded_width)
        with self._clock("scale"):
            letterboxed(frame.picture, self._info, self._box, job.pixels[0])
        with self._clock("detect"):
            return job.start([self._box], threshold, coarse=coarse).result()[0]

    def embeddings(
        self, frame: Frame, landmarks: Sequence[NDArray[np.float32]], mirrored: Sequence[bool]
    ) -> tuple[NDArray[np.float32], list[float]]:
        assert self._embedder is not None
        embeddings = np.empty((len(landmarks), self._embedder.dimension), np.float32)
        sharp = []
        for points, turned, embedding in zip(landmarks, mirrored, embeddings, strict=True):
            # One by one: a batch saves nothing on a CPU, and integer networks are compiled anew for every size of it.
            job = self._embedder.job(1)
            with self._clock("crop"):
                cut_aligned(frame.picture, points, self._info, job.faces[0], self._level, mirrored=turned)
                sharp.append(sharpness(job.faces[0]))
            with self._clock("embed"):
                embedding[:] = job.start().result()[0]
        return embeddings, sharp

    def patches(self, frame: Frame, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return patches_of(grey_cells(frame.picture, patch_places(boxes, self._info), SIDE))

    def expect(self, frame: Frame, threshold: float) -> None:
        pass

    def done(self, frames: Iterable[Frame]) -> None:
        pass


def letterboxed(picture: av.VideoFrame, info: VideoInfo, box: Letterbox, pixels: NDArray[np.uint8]) -> None:
    """Draw a picture into what a detector is given.

    Args:
        picture: as stored.
        info: says how it is displayed.
        box: how it lies there.
        pixels: uint8 `[padded_height,padded_width,3]` RGB, all of which is written.
    """
    pixels[box.inner_height :] = 0
    pixels[:, box.inner_width :] = 0
    out = pixels[: box.inner_height, : box.inner_width]
    if info.rotation == 0:
        small_rgb(picture, *box.inner, out)
        return
    width, height = box.inner[::-1] if info.rotation in (90, 270) else box.inner
    stored = np.empty((height, width, 3), np.uint8)
    small_rgb(picture, width, height, stored)
    out[...] = upright(stored, info.rotation)


def aligning(
    picture: Callable[[], av.VideoFrame],
    landmarks: NDArray[np.float32],
    info: VideoInfo,
    level: Leveller | None = None,
    *,
    mirrored: bool = False,
) -> NDArray[np.float32]:
    """The way from the stored picture to the upright, aligned face, or to its mirror image, `[2,3]`.

    Args:
        picture: gives it, in the CPU's memory; asked where the head is tilted.
        landmarks: `[5,2]` pixels as displayed.
        info: says how it is displayed.
        level: finds the points of a tilted head once more; None believes them as they are.
        mirrored: whether left and right are exchanged.
    """
    points = to_coded(landmarks, info)
    if level is not None and is_tilted(landmarks * np.array([info.pixel_aspect, 1], np.float32)):
        square = np.empty((level.side, level.side, 3), np.uint8)

        def cut(matrix: NDArray[np.float32]) -> NDArray[np.uint8]:
            cut_square(picture(), matrix, info, square)
            return square

        points = level(points, partial(face_transform, info=info), cut)
    matrix = face_transform(points, info)
    return mirrored_transform(matrix) if mirrored else matrix


def cut_aligned(
    picture: av.VideoFrame,
    landmarks: NDArray[np.float32],
    info: VideoInfo,
    out: NDArray[np.uint8],
    level: Leveller | None = None,
    *,
    mirrored: bool = False,
) -> None:
    """Cut the aligned face, uint8 `[112,112,3]` RGB, or its mirror image out of a picture; see `aligning`."""
    cut_square(picture, aligning(lambda: picture, landmarks, info, level, mirrored=mirrored), info, out)


def cut_square(picture: av.VideoFrame, matrix: NDArray[np.float32], info: VideoInfo, out: NDArray[np.uint8]) -> None:
    """Cut a square, uint8 `[S,S,3]` RGB, out of no more of the stored picture than it needs; `matrix` is the way from
    there to it, `[2,3]`."""
    size = len(out)
    x1, y1, x2, y2 = face_region(matrix, info.coded_width, info.coded_height, size)
    if x1 == x2 or y1 == y2:  # beyond the border, where a second look may have put it
        out[...] = 0
        return
    region = region_rgb(picture, x1, y1, x2, y2)
    if info.interlaced and y2 - y1 > 1:
        # Two moments lie woven into one picture; one field alone is one moment.
        field = region[y1 % 2 :: 2]
        region = cv2.resize(field, (x2 - x1, y2 - y1)).astype(np.uint8)
    warp_face(region, shifted(matrix, x1, y1), size, out=out)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """How sharp an aligned uint8 `[112,112,3]` RGB face is, 0.1 … 1, by the variance of its Laplacian."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return sharpness_of(float(cv2.Laplacian(grey, cv2.CV_32F).var()))


def sharpness_of(variance: float) -> float:
    """The same, where the variance is known.

    Example:
        >>> sharpness_of(75.0)
        0.5
    """
    return float(np.clip(variance / 150.0, 0.1, 1.0))
