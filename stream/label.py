"""The main job: a video goes in, the same video comes out with every known face boxed and named.

decode ──► analyse ──► draw, encode, record ──► join with everything that is copied
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
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
from stream.overlay import Unknown
from stream.pipeline import Pipeline, Progress, labelled_frames
from stream.presence import Presence
from stream.sink import CONTAINERS, check_output
from stream.source import FileSource
from stream.stages import StageClock
from stream.tracks import Header, Model, TracksWriter


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What came of labelling a video or a photo."""

    video: Path | None
    """The labelled copy; None if only the record was asked for."""
    tracks: Path
    frames: int
    fps: float
    """Frames a second over the whole run, files opened and joined included."""
    people: tuple[Presence, ...]
    """Everybody who was named, longest on screen first."""
    seconds: float
    """Wall time of the run."""
    notes: tuple[str, ...] = ()
    """What was decided on the way and the user should know."""
    damage: Mapping[str, int] = field(default_factory=dict)
    """What was wrong with the source, counted by kind."""
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Calls, CPU-ms of the calling thread and wall-ms of each part of the work."""


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

    Raises:
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
        target = Path(output) if output is not None else video_output(source)
        record = Path(tracks) if tracks is not None else record_output(source if output is None else target)
        check_output(record, overwrite)
        detector, embedder, people = _networks(gallery, detector, embedder)
        analyser = Analyser(reader.info, detector, embedder, people, lookahead=lookahead, clock=clock)
        header = record_header(reader.info, detector, embedder, people)
        settings = encoder or EncoderSettings()
        copy = LabelledCopy(reader, target, settings, overwrite, unknown, clock, omit) if video else None
        try:
            writer = TracksWriter.open(record, header, overwrite=overwrite)
        except BaseException:
            if copy is not None:
                copy.discard()
            raise
        pipeline = Pipeline(reader, analyser, copy, writer, clock, progress)
        pipeline.work()
        damage = reader.damage.as_dict()
        notes = [*reader.notes, *analyser.notes]
        if copy is not None:
            notes += [*copy.notes, *Glyphs().remarks(person.name for person in pipeline.people)]
    seconds = time.perf_counter() - started
    return LabelResult(
        video=target if copy else None,
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


def video_output(source: Path) -> Path:
    """Where the labelled copy goes if nobody says: beside the source, in its container where that can be written.

    Example:
        >>> video_output(Path("mv.mp4")).name, video_output(Path("mv.webm")).name
        ('mv.labelled.mp4', 'mv.labelled.mkv')
    """
    suffix = source.suffix if source.suffix.lower() in CONTAINERS else ".mkv"
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
