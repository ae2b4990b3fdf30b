"""The labelled copy of a video while it is made: drawn, encoded in segments, joined with what is copied."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from stream.encoding import EncoderSettings
from stream.frames import LabelledFrame
from stream.hiding import Box
from stream.joining import join
from stream.overlay import Overlay
from stream.pictures import convert
from stream.segments import Segment, SegmentWriter
from stream.sink import StreamPlan, check_output, plan_streams
from stream.source import FileSource
from stream.stages import StageClock
from stream.styles import Style, Unknown


def partial_output(target: Path) -> Path:
    """What an interrupted copy is called.

    Example:
        >>> partial_output(Path("mv.mp4")).name
        'mv.partial.mp4'
    """
    return target.with_name(f"{target.stem}.partial{target.suffix}")


class LabelledCopy:
    """One copy on its way; call `write` from one thread, then one of `finish`, `keep` and `discard`.

    Args:
        reader: the source.
        target: the copy's final name, which it gets when it is complete.
        settings: how it is encoded.
        overwrite: whether the target may be replaced.
        unknown: what to draw for people without a name.
        clock: where the time is added up.
        style: how people are drawn or hidden.
        people: everybody who may be named, for their colours.
        omit: numbers of tracks of the source that may be left out.

    Raises:
        OutputError: the target exists, cannot be written, or its container cannot hold a track of the source.
        UsageError, MissingError: the encoder cannot be had.
    """

    def __init__(
        self,
        reader: FileSource,
        target: Path,
        settings: EncoderSettings,
        overwrite: bool,
        unknown: Unknown,
        clock: StageClock,
        omit: Collection[int] = (),
        *,
        style: Style | None = None,
        people: Sequence[str] = (),
    ) -> None:
        check_output(target, overwrite)
        self.target = target
        self._source = reader.path
        self._overwrite = overwrite
        self._clock = clock
        self.style = style or Style()
        self._overlay = Overlay(reader.info, unknown=unknown, style=self.style, people=people)
        self._folder = target.with_name(target.name + ".iznet")
        self._segments = SegmentWriter(self._folder, reader, settings)
        try:
            self._streams: StreamPlan = plan_streams(reader.path, target, self._segments.plan, omit)
        except BaseException:
            self.discard()
            raise
        self._own_notes = list(self._segments.plan.notes)
        if self.style.hide and any(track.cover for track in reader.facts.tracks):
            self._own_notes.append("faces on the cover picture are not hidden; it is copied as it is")
        self.notes = (*self._own_notes, *self._streams.notes)
        """What the user should know; `finish` adds what came up while copying."""

    def write(self, labelled: LabelledFrame, hidden: Sequence[Box] = ()) -> None:
        """Draw on the frame and encode it; its picture is not to be used afterwards. What is `hidden` is wiped out, if
        the style hides anything."""
        frame, plan = labelled.frame, self._segments.plan
        frame.picture = convert(frame.picture, plan.pixel_format, plan.width, plan.height)
        with self._clock("draw"):
            self._overlay.draw(frame.picture, labelled.faces, hidden)
        with self._clock("encode"):
            self._segments.write(frame)

    def finish(self) -> None:
        """Join all there is into the target."""
        with self._clock("encode"):
            segments = self._segments.finish()
        with self._clock("join"):
            self._join(segments, self.target, self._overwrite, partial=False)
        shutil.rmtree(self._folder)

    def keep(self) -> Path | None:
        """Join what was finished under the partial name; None if that is nothing."""
        segments = self._segments.finish()
        if not segments:
            shutil.rmtree(self._folder, ignore_errors=True)
            return None
        kept = partial_output(self.target)
        self._join(segments, kept, overwrite=True, partial=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        return kept

    def discard(self) -> None:
        """Leave nothing behind."""
        self._segments.abort()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _join(self, segments: list[Segment], target: Path, overwrite: bool, partial: bool) -> None:
        report = join(
            segments,
            self._source,
            target,
            plan=self._segments.plan,
            streams=self._streams,
            overwrite=overwrite,
            partial=partial,
        )
        self.notes = (*self._own_notes, *report.notes)
