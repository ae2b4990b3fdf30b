"""Any frame of a video as a JPEG, by its number in the record: for browsers that cannot play the video, and for the
little pictures of faces."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from engine import alignment
from engine.errors import InputError
from stream.cuttings import Sight, choose, cut
from stream.eyes import cut_aligned
from stream.frames import Frame, VideoInfo
from stream.live.screen import jpeg, shrunk
from stream.probe import opened, video_stream
from stream.tracks import Tracks

KEPT = 48
"""JPEGs of whole frames that are kept."""
STEP = 96
"""Frames that are decoded one after another rather than looked for anew."""
WIDEST = 1280
"""Pixels: wider frames are made smaller."""
SIDE = 112
"""Of a face's picture, pixels."""
ROOM = 1.5
"""Side of what is cut out, in longer sides of the face's box."""


class Stills:
    """The frames of a video, one at a time. May be called from any thread; calls wait for each other.

    Args:
        video: the file.
        info: what is known of it.
        record: says which frames there are.

    Example:
        >>> with Stills("mv.mp4", info, record) as stills:                  # doctest: +SKIP
        ...     stills.frame(120)[:2]
        b'\\xff\\xd8'
    """

    def __init__(self, video: str | os.PathLike[str], info: VideoInfo, record: Tracks) -> None:
        self._video = os.fspath(video)
        self._info = info
        self._pts = [frame.pts for frame in record.frames]
        sights: dict[int, list[Sight]] = {}
        for frame in record.frames:
            for face in frame.faces:
                sights.setdefault(face.track, []).append(Sight(frame, face))
        self._clearest = {track: choose(seen, 1)[0] for track, seen in sights.items()}
        self._wanted: dict[int, list[Sight]] = {}
        """By frame, the faces to be cut out whenever it comes by: what is asked for one by one is looked through
        once."""
        for sight in self._clearest.values():
            self._wanted.setdefault(sight.frame.index, []).append(sight)
        self._lock = threading.Lock()
        self._scaler = VideoReformatter()
        self._decoding: Iterator[tuple[int, av.VideoFrame]] | None = None
        self._last = -1
        """Index of the frame that `_decoding` gave last."""
        self._jpegs: OrderedDict[int, bytes] = OrderedDict()
        self._faces: dict[int, bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stop()

    def frame(self, index: int) -> bytes:
        """A frame as displayed, at most `WIDEST` pixels wide or high.

        Raises:
            InputError: there is no such frame, or it cannot be decoded.
        """
        with self._lock:
            if index not in self._jpegs:
                picture = self._picture(index)
                self._jpegs[index] = jpeg(shrunk(self._scaler, picture, self._info.rotation, WIDEST))
                while len(self._jpegs) > KEPT:
                    self._jpegs.popitem(last=False)
            return self._jpegs[index]

    def face(self, track: int) -> bytes:
        """A track's clearest face, `SIDE` pixels both ways.

        Raises:
            InputError: there is no such track, or its frame cannot be decoded.
        """
        with self._lock:
            if track not in self._faces:
                if track not in self._clearest:
                    raise InputError(f"there is no track {track} on any frame")
                index = self._clearest[track].frame.index
                self._cut_out(index, self._picture(index))  # where a frame is missing, from the next one
            return self._faces[track]

    def aligned(self, sights: Sequence[Sight]) -> NDArray[np.uint8]:
        """The faces as an embedder takes them, uint8 `[N,112,112,3]` RGB.

        Raises:
            InputError: a frame cannot be decoded.
        """
        crops = np.empty((len(sights), alignment.SIZE, alignment.SIZE, 3), np.uint8)
        with self._lock:
            for sight, crop in sorted(zip(sights, crops, strict=True), key=lambda pair: pair[0].frame.index):
                cut_aligned(self._picture(sight.frame.index), sight.face.landmarks, self._info, crop)
        return crops

    def _cut_out(self, index: int, picture: av.VideoFrame) -> None:
        """The faces that are wanted of a frame."""
        for sight in self._wanted.pop(index, ()):
            frame = Frame(picture, index, sight.frame.pts, self._info.time_base)
            square = cut(frame, sight.face, self._info, ROOM)
            small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            self._faces[sight.face.track] = jpeg(np.ascontiguousarray(small[..., ::-1], np.uint8))

    def _picture(self, index: int) -> av.VideoFrame:
        if not 0 <= index < len(self._pts):
            raise InputError(f"there is no frame {index}; the record has {len(self._pts)}")
        try:
            if self._decoding is None or not 0 < index - self._last <= STEP:
                self._stop()
                self._decoding = self._decoded(index)
            for number, picture in self._decoding:
                self._last = number
                self._cut_out(number, picture)
                if number >= index:
                    return picture
        except av.error.FFmpegError as error:
            self._stop()
            raise InputError(f"{self._video}: frame {index} cannot be decoded ({error.strerror})") from error
        self._stop()
        raise InputError(f"{self._video} has no frame {index}")

    def _decoded(self, index: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their numbers, from some key frame at or before that frame on."""
        with opened(self._video) as container:
            stream = video_stream(container)
            stream.codec_context.thread_type = "AUTO"
            numbers: Iterator[int] | None = None
            if container.format.name == "avi":
                numbers = count()  # its times are those of packets, so frames have to be counted
            elif index > 0:
                container.seek(self._pts[index], stream=stream)
            for packet in container.demux(stream):
                try:
                    pictures: list[Any] = packet.decode()
                except av.error.InvalidDataError:
                    continue  # as labelling did: what is damaged is passed over
                for picture in pictures:
                    yield next(numbers) if numbers is not None else self._number(picture), picture

    def _number(self, picture: av.VideoFrame) -> int:
        """The number of a decoded frame: the last that is not later. Damaged files may lack exact times."""
        stamp = picture.pts if picture.pts is not None else picture.dts
        return bisect_right(self._pts, stamp) - 1 if stamp is not None else self._last + 1

    def _stop(self) -> None:
        """Close the file that is being decoded."""
        decoding, self._decoding, self._last = self._decoding, None, -1
        if decoding is not None:
            decoding.close()  # type: ignore[attr-defined]
