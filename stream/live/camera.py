"""One feed of a run: its reader, its freshest frame, its analyser, and what its frames are handed to."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import av

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError
from engine.gallery import Gallery
from stream.frames import Frame, Rotation, VideoInfo
from stream.histogram import Histogram
from stream.live.address import Address
from stream.live.analysis import LiveAnalyser
from stream.live.freshest import Freshest
from stream.live.meter import LatencyHistogram, Recent
from stream.live.outputs import Output, Seen
from stream.live.reconnect import Backoff
from stream.live.source import Connect, Fresh, Reader, connect
from stream.live.timeline import TICK
from stream.overlay import Overlay
from stream.pictures import writable
from stream.planes import PixelLayout
from stream.stages import StageClock
from stream.styles import Unknown

SAFE_FORMAT = "yuv420p"
"""What pictures become that cannot be drawn on as they are."""


class _Setup(NamedTuple):
    """What is made for pictures of one shape."""

    shape: tuple[object, ...]
    info: VideoInfo
    analyser: LiveAnalyser
    overlay: Overlay


class Camera:
    """One feed.

    The reader's thread offers frames; everything else is called by the thread of the analysis alone, except where it
    says otherwise. Nothing else touches a camera before its first frame is offered.

    Args:
        number: 0, 1, 2 …
        address: the feed.
        detector, embedder, gallery: as for `LiveAnalyser`; shared by all cameras.
        outputs: what is seen is handed to them, in this order.
        changed: notified when a frame came or the feed's state changed; its lock guards the freshest frame.
        began: when the run did, seconds of the monotonic clock.
        max_staleness: as for `Freshest`.
        timeout, backoff, opens: as for `Reader`.
        unknown: how people without a name are drawn.
        clock: where the time of each stage is added up.
    """

    def __init__(
        self,
        number: int,
        address: Address,
        *,
        detector: Detector,
        embedder: Embedder | None,
        gallery: Gallery | None,
        outputs: Sequence[Output],
        changed: threading.Condition,
        began: float,
        max_staleness: float = 0.2,
        timeout: float = 5.0,
        backoff: Backoff | None = None,
        opens: Connect = connect,
        unknown: Unknown = "none",
        clock: StageClock | None = None,
    ) -> None:
        self.number = number
        self.address = address
        self.room: Freshest[Fresh] = Freshest(max_staleness)
        self.latency = LatencyHistogram()
        """Seconds from a packet's arrival to its named frame."""
        self.walls = Histogram()
        """The same in milliseconds, for exact percentiles."""
        self.recent = Recent()
        self.faces = 0
        """On all frames together."""
        self.epoch = 0
        """How many analysers there have been: track ids begin anew with each."""
        self.outputs = list(outputs)
        self.reader = Reader(
            address, began=began, take=self._offer, lost=self._break, timeout=timeout, backoff=backoff, opens=opens
        )
        self._networks = detector, embedder
        self._gallery = gallery
        self._changed = changed
        self._clock = clock or StageClock()
        self._unknown: Unknown = unknown
        self._setup: _Setup | None = None
        self._segment = 0
        self._index = 0
        self._lost = False

    @property
    def analyser(self) -> LiveAnalyser | None:
        """What names its frames; None before the first."""
        return self._setup.analyser if self._setup is not None else None

    @property
    def over(self) -> bool:
        """Whether nothing more will come. From any thread."""
        return self.reader.state in ("ended", "failed") and not self.room.waiting

    @property
    def calls(self) -> bool:
        """Whether there is something to do: a frame to look at, or a loss to be taken note of."""
        return bool(self.room.waiting) or self._lost

    def take_note(self) -> None:
        """If the connection was lost, end the tracks: what comes after it does not go on what came before."""
        if self._lost:
            self._lost = False
            self._end_tracks()

    def prepare(self, fresh: Fresh) -> _Setup:
        """Make ready for pictures like this one. That takes seconds at a feed's first picture and where the pictures'
        size changes; until then it is not even looked at, so that a fresher one can be taken."""
        picture = fresh.picture
        shape = _shape(picture)
        if self._setup is not None and shape == self._setup.shape:
            return self._setup
        self._end_tracks()
        self._segment = fresh.segment
        info = VideoInfo(
            path=self.address.shown,
            coded_width=picture.width,
            coded_height=picture.height,
            rotation=_quarter(picture.rotation),
            time_base=TICK,
            duration=None,
            average_rate=None,
            pixel_format=_drawable(picture.format.name),
            interlaced=picture.interlaced_frame,
        )
        detector, embedder = self._networks
        self.epoch += 1
        analyser = LiveAnalyser(info, detector, embedder, self._gallery, clock=self._clock)
        analyser.warm()
        people = self._gallery.people if self._gallery is not None else ()
        self._setup = _Setup(shape, info, analyser, Overlay(info, unknown=self._unknown, people=people))
        return self._setup

    def look(self, fresh: Fresh) -> Seen:
        """Name everybody on a frame and hand it out; returns what was handed out."""
        setup = self.prepare(fresh)
        if fresh.segment != self._segment:
            self._segment = fresh.segment
            self._end_tracks()
        picture = fresh.picture
        if picture.format.name != setup.info.pixel_format:
            picture = writable(picture, setup.info.pixel_format)
        picture.pts, picture.time_base = fresh.pts, TICK
        labelled = setup.analyser.look(Frame(picture, self._index, fresh.pts, TICK))
        self._index += 1
        now = time.monotonic()
        self.latency.add(now - fresh.arrived)
        self.walls.add((now - fresh.arrived) * 1e3)
        self.recent.add(now, now - fresh.arrived)
        self.faces += len(labelled.faces)
        seen = Seen(labelled, setup.info, self.epoch)
        self._hand_out(seen, setup)
        return seen

    def close(self) -> None:
        """End every track and every output; the first that fails is raised when all are closed."""
        with ExitStack() as ends:  # each is called, whatever the others raise
            for output in reversed(self.outputs):
                ends.callback(output.close, self.room.tally.as_dict())
            ends.callback(self._end_tracks)

    def recognise(self, gallery: Gallery) -> None:
        """From the next frame on these people are known."""
        self._gallery = gallery
        if self.analyser is not None:
            self.analyser.recognise(gallery)

    def _hand_out(self, seen: Seen, setup: _Setup) -> None:
        ended = setup.analyser.ended()
        drawn = False
        for output in sorted(self.outputs, key=lambda output: output.draws):
            if output.draws and not drawn:
                drawn = True
                setup.overlay.draw(seen.labelled.frame.picture, seen.labelled.faces)
            output.frame(seen)
            if ended:
                output.over(ended)

    def _end_tracks(self) -> None:
        if self.analyser is not None:
            self.analyser.break_off()
            ended = self.analyser.ended()
            for output in self.outputs:
                output.over(ended)

    def _offer(self, fresh: Fresh) -> None:
        if self.address.paced and self._setup is None:
            # What can be read at any time waits until the networks are ready; nothing else may.
            self.prepare(fresh)
            fresh = replace(fresh, arrived=time.monotonic())
        with self._changed:
            self.room.offer(fresh, fresh.arrived)
            self._changed.notify_all()

    def _break(self) -> None:
        with self._changed:
            self.room.clear("lost")
            self._lost = True
            self._changed.notify_all()


def next_in_turn(ready: Sequence[bool], last: int) -> int | None:
    """Whose frame is analysed next: the first after the `last` that has one, so that none waits for ever.

    Example:
        >>> next_in_turn([True, False, True], last=0), next_in_turn([False, False], last=1)
        (2, None)
    """
    for step in range(1, len(ready) + 1):
        number = (last + step) % len(ready)
        if ready[number]:
            return number
    return None


def _shape(picture: av.VideoFrame) -> tuple[object, ...]:
    """What an analyser and a file are made for."""
    return picture.width, picture.height, picture.format.name, _quarter(picture.rotation)


def _drawable(pixel_format: str) -> str:
    """The pixel format, or another one where it cannot be drawn on."""
    try:
        PixelLayout.of(pixel_format)
    except InputError:
        return SAFE_FORMAT
    return pixel_format


def _quarter(degrees: float) -> Rotation:
    """How a player turns the picture clockwise, from PyAV's counter-clockwise degrees."""
    quarters: tuple[Rotation, ...] = (0, 90, 180, 270)
    return quarters[round(-degrees / 90) % 4]
