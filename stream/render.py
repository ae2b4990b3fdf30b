"""Drawing from a record, without looking for anybody: a corrected name, another style, faces hidden.

render_video("mv.mp4", "mv.tracks.jsonl", "mv.blurred.mp4", style=Style.parse(["blur"]))
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

from engine.errors import InputError, InterruptedByUser, IznetError
from engine.output_file import check_output
from engine.signals import undisturbed
from engine.version import VERSION
from engine.wording import count
from stream.encoding import EncoderSettings
from stream.frames import LabelledFrame
from stream.glyphs import Glyphs
from stream.hiding import hidden_boxes
from stream.journal import content_of
from stream.labelled_copy import CopyPlan, LabelledCopy, may_replace
from stream.origin import check_belongs
from stream.pipeline import Progress, decoded_frames
from stream.result import LabelResult
from stream.soft import soft_copy
from stream.source import FileSource
from stream.stages import StageClock
from stream.styles import Style, Unknown, usual_unknown
from stream.takes import cast, seen
from stream.tracks import Tracks, read

UNSEEN = (
    "the record was made without --every-frame, so a face that came and went between two looks is not hidden; make it "
    "anew with `iznet label --every-frame`, or look at the result before you publish it"
)


def render_video(
    video: str | os.PathLike[str],
    tracks: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    style: Style | None = None,
    unknown: Unknown | None = None,
    soft: bool = False,
    encoder: EncoderSettings | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    deinterlace: bool = False,
    omit: Collection[int] = (),
    threads: int | None = None,
    resume: bool = False,
    decoder: str = "auto",
) -> LabelResult:
    """Draw the final verdicts of a record on the video it was made of.

    Args:
        video: the very video; nothing is drawn on another.
        tracks: the record.
        output: the copy.
        style: how people are drawn or hidden.
        unknown: what to draw for people without a name; None as labelling does: nothing, or a box where the record was
            made without a gallery.
        soft: copy every packet and add boxes and names as a subtitle track; the output is MKV.
        encoder: how the copy is encoded.
        overwrite: whether the output may be replaced.
        progress: called after every frame.
        deinterlace: make whole pictures out of interlaced ones.
        omit: numbers of tracks of the video that may be left out of the copy.
        threads: decoder threads; None for as many as there are processors.
        resume: go on with what an earlier run, killed or interrupted, has finished.
        decoder: one of `stream.decoders.DECODERS`.

    Raises:
        InputError: the video or the record cannot be read, or they do not belong together.
        OutputError: the output exists, or cannot be written or hold a track of the video.
        UsageError: a soft copy that is to hide somebody, or is not to be MKV; the run to go on with was of another
            video or record, or with other settings.
        MissingError: an encoder or decoder that was asked for is not here.
        InterruptedByUser: Ctrl-C; what was finished is kept under a partial name.

    Example:
        >>> render_video("mv.mp4", "mv.tracks.jsonl", "mv.corners.mp4", style=Style("corners"))    # doctest: +SKIP
    """
    started = time.perf_counter()
    style, clock, target = style or Style(), StageClock(), Path(output)
    if soft:
        check_output(target, overwrite, [video, tracks])
    else:
        overwrite = may_replace(target, [video, tracks], overwrite=overwrite, resume=resume)
    record = read(Path(tracks))
    with FileSource(video, threads, deinterlace=deinterlace, decoder=decoder) as reader:
        check_belongs(record, tracks, reader.info)
        unknown = unknown or usual_unknown(record.header.gallery)
        if soft:
            notes = soft_copy(reader, record, target, style=style, unknown=unknown, overwrite=overwrite, omit=omit)
        else:
            job = {"record": content_of(tracks), "iznet": VERSION}
            with LabelledCopy(
                *(reader, target, CopyPlan.of(reader, target, encoder, omit), overwrite, unknown, clock),
                style=style,
                people=cast(record),
                job=job,
                resume=resume,
            ) as copy:
                draw(reader, record, tracks, copy, clock, progress)
            notes = (*reader.notes, *copy.notes)
            if style.hide and not record.header.every_frame:
                notes = (*notes, UNSEEN)
    seconds = time.perf_counter() - started
    people = seen(record.frames, record.header)  # the summary's are older than a correction by hand
    return LabelResult(
        video=target,
        tracks=Path(tracks),
        frames=len(record.frames),
        fps=len(record.frames) / seconds,
        people=people,
        seconds=seconds,
        notes=(*notes, *(() if style.marks == "none" else Glyphs().remarks(person.name for person in people))),
        damage=reader.damage.as_dict(),
        stages={name: stage.as_dict() for name, stage in clock.stages.items()},
    )


def draw(
    reader: FileSource,
    record: Tracks,
    tracks: str | os.PathLike[str],
    copy: LabelledCopy,
    clock: StageClock,
    progress: Progress | None,
) -> None:
    """Decode the source once, draw what the record says, and finish the copy.

    Raises:
        InputError: the frames are not the record's; the copy is discarded.
        IznetError, InterruptedByUser: what was finished is kept under a partial name.
    """
    style, done = copy.style, 0
    hidden = hidden_boxes(record, spare_named=style.spare_named) if style.hide else [[] for _ in record.frames]
    try:
        with closing(decoded_frames(reader, clock)) as frames:
            for frame in frames:
                here = record.frames[done] if done < len(record.frames) else None
                if here is None or here.pts != frame.pts:
                    raise _Mismatch(_mismatch(reader, tracks, done, frame.pts, here.pts if here else None))
                with undisturbed():  # a picture that is half encoded would spoil what is finished
                    copy.write(LabelledFrame(frame, reader.info.rotation, list(here.faces)), hidden[done])
                    done += 1
                if progress is not None:
                    progress(done, len(record.frames))
        if done < len(record.frames):
            raise _Mismatch(_mismatch(reader, tracks, done, None, record.frames[done].pts))
        copy.finish()
    except _Mismatch as failure:
        copy.discard()
        raise InputError(str(failure)) from None
    except KeyboardInterrupt as interrupt:
        raise InterruptedByUser(_keep(copy, "interrupted", done)) from interrupt
    except IznetError as failure:
        raise type(failure)(_keep(copy, str(failure), done)) from failure


class _Mismatch(Exception):
    """The frames are not the record's."""


def _mismatch(
    reader: FileSource, tracks: str | os.PathLike[str], index: int, here: int | None, there: int | None
) -> str:
    base = reader.info.time_base
    if there is None:
        return (
            f"{os.fspath(tracks)} ends after {count(index, 'frame')} and {reader.path} goes on: it is of "
            "another video, or of a run that was broken off (--resume goes on with one that was drawing a copy); "
            "nothing was written"
        )

    def words(pts: int | None) -> str:
        return "not there" if pts is None else f"at {float(pts * base):.6f} s"

    return (
        f"{os.fspath(tracks)} belongs to another video than {reader.path}: frame {index} is {words(there)} in the "
        f"record and {words(here)} in the video; nothing was written"
    )


def _keep(copy: LabelledCopy, why: str, done: int) -> str:
    """Keep what was finished under its partial name; `why` the run ended, and where that is."""
    kept = None
    try:
        with suppress(KeyboardInterrupt), undisturbed():  # whoever asks for the end again gets it no sooner
            kept = copy.keep()
    except (IznetError, OSError) as failure:
        return (f"{why}; {failure}" if str(failure) not in why else why) + copy.hint(why)
    return why if kept is None else f"{why}; {done} frames are finished, in {kept}{copy.hint(why)}"
