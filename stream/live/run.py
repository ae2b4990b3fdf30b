"""A live run: several feeds, one analysis, until it is stopped or nothing more comes.

with Live(addresses, detector, embedder, gallery, settings) as live:
    live.wait()
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, OutputError, PartialError
from engine.gallery import Gallery
from engine.signals import undisturbed, wait_for
from stream.live.address import Address
from stream.live.analysis import look_together
from stream.live.camera import Camera
from stream.live.gathering import Gatherer
from stream.live.outputs import Output, Seen
from stream.live.reconnect import Backoff
from stream.live.source import Connect, connect
from stream.stages import StageClock
from stream.styles import Unknown

TURN = 0.05
"""Seconds after which the analysis looks again whether anything has changed."""
LEAVING = 1.0
"""Seconds that readers get to end; one may hang in a read of the network until its timeout."""
TOGETHER = 8
"""Frames of several cameras that are looked at together at the most: what a GPU's engine is built for."""
BATCH_WAIT = {"cpu": 0.0, "gpu": 0.005}
"""Seconds, where nothing is said. A CPU computes no faster for several pictures than for one after another, and the
first would wait for the last."""


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
    every_frame: bool = False
    """Whether recordings, HLS and pushed streams show the dropped frames too, with who must have been on them."""
    slate: bool = False
    """Whether they go on with a picture that says so while a feed is down."""
    batch_wait: float | None = None
    """Seconds that a frame waits for those of other cameras, to be looked at together; with 0 each is looked at by
    itself; None takes what suits the networks' device (`BATCH_WAIT`)."""


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
        self.looks = 0
        """How many times frames were looked at, one or those of several cameras together."""
        self.began = time.monotonic()
        self.working = threading.Lock()
        """Held while a frame is analysed: whoever has it may look into the cameras' analysers."""
        self._changed = threading.Condition()
        self._stopping = False
        self._over = threading.Event()
        self._failure: BaseException | None = None
        wait = BATCH_WAIT.get(detector.device, 0.0) if settings.batch_wait is None else settings.batch_wait
        self._gatherer = Gatherer(min(TOGETHER, len(addresses)) if wait else 1, wait)
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
                working=self.working,
                began=self.began,
                max_staleness=settings.max_staleness,
                timeout=settings.timeout,
                backoff=Backoff(settings.retries, seed=f"{number} {address.name}"),
                opens=opens,
                unknown=settings.unknown,
                every_frame=settings.every_frame,
                slate=settings.slate,
                clock=self.clock,
                most=self._gatherer.most,
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
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether frames are still analysed."""
        return self._thread.ident is not None and not self._over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing more comes, or so long; returns whether the run is over."""
        return wait_for(self._over, seconds)

    def leave(self) -> None:
        """Let the run come to its end, without waiting for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End the run and finish all outputs. Whoever interrupts that gets the end no sooner, and nothing half.

        Raises:
            OutputError: outputs could not be written, with the reason for each.
            InputError: every feed was given up, with the reason for each.
            PartialError: some were; the others came to their ends.
        """
        with suppress(KeyboardInterrupt), undisturbed():
            self.leave()
            if self._thread.ident is not None:
                self._over.wait()
                self._thread.join()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def named(self) -> Generator[Seen, None, None]:
        """The frames of all cameras with everybody on them, each analysed when it is asked for, until the run is over;
        then all outputs are finished. In place of `start`.

        Raises:
            OutputError, InputError, PartialError: as `stop`.
        """
        for camera in self.cameras:
            camera.reader.start()
        try:
            for turn in self._turns():
                seen = self._look(turn)
                with self.working:
                    for camera in self.cameras:
                        camera.idle(time.monotonic())
                yield from seen
        finally:
            self._close()
        self._judge()

    def recognise(self, gallery: Gallery) -> None:
        """From the next frame on these people are known. From any thread."""
        with self.working:
            self.gallery = gallery
            for camera in self.cameras:
                camera.recognise(gallery)

    def _run(self) -> None:
        try:
            for _ in self.named():
                pass
        except BaseException as failure:  # raised by `stop` in the thread that waits
            self._failure = failure
        finally:
            self._over.set()

    def _judge(self) -> None:
        """Raise what went wrong."""
        outlets = [outlet for camera in self.cameras for outlet in camera.outlets]
        broken = [outlet.health.problem or outlet.health.name for outlet in outlets if outlet.health.state != "on"]
        lost = [camera.reader.problem or "" for camera in self.cameras if camera.reader.state == "failed"]
        if broken:
            raise OutputError("; ".join([*broken, *lost]))
        if len(lost) == len(self.cameras):
            raise InputError("; ".join(lost))
        if lost:
            raise PartialError("; ".join(lost))

    def _look(self, turn: Sequence[Camera]) -> list[Seen]:
        """Take note of what was lost, and look at the frames of these cameras, those that are ready for it."""
        with self._changed:
            coming = [(camera, camera.room.peek()) for camera in turn]
        with self.working:
            for camera in self.cameras:
                camera.take_note()
            ready = [camera for camera, fresh in coming if fresh is not None and camera.prepare(fresh.picture)]
        with self._changed:
            now = time.monotonic()
            taken = [(camera, fresh) for camera in ready if (fresh := camera.take(now)) is not None]
        if not taken:
            return []
        with self.working:
            labelled = look_together([camera.begin(fresh) for camera, fresh in taken])
            self.looks += 1
            now = time.monotonic()
            return [camera.show(fresh, each, now) for (camera, fresh), each in zip(taken, labelled, strict=True)]

    def _turns(self) -> Iterator[Sequence[Camera]]:
        """The cameras whose frames are looked at together, again and again, and none when a feed was lost or nothing
        has come for a while, until the run is over."""
        while True:
            with self._changed:
                turn = self._gathered()
                if self._stopping or self._unheard() or (not turn and self._done()):
                    return
            yield turn

    def _gathered(self) -> Sequence[Camera]:
        """Wait until there is something to do, for a moment at the most; the cameras whose turn it is."""
        until = time.monotonic() + TURN
        while not self._done() and not any(camera.lost for camera in self.cameras):
            now = time.monotonic()
            waiting = [camera.waiting for camera in self.cameras]
            due = self._gatherer.due(waiting, [camera.coming for camera in self.cameras])
            if due is not None and due <= now:
                return [self.cameras[number] for number in self._gatherer.take([each is not None for each in waiting])]
            left = min(until, due if due is not None else until) - now
            if left <= 0:
                break
            self._changed.wait(left)
        return ()

    def _done(self) -> bool:
        return self._stopping or all(camera.over for camera in self.cameras)

    def _unheard(self) -> bool:
        """Whether there were outputs and none of them works any more."""
        outlets = [outlet for camera in self.cameras for outlet in camera.outlets]
        return bool(outlets) and all(outlet.failed for outlet in outlets)

    def _close(self) -> None:
        """Finish the outputs, all at once since each may take a moment, and let the readers go."""
        for camera in self.cameras:
            camera.reader.leave()
        with self._changed:
            for camera in self.cameras:
                camera.shut()
        until = time.monotonic() + LEAVING
        # A step that fails leaves no other one undone.
        _all([self._end_looks, self._close_outlets, partial(self._stop_readers, until)])

    def _end_looks(self) -> None:
        with self.working:
            _all([camera.end for camera in self.cameras])

    def _close_outlets(self) -> None:
        closing = [(outlet, camera.room.tally.as_dict()) for camera in self.cameras for outlet in camera.outlets]
        with ThreadPoolExecutor(max(1, len(closing)), "iznet-close") as pool:
            ends = [pool.submit(outlet.close, dropped) for outlet, dropped in closing]
        _all([end.result for end in ends])

    def _stop_readers(self, until: float) -> None:
        for camera in self.cameras:
            camera.reader.stop(max(0.0, until - time.monotonic()))


