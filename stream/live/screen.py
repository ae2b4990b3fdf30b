"""What people look at: the latest picture of a feed, who is on it, and who was there lately."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from stream.frames import Face, Rotation, TrackVerdict, VideoInfo
from stream.live.outputs import Seen
from stream.live.presence import LatelySeen
from stream.orientation import upright

WIDEST = 960
"""Pixels: wider pictures are made smaller before they go to a page."""
JPEG_QUALITY = 80
LOOKED = 2.0
"""Seconds for which somebody who has asked for a picture is taken to be there."""
UNKNOWN = ""
"""The name under which people without one are counted together."""


class Screen:
    """Keeps the latest of one feed for pages. `snapshot` and `picture` may be called from any thread."""

    def __init__(self, window: float = 600.0) -> None:
        self.viewers = 0
        """How many take the pictures as they come, one after another."""
        self._asked = float("-inf")
        """Monotonic seconds at which a single picture was asked for last."""
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._scaler = VideoReformatter()
        self._lately = LatelySeen(window)
        self._seen: Seen | None = None
        self._number = 0
        self._encoded: tuple[int, bytes] | None = None

    @property
    def draws(self) -> bool:
        """Whether somebody looks; without anybody, none is drawn."""
        return self.viewers > 0 or time.monotonic() - self._asked < LOOKED

    def frame(self, seen: Seen) -> None:
        labelled = seen.labelled
        with self._lock:
            self._seen = seen
            self._number += 1
            self._lately.see([face.name or UNKNOWN for face in labelled.faces], labelled.frame.time)

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        """The next frame shows who is left."""

    def close(self, dropped: Mapping[str, int]) -> None:
        """Nothing is left to finish."""

    def snapshot(self) -> dict[str, Any]:
        """Who is on the latest picture, with boxes as parts of its width and height, and the last minutes' stays."""
        with self._lock:
            seen, now = self._seen, self._seen.labelled.frame.time if self._seen is not None else 0.0
            stays = self._lately.stays(now)
            window = self._lately.window
        info = seen.info if seen is not None else None
        faces = [_face_state(face, seen.info) for face in seen.labelled.faces] if seen is not None else []
        return {
            "width": info.width if info else 0,
            "height": info.height if info else 0,
            "epoch": seen.epoch if seen else 0,
            "faces": faces,
            "timeline": {
                "now": round(now, 2),
                "window": window,
                "rows": [
                    {"name": name or None, "stays": [[round(a, 2), round(b, 2)] for a, b in each]}
                    for name, each in sorted(stays.items(), key=lambda row: row[0] == UNKNOWN)
                ],
            },
        }

    def frame_after(self, after: int) -> tuple[int, av.VideoFrame] | None:
        """The latest picture as displayed, yuv420p, and its number; None if it is not newer than number `after`. It is
        the caller's own."""
        with self._encoding:
            with self._lock:
                seen, number = self._seen, self._number
            if seen is None or number <= after:
                return None
            bgr = shrunk(self._scaler, seen.labelled.frame.picture, seen.labelled.rotation, WIDEST)
            even = bgr[: bgr.shape[0] // 2 * 2, : bgr.shape[1] // 2 * 2]
            own = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), "bgr24")
            return number, self._scaler.reformat(own, format="yuv420p", threads=1)

    def picture(self, after: int) -> tuple[int, bytes] | None:
        """The latest picture as JPEG and its number; None if it is not newer than number `after`."""
        self._asked = time.monotonic()
        with self._encoding:  # once for all who look; and a scaler is for one thread at a time
            with self._lock:
                seen, number = self._seen, self._number
            if seen is None or number <= after:
                return None
            if self._encoded is None or self._encoded[0] != number:
                self._encoded = (
                    number,
                    jpeg(shrunk(self._scaler, seen.labelled.frame.picture, seen.labelled.rotation, WIDEST)),
                )
            return self._encoded


def _face_state(face: Face, info: VideoInfo) -> dict[str, Any]:
    scale = np.array([info.width, info.height] * 2, np.float32)
    return {
        "track": face.track,
        "name": face.name,
        "similarity": None if face.similarity is None else round(float(face.similarity), 3),
        "box": [round(v, 4) for v in (face.box / scale).tolist()],
    }


def shrunk(scaler: VideoReformatter, picture: av.VideoFrame, rotation: Rotation, widest: int) -> NDArray[np.uint8]:
    """A stored picture as displayed, uint8 `[H,W,3]` BGR, at most `widest` pixels wide or high.

    The scaler is the caller's, since one is for one thread at a time: the picture's own may be at work.
    """
    share = min(1.0, widest / max(picture.width, picture.height))
    width, height = max(2, round(picture.width * share)), max(2, round(picture.height * share))
    small = scaler.reformat(picture, width, height, "bgr24", threads=1).to_ndarray()
    return np.ascontiguousarray(upright(np.asarray(small, np.uint8), rotation))


def jpeg(bgr: NDArray[np.uint8]) -> bytes:
    """A uint8 `[H,W,3]` BGR picture as a JPEG file."""
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError(f"a picture {bgr.shape} could not be made a JPEG")
    return bytes(data)
