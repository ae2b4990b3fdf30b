"""The labelled copy of a video while it is made: drawn, encoded in segments, joined with what is copied."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av

from engine.errors import OutputError
from engine.output_file import check_output
from engine.wording import count
from stream.encoding import EncoderPlan, EncoderSettings, plan_encoder
from stream.frames import Face, LabelledFrame
from stream.hiding import Box
from stream.joining import join
from stream.journal import JOB_FILE, marked
from stream.overlay import Inked, Overlay
from stream.pictures import convert
from stream.planes import on_gpu, stored_format
from stream.segments import Segment, SegmentWriter
from stream.sink import StreamPlan, plan_streams
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


def work_folder(target: Path) -> Path:
    """Where a copy is while it is made, and what an interrupted one goes on from.

    Example:
        >>> work_folder(Path("mv.labelled.mp4")).name
        'mv.labelled.mp4.iznet'
    """
    return target.with_name(target.name + ".iznet")


def may_replace(target: Path, made_from: Iterable[str | os.PathLike[str]], *, overwrite: bool, resume: bool) -> bool:
    """Check the copy's place before any work is done, and say whether it may take that of a file: as asked, or since
    that file is what an interrupted run had made of it already. What it is `made_from` is never replaced.

    Raises:
        OutputError: there is one and it may not; or the copy cannot be written, whatever may be replaced.
    """
    check_output(target, overwrite or resume, made_from)
    work = work_folder(target)
    replace = overwrite or (resume and marked(work, "video"))
    if target.exists() and not replace:
        there = "the interrupted run was to replace it" if (work / JOB_FILE).exists() else "no run is interrupted"
        raise OutputError(f"{target} exists, and {there}; use --overwrite to replace it, or another name")
    return replace


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """How a copy will be made."""

    encoder: EncoderPlan
    streams: StreamPlan

    @classmethod
    def of(
        cls, reader: FileSource, target: Path, settings: EncoderSettings | None = None, omit: Collection[int] = ()
    ) -> CopyPlan:
        """Decide it, or refuse what cannot be, before any work is done.

        Args:
            reader: the source.
            target: the copy's final name.
            settings: how it is encoded.
            omit: numbers of tracks of the source that may be left out.

        Raises:
            UsageError: the encoder does not take the settings, or the target's ending cannot be written.
            MissingError: the encoder cannot be had.
            OutputError: the target's container cannot hold a track of the source.
        """
        encoder = plan_encoder(settings or EncoderSettings(), reader.facts)
        return cls(encoder, plan_streams(reader.path, target, encoder, omit))


class Canvas(Protocol):
    """Draws on pictures that are in a GPU's memory."""

    def draw(self, picture: av.VideoFrame, marks: Sequence[Inked]) -> None:
        """Draw mark over mark, in place; returns when that is done."""
        ...


