"""The labelled copy of a video while it is made: drawn, encoded in segments, joined with what is copied."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from stream.encoding import EncoderSettings
from stream.frames import LabelledFrame
from stream.joining import join
from stream.overlay import Overlay, Unknown
from stream.pictures import convert
from stream.segments import Segment, SegmentWriter
from stream.sink import StreamPlan, check_output, plan_streams
from stream.source import FileSource
from stream.stages import StageClock


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
    ) -> None:
        check_output(target, overwrite)
        self.target = target
        self._source = reader.path
        self._overwrite = overwrite
        self._clock = clock
        self._overlay = Overlay(reader.info, unknown=unknown)
        self._folder = target.with_name(target.name + ".iznet")
        self._segments = SegmentWriter(self._folder, reader, settings)
        try:
            self._streams: StreamPlan = plan_streams(reader.path, target, self._segments.plan, omit)
        except BaseException:
            self.discard()
            raise
        self.notes = (*self._segments.plan.notes, *self._streams.notes)
        """What the user should know; `finish` adds what came up while copying."""

    def write(self, labelled: LabelledFrame) -> None:
        """Draw on the frame and encode it; its picture is not to be used afterwards."""
        frame, plan = labelled.frame, self._segments.plan
        frame.picture = convert(frame.picture, plan.pixel_format, plan.width, plan.height)
        with self._clock("draw"):
            self._overlay.draw(frame.picture, labelled.faces)
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
        self.notes = (*self._segments.plan.notes, *report.notes)