def _all(steps: Sequence[Callable[[], object]]) -> None:
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
    yield from _watching(source, gallery, detector, embedder, settings, opens).named()


async def aframes(
    source: str | Address,
    gallery: Gallery | None = None,
    *,
    detector: Detector | None = None,
    embedder: Embedder | None = None,
    settings: LiveSettings | None = None,
    opens: Connect = connect,
) -> AsyncGenerator[Seen, None]:
    """`frames` for asyncio: the analysis runs in a thread, so the loop goes on meanwhile.

    Leave it with `contextlib.aclosing`, as any asynchronous generator that holds something open.

    Raises:
        UsageError, InputError: as `frames`.

    Example:
        >>> async with aclosing(aframes("rtsp://10.0.0.7/1", gallery)) as feed:         # doctest: +SKIP
        ...     async for seen in feed:
        ...         print([face.name for face in seen.labelled.faces])
    """
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "iznet-analyse")  # one, so that what is asked of it happens in order
    try:
        opening = partial(_watching, source, gallery, detector, embedder, settings, opens)
        live = await loop.run_in_executor(thread, opening)
        named = live.named()
        try:
            while (seen := await loop.run_in_executor(thread, next, named, None)) is not None:
                yield seen
        finally:
            live.leave()  # whoever is cancelled while it waits for a frame does not wait on
            await asyncio.shield(loop.run_in_executor(thread, named.close))
    finally:
        thread.shutdown(wait=False)


def _watching(
    source: str | Address,
    gallery: Gallery | None,
    detector: Detector | None,
    embedder: Embedder | None,
    settings: LiveSettings | None,
    opens: Connect,
) -> Live:
    address = source if isinstance(source, Address) else Address.parse(source)
    detector = detector or Detector.open(video=True)
    if gallery is not None:
        embedder = embedder or Embedder.open(video=True)
        gallery.check_embedder(embedder, "GALLERY")
    return Live([address], detector, embedder, gallery, settings, opens=opens)
