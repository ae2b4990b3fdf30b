"""A live run: several feeds, one analysis, until it is stopped or nothing more comes.

with Live(addresses, detector, embedder, gallery, settings) as live:
    live.wait()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, PartialError
from engine.gallery import Gallery
from stream.live.address import Address
from stream.live.camera import Camera, next_in_turn
from stream.live.outputs import Output, Seen
from stream.live.reconnect import Backoff
from stream.live.source import Connect, connect
from stream.stages import StageClock
from stream.styles import Unknown

TURN = 0.05
"""Seconds after which the analysis looks again whether anything has changed."""


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """How feeds are kept up and how fresh they are."""

    max_staleness: float = 0.2
    """Seconds after its arrival at which a frame is not worth analysing any more."""
    timeout: float = 5.0
    """Seconds without data after which a feed counts as stalled."""
    retries: int | None = None
    """Attempts in a row that may fail; None for ever."""
    unknown: Unknown = "none"
    """How people without a name are drawn."""


class Live:
    """Names the people on feeds.

    Args:
        addresses: one at least.
        detector, embedder, gallery: as for `LiveAnalyser`.
        settings: how feeds are kept up.
        outputs: for each feed, what its frames are handed to; closed when the run ends.
        opens: how a feed is opened.

    Example:
        >>> with Live([Address.parse("rtsp://10.0.0.7/1")], detector, embedder, gallery) as live:  # doctest: +SKIP
        ...     live.wait()
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        detector: Detector,
        embedder: Embedder | None = None,
        gallery: Gallery | None = None,
        settings: LiveSettings | None = None,
        outputs: Sequence[Sequence[Output]] = (),
        opens: Connect = connect,
    ) -> None:
        if not addresses:
            raise ValueError("a live run needs one source at least")
        self.settings = settings = settings or LiveSettings()
        self.clock = StageClock()
        self.gallery = gallery
        self.began = time.monotonic()
        self.working = threading.Lock()
        """Held while a frame is analysed: whoever has it may look into the cameras' analysers."""
        self._changed = threading.Condition()
        self._stopping = False
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._last = -1
        self._thread = threading.Thread(target=self._run, name="iznet-analyse", daemon=True)
        self.cameras = [
            Camera(
                number,
                address,
                detector=detector,
                embedder=embedder,
                gallery=gallery,
                outputs=outputs[number] if outputs else (),
                changed=self._changed,
                began=self.began,
                max_staleness=settings.max_staleness,
                timeout=settings.timeout,
                backoff=Backoff(settings.retries, seed=f"{number} {address.name}"),
                opens=opens,
                unknown=settings.unknown,
                clock=self.clock,
            )
            for number, address in enumerate(addresses)
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to read and to analyse."""
        for camera in self.cameras:
            camera.reader.start()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether frames are still analysed."""
        return self._thread.ident is not None and not self._over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing more comes, or so long; returns whether the run is over."""
        # Never by joining the thread: a join that Ctrl-C interrupts takes a running thread for one that has ended. And
        # not one long wait: on some systems that cannot be interrupted.
        end = None if seconds is None else time.monotonic() + seconds
        while not self._over.is_set():
            left = 0.5 if end is None else min(0.5, end - time.monotonic())
            if left <= 0:
                return False
            self._over.wait(left)
        return True

    def stop(self) -> None:
        """End the run and finish all outputs.

        Raises:
            OutputError: an output could not be written.
            InputError: every feed was given up, with the reason for each.
            PartialError: some were; the others came to their ends.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._over.wait()
            self._thread.join()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def recognise(self, gallery: Gallery) -> None:
        """From the next frame on these people are known. From any thread."""
        with self.working:
            self.gallery = gallery
            for camera in self.cameras:
                camera.recognise(gallery)

    def _run(self) -> None:
        try:
            try:
                for camera in self._turns():
                    self._look(camera)
            finally:
                self._close()
            failed = [camera.reader.problem for camera in self.cameras if camera.reader.state == "failed"]
            if len(failed) == len(self.cameras):
                raise InputError("; ".join(problem or "" for problem in failed))
            if failed:
                raise PartialError("; ".join(problem or "" for problem in failed))
        except BaseException as failure:  # raised by `stop` in the thread that waits
            self._failure = failure
        finally:
            self._over.set()

    def _look(self, camera: Camera) -> Seen | None:
        with self._changed:
            coming = camera.room.peek()
        with self.working:
            camera.take_note()
            if coming is not None:
                camera.prepare(coming)
        with self._changed:
            fresh = camera.room.take(time.monotonic())
        if fresh is None:
            return None
        with self.working:
            return camera.look(fresh)

    def _turns(self) -> Iterator[Camera]:
        """The cameras that call, in turn, until the run is over."""
        while True:
            with self._changed:
                while (number := self._ready()) is None:
                    if self._stopping or all(camera.over for camera in self.cameras):
                        return
                    self._changed.wait(TURN)
                if self._stopping:
                    return
                self._last = number
            yield self.cameras[number]

    def _ready(self) -> int | None:
        return next_in_turn([camera.calls for camera in self.cameras], self._last)

    def _close(self) -> None:
        """Stop the readers together, since each may take a moment, then finish the outputs."""
        stopping = [threading.Thread(target=camera.reader.stop) for camera in self.cameras]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        with self._changed:
            for camera in self.cameras:
                camera.room.clear("ended")
        _all([camera.close for camera in self.cameras])


def _all(steps: Sequence[Callable[[], None]]) -> None:
    """Take every step; raise the first failure when all are taken."""
    failures = []
    for step in steps:
        try:
            step()
        except BaseException as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def frames(
    source: str | Address,
    gallery: Gallery | None = None,
    *,
    detector: Detector | None = None,
    embedder: Embedder | None = None,
    settings: LiveSettings | None = None,
    opens: Connect = connect,
) -> Iterator[Seen]:
    """The frames of one feed with everybody on them, for ever or until the feed is given up.

    While the caller is busy, frames are dropped as `Freshest` says; the pictures are not drawn on.

    Raises:
        UsageError: nothing that can be read as a source.
        InputError: the feed was given up.

    Example:
        >>> for seen in frames("rtsp://10.0.0.7/1", gallery):               # doctest: +SKIP
        ...     print([face.name for face in seen.labelled.faces])
    """
    address = source if isinstance(source, Address) else Address.parse(source)
    detector = detector or Detector.open()
    if gallery is not None:
        embedder = embedder or Embedder.open()
        gallery.check_embedder(embedder)
    live = Live([address], detector, embedder, gallery, settings, opens=opens)
    (camera,) = live.cameras
    camera.reader.start()
    try:
        for turn in live._turns():
            seen = live._look(turn)
            if seen is not None:
                yield seen
    finally:
        live._close()
    if camera.reader.state == "failed":
        raise InputError(camera.reader.problem or "")
