"""A video's pictures seen on a GPU: see `stream.eyes`.

What NVDEC decoded stays where it is. Other pictures are put on the GPU once, when they are first looked at, and stay
there until nothing more is asked of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import av
import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.device_vision import DeviceFrame, Look, Vision
from engine.embedder import Embedder
from engine.levelling import Leveller
from engine.types import Detections
from stream.colours import fill_cells
from stream.device_pictures import device_frame, device_marks, host_planes
from stream.eyes import aligning, sharpness_of
from stream.frames import Frame, VideoInfo
from stream.overlay import Inked
from stream.patches import SIDE, patch_places, patches_of
from stream.pictures import coarse_rgb, convert, grey_cells
from stream.planes import PixelLayout, on_gpu, stored_format
from stream.shots import GRID
from stream.stages import StageClock


class GpuEyes:
    """See `stream.eyes.Eyes`.

    Args:
        info: the video's geometry.
        detector: finds the faces, on a GPU.
        embedder: tells them apart, likewise.
        clock: where the time of each stage is added up; the host's alone.

    Raises:
        MissingError: the kernels are not part of this installation, or cannot run on this GPU.
    """

    def __init__(
        self, info: VideoInfo, detector: Detector, embedder: Embedder | None = None, clock: StageClock | None = None
    ) -> None:
        self._vision = Vision(detector, embedder)
        self._info = info
        self._clock = clock or StageClock()
        self._box = detector.letterbox(info.width, info.height, pixel_aspect=info.pixel_aspect)
        self._level = Leveller(detector, *self._box.padded)
        self._put: dict[int, DeviceFrame] = {}
        """Frames that had to be put on the GPU, by their numbers."""
        self._begun: dict[int, Look] = {}
        """Looks at frames that will be asked about, likewise."""
        self._lock = threading.Lock()

    def cells(self, frame: Frame) -> NDArray[np.uint8]:
        if not on_gpu(frame.picture):
            return coarse_rgb(frame.picture, *GRID)
        there = device_frame(frame.picture)
        width, height = GRID
        out = np.empty((height, width, 3), np.uint8)
        # The few means come back as they are: what becomes of them is the CPU's to the last bit.
        fill_cells(list(self._vision.cells(there, width, height)), there.picture.matrix, out)
        return out

    def faces(self, frame: Frame, threshold: float, coarse: bool) -> Detections:
        look = self._begun.pop(frame.index, None) or self._look(frame, threshold)
        with self._clock("detect"):
            if coarse:
                look.again()
            return look.result()

    def expect(self, frame: Frame, threshold: float) -> None:
        self._begun[frame.index] = self._look(frame, threshold)

    def _look(self, frame: Frame, threshold: float) -> Look:
        with self._clock("scale"):
            there, turns = self._there(frame), self._info.rotation // 90
            return self._vision.look(there, self._box, turns=turns, threshold=threshold, coarse=False)

    def embeddings(
        self, frame: Frame, landmarks: Sequence[NDArray[np.float32]], mirrored: Sequence[bool]
    ) -> tuple[NDArray[np.float32], list[float]]:
        with self._clock("crop"):
            there = self._there(frame)

            @cache
            def here() -> av.VideoFrame:
                return convert(frame.picture, stored_format(frame.picture))

            matrices = np.stack(
                [
                    aligning(here, points, self._info, self._level, mirrored=turned)
                    for points, turned in zip(landmarks, mirrored, strict=True)
                ]
            )
            if self._info.interlaced:
                # Two moments lie woven into one picture; one field alone is one moment.
                there = DeviceFrame(there.picture.field(), there.written_on, there)
                matrices[:, :, 1] *= 2
        with self._clock("embed"):
            embeddings, variances = self._vision.embed(there, matrices)
        return embeddings, [sharpness_of(variance) for variance in variances.tolist()]

    def patches(self, frame: Frame, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        places = patch_places(boxes, self._info)
        if not on_gpu(frame.picture):
            return patches_of(grey_cells(frame.picture, places, SIDE))
        there, grey = device_frame(frame.picture), PixelLayout.of(stored_format(frame.picture)).grey
        parts = [replace(there, picture=there.picture.part(*place)) for place in places.tolist()]
        return patches_of(np.stack([self._vision.cells(part, SIDE, SIDE)[grey] for part in parts]))

    def done(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            with self._lock:
                put = self._put.pop(frame.index, None)
            if put is not None:
                self._vision.release(put)

    def draw(self, picture: av.VideoFrame, marks: Sequence[Inked]) -> None:
        """See `stream.labelled_copy.Canvas`."""
        self._vision.draw(device_frame(picture), device_marks(marks))

    def close(self) -> None:
        """Give back what is held on the GPU, once nothing is asked any more; a second call does nothing."""
        self._begun.clear()
        self._put.clear()
        self._vision.close()

    def _there(self, frame: Frame) -> DeviceFrame:
        if on_gpu(frame.picture):
            return device_frame(frame.picture)
        with self._lock:
            put = self._put.get(frame.index)
        if put is None:
            put = self._vision.upload(*host_planes(frame.picture))
            with self._lock:
                self._put[frame.index] = put
        return put
