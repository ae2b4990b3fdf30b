"""The main job: a video goes in, the same video comes out with every known face boxed and named.

decode ──► analyse ──► draw, encode, record ──► join with everything that is copied
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from engine.version import VERSION
from stream.analysis import Analyser
from stream.encoding import EncoderSettings
from stream.frames import LabelledFrame, VideoInfo
from stream.glyphs import Glyphs
from stream.labelled_copy import LabelledCopy
from stream.pipeline import Pipeline, Progress, labelled_frames
from stream.renaming import settle
from stream.render import draw
from stream.result import LabelResult
from stream.sink import CONTAINERS, check_output
from stream.soft import soft_copy, soft_output, soft_plan
from stream.source import FileSource
from stream.stages import StageClock
from stream.styles import Style, Unknown
from stream.tracks import Header, Model, TracksWriter


def label_video(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    gallery: Gallery | str | os.PathLike[str] | None = None,
    detector: Detector | None = None,
    embedder: Embedder | None = None,
    tracks: str | os.PathLike[str] | None = None,
    video: bool = True,
    encoder: EncoderSettings | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    deinterlace: bool = False,
    lookahead: float = 2.0,
    unknown: Unknown = "none",
    omit: Collection[int] = (),
    threads: int | None = None,
    style: Style | None = None,
    soft: bool = False,
    two_pass: bool = False,
) -> LabelResult:
    """Label a video file: the same video with every known face boxed and named, and a per-frame record.

    Args:
        source: the video.
        output: the labelled copy; None takes `video_output(source)`.
        gallery: whom to name, or the file that says so; None leaves everybody unknown.
        detector: finds the faces; None opens the shipped one on the CPU.
        embedder: tells them apart; None opens the shipped one if there is a gallery.
        tracks: where the record goes; None puts it beside the output.
        video: False writes the record only.
        encoder: how the copy is encoded.
        overwrite: whether files that exist may be replaced.
        progress: called after every frame.
        deinterlace: make whole pictures out of interlaced ones.
        lookahead: seconds a frame waits before its names are decided.
        unknown: what to draw for people without a name.
        omit: numbers of tracks of the source that may be left out of the copy.
        threads: decoder threads; None for as many as there are processors.
        style: how people are drawn or hidden. Hiding needs the whole record, so it implies `two_pass`.
        soft: copy every packet and add boxes and names as a subtitle track, with the final verdicts; the output is MKV.
        two_pass: analyse the whole video first and draw the final verdicts.

    Raises:
        UsageError: a soft copy that is to hide somebody, or is not to be MKV.
        InputError: the source or the gallery cannot be used.
        OutputError: an output exists, or cannot be written or hold a track of the source.
        MissingError: an encoder or backend that was asked for is not here.
        InterruptedByUser: Ctrl-C; what was finished is kept under a partial name.

    Example:
        >>> result = label_video("mv.mp4", gallery="izone.gallery")  # doctest: +SKIP
        >>> result.video, [person.name for person in result.people]  # doctest: +SKIP
        (PosixPath('mv.labelled.mp4'), ['yena', 'yuri'])
    """
    started = time.perf_counter()
    source = Path(source)
    clock = StageClock()
    with FileSource(source, threads, deinterlace=deinterlace) as reader:
        target = Path(output) if output is not None else video_output(source, soft=soft)
        record = Path(tracks) if tracks is not None else record_output(source if output is None else target)
        style = style or Style()
        if video:
            check_output(target, overwrite)
        if video and soft:
            soft_output(target, style, overwrite)
            soft_plan(reader, target, omit)
        check_output(record, overwrite)
        detector, embedder, people = _networks(gallery, detector, embedder)
        analyser = Analyser(reader.info, detector, embedder, people, lookahead=lookahead, clock=clock)
        header = record_header(reader.info, detector, embedder, people)
        settings, names = encoder or EncoderSettings(), people.people if people else ()
        copy = (
            LabelledCopy(reader, target, settings, overwrite, unknown, clock, omit, style=style, people=names)
            if video and not soft
            else None
        )
        later = copy is not None and (two_pass or style.hide is not None)
        try:
            writer = TracksWriter.open(record, header, overwrite=overwrite)
            pipeline = Pipeline(reader, analyser, None if later else copy, writer, clock, progress)
        except BaseException:
            if copy is not None:
                copy.discard()
            raise
        try:
            pipeline.work()
        except BaseException:
            if later and copy is not None:
                copy.discard()
            raise
        notes = [*reader.notes, *analyser.notes]
        damage = reader.damage.as_dict()
        if later and copy is not None:
            with FileSource(source, threads, deinterlace=deinterlace) as again:
                draw(again, settle(record), record, copy, clock, progress)
        if video and soft:
            with clock("join"):
                final = settle(record)
                notes += soft_copy(reader, final, target, style=style, unknown=unknown, overwrite=overwrite, omit=omit)
        if copy is not None:
            notes += copy.notes
        if video and style.marks != "none":
            notes += Glyphs().remarks(person.name for person in pipeline.people)
    seconds = time.perf_counter() - started
    return LabelResult(
        video=target if video else None,
        tracks=record,
        frames=pipeline.done,
        fps=pipeline.done / seconds,
        people=pipeline.people,
        seconds=seconds,
        notes=tuple(notes),
        damage=damage,
        stages={name: stage.as_dict() for name, stage in clock.stages.items()},
    )


def open_stream(
    source: str | os.PathLike[str],
    gallery: Gallery | str | os.PathLike[str] | None = None,
    *,
    detector: Detector | None = None,
    embedder: Embedder | None = None,
    deinterlace: bool = False,
    lookahead: float = 2.0,
    threads: int | None = None,
) -> Iterator[LabelledFrame]:
    """The frames of a video file with everyone on them, in order; nothing is drawn or written.

    Decoding goes on in a thread of its own, a few frames ahead; it ends when the iterator is closed.

    Example:
        >>> for frame in open_stream("mv.mp4", "izone.gallery"):    # doctest: +SKIP
        ...     print(frame.frame.time, [face.name for face in frame.faces])
    """
    detector, embedder, people = _networks(gallery, detector, embedder)
    with FileSource(source, threads, deinterlace=deinterlace) as reader:
        analyser = Analyser(reader.info, detector, embedder, people, lookahead=lookahead)
        yield from labelled_frames(reader, analyser, StageClock())


def video_output(source: Path, *, soft: bool = False) -> Path:
    """Where the labelled copy goes if nobody says: beside the source, in its container where that can be written; a
    soft copy is MKV.

    Example:
        >>> video_output(Path("mv.mp4")).name, video_output(Path("mv.webm")).name
        ('mv.labelled.mp4', 'mv.labelled.mkv')
    """
    suffix = source.suffix if source.suffix.lower() in CONTAINERS and not soft else ".mkv"
    return source.with_name(f"{source.stem}.labelled{suffix}")


def _networks(
    gallery: Gallery | str | os.PathLike[str] | None, detector: Detector | None, embedder: Embedder | None
) -> tuple[Detector, Embedder | None, Gallery | None]:
    """Open what was not given; the embedder only if there is somebody to tell apart."""
    detector = detector or Detector.open()
    if gallery is None:
        return detector, None, None
    embedder = embedder or Embedder.open()
    if isinstance(gallery, Gallery):
        gallery.check_embedder(embedder)
        return detector, embedder, gallery
    return detector, embedder, Gallery.load(os.fspath(gallery), embedder)


def record_output(named_after: Path) -> Path:
    """Where the record goes if nobody says: beside the file it is named after.

    Example:
        >>> record_output(Path("mv.mp4")).name
        'mv.tracks.jsonl'
    """
    return named_after.with_name(f"{named_after.stem}.tracks.jsonl")


def record_header(info: VideoInfo, detector: Detector, embedder: Embedder | None, gallery: Gallery | None) -> Header:
    """What the record says of its source, the networks and whom they looked for."""
    return Header.of(
        info,
        detector=Model(detector.name, detector.sha256),
        embedder=Model(embedder.name, embedder.sha256) if embedder else None,
        gallery=gallery.sha256 if gallery else None,
        people=gallery.people if gallery else (),
        version=VERSION,
    )
