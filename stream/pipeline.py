"""The threads of one labelling: decoder → looks → names → outputs, with bounded channels between them.

One thread decodes, one looks for faces, the caller's follows and names them, one draws, encodes and records. Every
queue is bounded; when one part fails, all end, and the first failure is what the caller sees.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from typing import TypeVar

from engine.errors import InterruptedByUser, IznetError
from engine.signals import undisturbed
from stream.analysis import Analyser
from stream.crew import Channel, Crew, Stopped
from stream.frames import Frame, LabelledFrame
from stream.labelled_copy import LabelledCopy
from stream.looking import Gap
from stream.presence import Presence
from stream.shots import Glance
from stream.source import FileSource
from stream.stages import StageClock
from stream.tracks import TracksWriter

T = TypeVar("T")
Progress = Callable[[int, int | None], None]
"""Called with the frames done and, where the file says, how many there are."""

WAITING = 4
"""Frames between two threads: enough that none starves, few enough that memory stays small."""


def labelled_frames(reader: FileSource, analyser: Analyser, clock: StageClock) -> Iterator[LabelledFrame]:
    """The frames of a source with everyone on them; a thread decodes a few frames ahead."""
    with closing(decoded_frames(reader, clock)) as frames:
        for frame in frames:
            yield from analyser.push(frame)
        yield from analyser.finish()


def decoded_frames(reader: FileSource, clock: StageClock) -> Generator[Frame, None, None]:
    """The frames of a source; a thread decodes a few frames ahead, and ends when the iterator is closed."""
    crew = Crew()
    decoded: Channel[Frame] = crew.channel(WAITING)
    crew.start("decode", lambda: _decode(reader, decoded, clock, lambda frame: frame))
    try:
        yield from decoded
    except Stopped:
        pass  # the decoder failed; `wait` raises why
    finally:
        reader.close()
        crew.stop()
        crew.wait()


def _decode(reader: FileSource, decoded: Channel[T], clock: StageClock, make: Callable[[Frame], T]) -> None:
    """Put what is made of each frame into the channel."""
    frames = reader.frames()
    while True:
        with clock("decode"):
            frame = next(frames, None)
        if frame is None:
            break
        decoded.put(make(frame))
    decoded.close()


class Pipeline:
    """One labelling, from the first frame to the files' final names.

    After `work`, `done` counts the frames and `people` says who was on them.
    """

    def __init__(
        self,
        reader: FileSource,
        analyser: Analyser,
        copy: LabelledCopy | None,
        record: TracksWriter,
        clock: StageClock,
        progress: Progress | None,
    ) -> None:
        self._reader = reader
        self._analyser = analyser
        self._copy = copy
        self._record = record
        self._clock = clock
        self._progress = progress
        self._crew = Crew()
        self._decoded: Channel[tuple[Frame, Glance]] = self._crew.channel(WAITING, "decoded")
        self._looked: Channel[Gap] = self._crew.channel(1, "looked")
        self._labelled: Channel[LabelledFrame] = self._crew.channel(WAITING, "labelled")
        self._last_pts = 0
        self.done = 0
        self.interrupted = False
        """Whether Ctrl-C came when there was nothing left to be cut short: whoever has more to do ends."""
        self.people: tuple[Presence, ...] = ()

    def queues(self) -> dict[str, dict[str, float]]:
        """How full the queues between the threads were, and who waited for whom."""
        return self._crew.queues()

    def work(self) -> None:
        """Label every frame and finish the files.

        Raises:
            IznetError: what went wrong; the message says where the finished part was kept.
            InterruptedByUser: Ctrl-C; likewise.
        """
        try:
            self._flow()
            if self._copy is not None:
                self._copy.finish()
            try:
                with undisturbed():  # all of this is done but a moment's work
                    self._close_record(complete=True)
            except KeyboardInterrupt:
                self.interrupted = True
        except KeyboardInterrupt as interrupt:
            raise InterruptedByUser(self._end("interrupted")) from interrupt
        except IznetError as failure:
            raise type(failure)(self._end(str(failure))) from failure
        except BaseException:
            self._end_threads()
            if self._copy is not None:
                self._copy.leave()
            self._record.abort()
            raise

    def _flow(self) -> None:
        """Move every frame from the decoder through the analysis to the outputs."""
        self._crew.start("decode", lambda: _decode(self._reader, self._decoded, self._clock, self._enter))
        self._crew.start("look", self._look)
        self._crew.start("write", self._write)
        try:
            for gap in self._looked:
                for labelled in self._analyser.follow(gap):
                    self._labelled.put(labelled)
            for labelled in self._analyser.release():
                self._labelled.put(labelled)
        except Stopped:
            pass  # a thread failed; `wait` raises why
        self._labelled.close()
        self._crew.wait()

    def _enter(self, frame: Frame) -> tuple[Frame, Glance]:
        self._clock.enters()
        return frame, self._analyser.looker.glance(frame)

    def _look(self) -> None:
        looker = self._analyser.looker
        for frame, seen in self._decoded:
            for gap in looker.push(frame, seen):
                self._looked.hand(gap)
        for gap in looker.finish():
            self._looked.hand(gap)
        self._looked.close()

    def _write(self) -> None:
        for labelled in self._labelled:
            if self._copy is not None:
                self._copy.write(labelled)
            with self._clock("record"):
                frame = labelled.frame
                self._record.frame(index=frame.index, pts=frame.pts, shot=frame.shot, faces=labelled.faces)
            self._clock.leaves()
            self._last_pts = frame.pts
            self.done += 1
            if self._progress is not None:
                self._progress(self.done, self._reader.info.frames)

    def _end(self, why: str) -> str:
        """End what still works and keep what was finished. Whoever asks for the end again gets it no sooner, and
        nothing half: the writer may be in the middle of a piece."""
        kept = why
        with suppress(KeyboardInterrupt), undisturbed():
            self._end_threads()
            kept = self._keep(why)
        return kept

    def _end_threads(self) -> None:
        """Let the writer finish what it was given, and the decoder go."""
        self._reader.close()
        self._decoded.stop()
        self._looked.stop()
        self._labelled.close()
        with suppress(Exception, KeyboardInterrupt):  # the first failure is on its way to the user already
            self._crew.wait()

    def _close_record(self, complete: bool) -> None:
        for verdict in self._analyser.verdicts():
            if verdict.first <= self._last_pts:
                self._record.track(verdict)
        self.people = self._record.finish(damage=self._reader.damage.as_dict(), complete=complete).people

    def _keep(self, why: str) -> str:
        """Keep what was finished under partial names; `why` the run ended, and where that is."""
        try:
            kept = self._copy.keep() if self._copy is not None else None
            if not self._record.closed:  # else it is complete, and only its final name could not be given
                if kept is None and not self.done:
                    self._record.abort()
                    return f"{why}; no frame was finished{self._hint(why)}"
                self._close_record(complete=False)
        except (IznetError, OSError) as failure:
            self._record.abort(keep=True)
            where = f"; {failure}" if str(failure) not in why else ""
            return f"{why}{where}{self._hint(why)}"
        places = [str(path) for path in (kept, self._record.path) if path is not None]
        return f"{why}; {self.done} frames are finished, in {' and '.join(places)}{self._hint(why)}"

    def _hint(self, why: str) -> str:
        return self._copy.hint(why) if self._copy is not None else ""
