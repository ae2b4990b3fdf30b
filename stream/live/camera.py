"""One feed of a run: its reader, its freshest frame, its analyser, and what its frames are handed to."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import av

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError
from engine.gallery import Gallery
from stream.frames import Face, Frame, LabelledFrame, Rotation, VideoInfo
from stream.histogram import Histogram
from stream.live.address import Address
from stream.live.analysis import LiveAnalyser
from stream.live.freshest import Freshest
from stream.live.held import Held, faces_between
from stream.live.meter import LatencyHistogram, Recent
from stream.live.outlet import Outlet
from stream.live.outputs import Continuous, Output, Seen
from stream.live.reader import Fresh, Reader
from stream.live.reconnect import Backoff
from stream.live.slate import slate
from stream.live.source import Connect, connect
from stream.live.timeline import TICK
from stream.overlay import Overlay
from stream.pictures import writable
from stream.planes import PixelLayout
from stream.stages import StageClock
from stream.styles import Unknown

SAFE_FORMAT = "yuv420p"
"""What pictures become that cannot be drawn on as they are."""
SLATE_AFTER = 1.0
"""Seconds without a picture after which a slate stands in for it."""
SLATE_EVERY = 0.2
"""Seconds between two slates."""


class _Setup(NamedTuple):
    """What is made for pictures of one shape."""

    shape: tuple[object, ...]
    info: VideoInfo
    analyser: LiveAnalyser
    overlay: Overlay
    dropped_before: Mapping[str, int]
    """Frames of other shapes before it that were dropped, by cause."""


class Camera:
    """One feed.

    The reader's thread offers frames; everything else is called by the thread of the analysis alone, except where it
    says otherwise.

    Args:
        number: 0, 1, 2 …
        address: the feed.
        detector, embedder, gallery: as for `LiveAnalyser`; shared by all cameras.
        outputs: what is seen is handed to them, in this order.
        changed: notified when a frame came or the feed's state changed; its lock guards the freshest frame.
        working: held by whoever looks into analysers or changes them.
        began: when the run did, seconds of the monotonic clock.
        max_staleness: as for `Freshest`.
        timeout, backoff, opens: as for `Reader`.
        unknown: how people without a name are drawn.
        every_frame: continuous outputs get the dropped pictures too.
        slate: continuous outputs get a picture that says so while the feed is down.
        clock: where the time of each stage is added up.
        most: as for `LiveAnalyser`.
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
        working: threading.Lock,
        began: float,
        max_staleness: float = 0.2,
        timeout: float = 5.0,
        backoff: Backoff | None = None,
        opens: Connect = connect,
        unknown: Unknown = "none",
        every_frame: bool = False,
        slate: bool = False,
        clock: StageClock | None = None,
        most: int = 1,
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
        self.outlets = [Outlet(output) for output in outputs]
        self.reader = Reader(
            address,
            began=began,
            take=self._offer,
            lost=self._break,
            ready=self._get_ready,
            timeout=timeout,
            backoff=backoff,
            opens=opens,
        )
        self._networks = detector, embedder
        self._gallery = gallery
        self._changed = changed
        self._working = working
        self._began = began
        self._clock = clock or StageClock()
        self._most = most
        self._unknown: Unknown = unknown
        continuous = any(isinstance(output, Continuous) for output in outputs)
        self._held = Held() if every_frame and continuous else None
        self._slate = slate and continuous
        self._setup: _Setup | None = None
        self._segment: int | None = None
        self._index = 0
        self._before: tuple[Fresh, Sequence[Face]] | None = None
        """The latest frame that was looked at, and who was on it."""
        self._lost = False
        self._closed = False
        self._shape: tuple[object, ...] | None = None
        """Of the latest picture that came."""
        self._dropped_before: Mapping[str, int] = {}
        """What was dropped when pictures of that shape began to come."""
        self._came = began
        """When the latest picture did, seconds of the monotonic clock."""
        self._slated = 0.0
        """When the latest slate was shown."""
        self._shown = -1
        """The latest time that was shown, ticks."""

    @property
    def analyser(self) -> LiveAnalyser | None:
        """What names its frames; None before the first."""
        return self._setup.analyser if self._setup is not None else None

    @property
    def given_up(self) -> int:
        """Dropped frames that continuous outputs were to show and never got, as too many waited."""
        return self._held.given_up if self._held is not None else 0

    @property
    def over(self) -> bool:
        """Whether nothing more will come. From any thread."""
        return self.reader.state in ("ended", "failed") and not self.room.waiting

    @property
    def waiting(self) -> float | None:
        """When the frame came that could be looked at now, seconds of the monotonic clock; None where there is none."""
        coming = self.room.peek()
        return coming.arrived if coming is not None and not self._preparing(coming.picture) else None

    @property
    def coming(self) -> bool:
        """Whether a frame may come soon, and none is there."""
        return self.reader.state == "live" and not self.room.waiting

    @property
    def lost(self) -> bool:
        """Whether there is a loss that has not been taken note of."""
        return self._lost

    def take_note(self) -> None:
        """If the connection was lost, end the tracks: what comes after it does not go on what came before."""
        if self._lost:
            self._lost = False
            self._show_held()
            self._end_tracks()

    def prepare(self, picture: av.VideoFrame) -> bool:
        """Begin to make ready for pictures like this one; returns whether all is ready. That takes seconds at a feed's
        first picture and where the pictures' size changes; until then none is taken, so that a fresher one can be."""
        shape = _shape(picture)
        if self._setup is None or shape != self._setup.shape:
            self._show_held()
            self._end_tracks()
            self._segment = None
            self._setup = self._made(picture, shape)
        return self._setup.analyser.ready.done()

    def take(self, now: float) -> Fresh | None:
        """The frame to look at, at `now` seconds of the monotonic clock; None where there is none that all is ready
        for. Under the lock of `changed`."""
        coming = self.room.peek()
        if coming is None or self._setup is None or self._setup.shape != _shape(coming.picture):
            return None
        return self.room.take(now)

    def begin(self, fresh: Fresh) -> tuple[LiveAnalyser, Frame]:
        """The frame as it is to be looked at, and who does. All is ready for it."""
        setup = self._setup
        assert setup is not None
        if fresh.segment != self._segment:
            if self._segment is not None:
                self._end_tracks()
            self._segment = fresh.segment
        frame = Frame(_drawn_on(fresh, setup.info), self._index, fresh.pts, TICK)
        self._index += 1
        return setup.analyser, frame

    def show(self, fresh: Fresh, labelled: LabelledFrame, now: float) -> Seen:
        """Hand the frame out on which everybody was named at `now`, seconds of the monotonic clock; returns what was
        handed out."""
        setup = self._setup
        assert setup is not None
        self.latency.add(now - fresh.arrived)
        self.walls.add((now - fresh.arrived) * 1e3)
        self.recent.add(now, now - fresh.arrived)
        self.faces += len(labelled.faces)
        seen = Seen(labelled, setup.info, self.epoch, setup.dropped_before)
        self._show_held(fresh, labelled.faces)
        self._before = fresh, labelled.faces
        self._hand_out(seen, setup)
        return seen

    def idle(self, now: float) -> None:
        """Where nothing has come for a while at `now`, seconds of the monotonic clock, show that."""
        setup = self._setup
        if not self._slate or setup is None or now - max(self._came + SLATE_AFTER, self._slated + SLATE_EVERY) < 0:
            return
        pts = round((now - self._began) / TICK)
        if not 0 <= self._shown < pts or self.over:
            return
        self._slated, self._shown = now, pts
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - (now - self._came)))
        picture = slate(setup.info, (self.address.name, "no signal", f"since {since}"))
        picture.pts, picture.time_base = pts, TICK
        self._hand_between(LabelledFrame(Frame(picture, self._index, pts, TICK), setup.info.rotation, []), setup)

    def shut(self) -> None:
        """Take nothing more, whatever the reader still has. Under the lock of `changed`."""
        self._closed = True
        self.room.clear("ended")

    def end(self) -> None:
        """End what was begun, before the outputs are closed."""
        self._show_held()
        self._end_tracks()

    def recognise(self, gallery: Gallery) -> None:
        """From the next frame on these people are known."""
        self._gallery = gallery
        if self.analyser is not None:
            self.analyser.recognise(gallery)

    def _preparing(self, picture: av.VideoFrame) -> bool:
        """Whether the networks are being made ready for just such a picture."""
        setup = self._setup
        return setup is not None and not setup.analyser.ready.done() and setup.shape == _shape(picture)

    def _made(self, picture: av.VideoFrame, shape: tuple[object, ...]) -> _Setup:
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
        analyser = LiveAnalyser(info, detector, embedder, self._gallery, clock=self._clock, most=self._most)
        analyser.ready.add_done_callback(self._wake)
        people = self._gallery.people if self._gallery is not None else ()
        self.epoch += 1
        overlay = Overlay(info, unknown=self._unknown, people=people)
        return _Setup(shape, info, analyser, overlay, self._dropped_before)

    def _wake(self, done: Future[None]) -> None:
        with self._changed:
            self._changed.notify_all()

    def _hand_out(self, seen: Seen, setup: _Setup) -> None:
        ended = setup.analyser.ended()
        drawn = False
        self._shown = max(self._shown, seen.labelled.frame.pts)
        for outlet in sorted(self.outlets, key=lambda outlet: outlet.draws):
            if outlet.draws and not drawn:
                drawn = True
                setup.overlay.draw(seen.labelled.frame.picture, seen.labelled.faces)
            outlet.frame(seen)
            if ended:
                outlet.over(ended)

    def _hand_between(self, labelled: LabelledFrame, setup: _Setup) -> None:
        for outlet in self.outlets:
            outlet.between(Seen(labelled, setup.info, self.epoch, setup.dropped_before))

    def _show_held(self, after: Fresh | None = None, faces: Sequence[Face] = ()) -> None:
        """Hand out the pictures that came before `after` and were not looked at; all of them where there is none."""
        setup = self._setup
        if self._held is None or setup is None:
            return
        with self._changed:
            held = self._held.until(after or self.room.peek())
        for fresh in held:
            if _shape(fresh.picture) == setup.shape:
                between = faces_between(self._before, fresh, (after, faces) if after is not None else None)
                picture = _drawn_on(fresh, setup.info)
                setup.overlay.draw(picture, between)
                self._shown = max(self._shown, fresh.pts)
                frame = Frame(picture, self._index, fresh.pts, TICK)
                self._hand_between(LabelledFrame(frame, setup.info.rotation, between), setup)

    def _end_tracks(self) -> None:
        if self.analyser is not None:
            self.analyser.break_off()
            ended = self.analyser.ended()
            for outlet in self.outlets:
                outlet.over(ended)

    def _get_ready(self, picture: av.VideoFrame) -> None:
        """What can be read at any time waits until the networks are ready; nothing else may."""
        with self._working:
            if self._setup is None:
                self.prepare(picture)
            setup = self._setup
        assert setup is not None
        setup.analyser.ready.result()

    def _offer(self, fresh: Fresh) -> None:
        shape = _shape(fresh.picture)
        with self._changed:
            if self._closed:
                return
            self.room.offer(fresh, fresh.arrived)
            if self._held is not None:
                self._held.add(fresh)
            if shape != self._shape:
                self._shape, self._dropped_before = shape, self.room.tally.as_dict()
            self._came = time.monotonic()
            self._changed.notify_all()

    def _break(self) -> None:
        with self._changed:
            self.room.clear("lost")
            self._lost = True
            self._changed.notify_all()


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


def _drawn_on(fresh: Fresh, info: VideoInfo) -> av.VideoFrame:
    """The picture in a format that can be drawn on, with its time in the run."""
    picture = fresh.picture
    if picture.format.name != info.pixel_format:
        picture = writable(picture, info.pixel_format)
    picture.pts, picture.time_base = fresh.pts, TICK
    return picture
