"""A little picture of every face that is seen now or was lately: the clearest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.frames import Face, TrackVerdict
from stream.identity import face_quality
from stream.live.analysis import KEPT_GONE
from stream.live.outputs import Seen
from stream.live.screen import jpeg
from stream.orientation import boxes_to_coded, upright
from stream.pictures import region_rgb

SIDE = 112
"""Pixels, both ways."""
BETTER = 1.25
"""How much better than the one before a look at a face has to be for a new picture."""


class Thumbnails:
    """Keeps the little pictures of one feed's faces, also of as many that have gone as can still be named. `of` may be
    called from any thread."""

    draws = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._best: dict[int, tuple[float, bytes]] = {}
        self._gone: deque[int] = deque()

    def frame(self, seen: Seen) -> None:
        if seen.epoch != self._epoch:
            with self._lock:
                self._epoch = seen.epoch
                self._best.clear()
                self._gone.clear()
        for face in seen.labelled.faces:
            quality = face_quality(face.box, face.score, face.landmarks)
            known = self._best.get(face.track)
            if known is None or quality > BETTER * known[0]:
                picture = jpeg(_cut_out(seen, face))
                with self._lock:
                    self._best[face.track] = quality, picture

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        with self._lock:
            self._gone += [verdict.track for verdict in verdicts]
            while len(self._gone) > KEPT_GONE:
                self._best.pop(self._gone.popleft(), None)

    def close(self, dropped: Mapping[str, int]) -> None:
        """Nothing is left to finish."""

    def of(self, epoch: int, track: int) -> bytes | None:
        """The picture of a face that is seen or was lately, JPEG; None if there is none."""
        with self._lock:
            return self._best[track][1] if epoch == self._epoch and track in self._best else None


def _cut_out(seen: Seen, face: Face) -> NDArray[np.uint8]:
    """BGR `[112,112,3]`: a square around the face."""
    info = seen.info
    x1, y1, x2, y2 = face.box.tolist()
    half = 0.7 * max(x2 - x1, y2 - y1)
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    square = np.array([[middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half]], np.float32)
    (corners,) = boxes_to_coded(square, info)
    left, top = (max(0, int(v)) for v in corners[:2])
    right, bottom = min(info.coded_width, int(corners[2]) + 1), min(info.coded_height, int(corners[3]) + 1)
    rgb = region_rgb(seen.labelled.frame.picture, min(left, right - 1), min(top, bottom - 1), right, bottom)
    small = cv2.resize(np.ascontiguousarray(upright(rgb, info.rotation)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small[..., ::-1], np.uint8)