class LabelledCopy:
    """One copy on its way; call `write` from one thread, then one of `finish`, `keep`, `leave` and `discard`.

    As a context it removes the work folder where all went well; after a failure it leaves what is finished there.

    Args:
        reader: the source.
        target: the copy's final name, which it gets when it is complete.
        plan: how it is made.
        overwrite: whether the target may be replaced, see `may_replace`, and what an earlier run had finished of it.
        unknown: what to draw for people without a name.
        clock: where the time is added up.
        style: how people are drawn or hidden.
        people: everybody who may be named, for their colours.
        job: what the faces that are drawn depend on (see `WorkFolder`).
        resume: go on from what an earlier run of the same job has finished.
        canvas: draws on frames in a GPU's memory; None brings all of them down.

    Raises:
        OutputError: there can be no work folder beside the target, or it holds what may not be removed.
        UsageError: the earlier run was another job.
    """

    def __init__(
        self,
        reader: FileSource,
        target: Path,
        plan: CopyPlan,
        overwrite: bool,
        unknown: Unknown,
        clock: StageClock,
        *,
        style: Style | None = None,
        people: Sequence[str] = (),
        job: Mapping[str, Any] | None = None,
        resume: bool = False,
        canvas: Canvas | None = None,
    ) -> None:
        self.style = style or Style()
        drawing = {
            "style": {"marks": self.style.marks, "hide": self.style.hide, "spare_named": self.style.spare_named},
            "unknown": unknown,
            "people": list(people),
            "interlaced": reader.info.interlaced,
        }
        self._overwrite = overwrite
        self.target = target
        self._source = reader.path
        self._clock = clock
        self._canvas = canvas
        self._overlay = Overlay(reader.info, unknown=unknown, style=self.style, people=people)
        self._segments = SegmentWriter(
            *(work_folder(target), reader, plan.encoder),
            job={**drawing, **(job or {})},
            resume=resume,
            overwrite=overwrite,
        )
        self.work = self._segments.work
        self._finished = False
        self._streams = plan.streams
        self._own_notes = [*plan.encoder.notes]
        if resume:
            self._own_notes.append(_resumed(self._segments))
        if self.style.hide and any(track.cover for track in reader.facts.tracks):
            self._own_notes.append("faces on the cover picture are not hidden; it is copied as it is")
        self.notes = (*self._own_notes, *self._streams.notes)
        """What the user should know; `finish` adds what came up while copying."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.leave()
            return
        if self.work.resumed or self.work.replaced:
            partial_output(self.target).unlink(missing_ok=True)  # what the interrupted run had kept
        self.work.remove()

    def write(self, labelled: LabelledFrame, hidden: Sequence[Box] = ()) -> None:
        """Draw on the frame and encode it; its picture is not to be used afterwards. What is `hidden` is wiped out, if
        the style hides anything. A frame that an earlier run has finished is passed over."""
        frame, plan = labelled.frame, self._segments.plan
        drawn = drawing_of(labelled.faces, hidden)
        if self._segments.skip(frame, drawn):
            self._overlay.pass_over(labelled.faces, plan.width, plan.height)
            return
        if not self._drawn_on_gpu(frame.picture, labelled.faces, hidden):
            frame.picture = convert(frame.picture, plan.pixel_format, plan.width, plan.height)
            with self._clock("draw"):
                self._overlay.draw(frame.picture, labelled.faces, hidden)
        with self._clock("encode"):
            self._segments.write(frame, drawn)

    def _drawn_on_gpu(self, picture: av.VideoFrame, faces: Sequence[Face], hidden: Sequence[Box]) -> bool:
        """Draw on a picture where it is, if that is a GPU's memory and the encoder takes it from there."""
        plan = self._segments.plan
        there = plan.on_gpu and on_gpu(picture) and stored_format(picture) == plan.pixel_format
        # Faces are wiped out by the CPU alone.
        if self._canvas is None or not there or (self.style.hide is not None and hidden):
            return False
        with self._clock("draw"):
            if todo := self._overlay.inked(picture, faces):
                self._canvas.draw(picture, todo)
        return True

    def finish(self) -> None:
        """Join all there is into the target. The work folder stays, so that a run which is killed before its other
        files are complete can be gone on with."""
        with self._clock("encode"):
            segments = self._segments.finish()
        self.work.mark("video")
        try:
            with self._clock("join"):
                self._join(segments, self.target, self._overwrite, partial=False)
        except BaseException:
            with contextlib.suppress(OutputError):  # a full disk is reported already
                self.work.unmark("video")
            raise
        self._finished = True

    def keep(self) -> Path | None:
        """Join what was finished under the partial name; None if that is nothing. A later run can go on from it."""
        try:
            if self._finished:
                return self.target
            segments = self._segments.finish(early=True)
            if not segments:
                return None
            kept = partial_output(self.target)
            self._join(segments, kept, overwrite=True, partial=True)
        finally:
            self.leave()
        return kept

    def hint(self, why: str) -> str:
        """What to add to the message `why` a run ended, if another can go on from here."""
        return "; --resume goes on from there" if self._is_begun and "--resume" not in why else ""

    def leave(self) -> None:
        """Stop where it is. What is finished stays in the work folder, for a later run to go on from."""
        self._segments.abort()
        if self._is_begun:
            self.work.release()
        else:
            self.work.remove()

    @property
    def _is_begun(self) -> bool:
        """Whether there is something to go on from: pieces, or the first of two passes."""
        return self._segments.whole > 0 or self.work.has("analysed")

    def discard(self) -> None:
        """Leave nothing behind."""
        self._segments.abort()
        self.work.remove()

    def _join(self, segments: list[Segment], target: Path, overwrite: bool, partial: bool) -> None:
        report = join(
            segments,
            self._source,
            target,
            plan=self._segments.plan,
            streams=self._streams,
            overwrite=overwrite,
            partial=partial,
            folder=self.work.path,
        )
        self.notes = (*self._own_notes, *report.notes)


def drawing_of(faces: Sequence[Face], hidden: Sequence[Box] = ()) -> bytes:
    """What a drawing depends on, to the last bit: equal values make equal pictures of equal frames."""
    parts = [part for face in faces for part in (face.box.tobytes(), repr(face.name).encode())]
    return b"".join([*parts, *(box.tobytes() for box in hidden), b"\n"])


def _resumed(segments: SegmentWriter) -> str:
    if segments.earlier_frames:
        return f"went on after {count(segments.earlier_frames, 'frame')} that an interrupted run had finished"
    return "no run to go on with was found here, so everything was made from the start"
