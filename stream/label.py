"""The main job: a video goes in, the same video comes out with every known face boxed and named.

decode ──► analyse ──► draw, encode, record ──► join with everything that is copied
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InterruptedByUser
from engine.gallery import Gallery
from engine.network import opened
from engine.output_file import check_apart, check_output, check_spared
from engine.runtime import Session, Work
from engine.version import VERSION
from stream.analysis import Analyser
from stream.encoding import EncoderSettings
from stream.frames import LabelledFrame, VideoInfo
from stream.glyphs import Glyphs
from stream.journal import WorkFolder, content_of, mark_of
from stream.labelled_copy import CopyPlan, LabelledCopy, may_replace, work_folder
from stream.pipeline import Pipeline, Progress, labelled_frames
from stream.placement import Placement
from stream.record_lock import held
from stream.result import LabelResult
from stream.sink import CONTAINERS
from stream.source import FileSource
from stream.stages import StageClock
from stream.styles import Style, Unknown
from stream.tracklines import encode
from stream.tracks import Header, Model, Tracks, TracksWriter, read


def label_video(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    gallery: Gallery | str | os.PathLike[str] | None = None,
    detector: Detector | Callable[[], Detector] | None = None,
    embedder: Embedder | Callable[[], Embedder] | None = None,
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
    every_frame: bool = False,
    resume: bool = False,
    decoder: str = "auto",
) -> LabelResult:
    """Label a video file: the same video with every known face boxed and named, and a per-frame record.

    Args:
        source: the video.
        output: the labelled copy; None takes `video_output(source)`.
        gallery: whom to name, or the file that says so; None leaves everybody unknown.
        detector: finds the faces, or what opens it once nothing else can be refused; None opens the shipped one on the
            CPU.
        embedder: tells them apart, likewise; None opens the shipped one if there is a gallery.
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
        every_frame: look for faces on every frame, not only where the picture changes; styles that hide always do.
        resume: go on with what an earlier run, killed or interrupted, has finished; the files come out as if it had
            never stopped. The video is analysed again up to there, but neither drawn nor encoded.
        decoder: one of `stream.decoders.DECODERS`.

    Raises:
        UsageError: a soft copy that is to hide somebody, or is not to be MKV; the run to go on with was of another
            video, or with other settings, networks or another gallery.
        InputError: the source or the gallery cannot be used.
        OutputError: an output exists, or cannot be written or hold a track of the source; or the record that would be
            replaced is open in a review or being changed.
        MissingError: an encoder, decoder or backend that was asked for is not here.
        InterruptedByUser: Ctrl-C; what was finished is kept under a partial name.

    Example:
        >>> result = label_video("mv.mp4", gallery="izone.gallery")  # doctest: +SKIP
        >>> result.video, [person.name for person in result.people]  # doctest: +SKIP
        (PosixPath('mv.labelled.mp4'), ['yena', 'yuri'])
    """
    started = time.perf_counter()
    source = Path(source)
    clock = StageClock()
    with FileSource(source, threads, deinterlace=deinterlace, decoder=decoder) as reader, ExitStack() as stack:
        target = Path(output) if output is not None else video_output(source, soft=soft)
        record = Path(tracks) if tracks is not None else record_output(source if output is None else target)
        style = style or Style()
        work = work_folder(target)
        encoded = video and not soft
        later = encoded and (two_pass or style.hide is not None)
        # A face that comes and goes between two looks would stay visible.
        every_frame = every_frame or style.hide is not None
        outputs = (target, record) if video else (record,)
        made_from = [source, *files_of(gallery)]
        check_apart(*outputs)
        replace = video and may_replace(target, made_from, overwrite=overwrite, resume=resume and encoded)
        if video and soft:
            from stream.soft import check_soft, soft_plan

            check_soft(target, style)
            soft_plan(reader, target, omit)
        # What a run that was broken off left may go: without --resume its work folder refuses, and names the ways on.
        record_overwrite = overwrite or (encoded and _written_by(work, record))
        check_output(record, record_overwrite, made_from)
        if record.exists():
            stack.enter_context(held(record))
        plan = CopyPlan.of(reader, target, encoder, omit) if encoded else None
        detector, embedder, people = open_networks(gallery, detector, embedder)
        for output in outputs:
            check_spared(output, files_of(detector, embedder))
        placement = Placement.of(reader.info, detector, embedder, clock)
        stack.callback(placement.close)
        reader.on_gpu = placement.on_gpu and reader.decoder.on_gpu
        plan = placement.plan(plan) if plan is not None else None
        analyser = Analyser(
            *(reader.info, detector, embedder, people),
            lookahead=lookahead,
            every_frame=every_frame,
            cautious=style.hide is not None,
            clock=clock,
            eyes=placement.eyes,
        )
        header = record_header(reader.info, detector, embedder, people, every_frame)
        counted = {"detector": detector.looks, "coarse": detector.coarse_looks}
        counted |= {"embedder": embedder.session.work} if embedder else {}
        networks = {name: _Counts(done) for name, done in counted.items()}
        queues: dict[str, dict[str, float]] = {}

        def analyse(drawn: LabelledCopy | None, before_rename: Callable[[Path], None] | None = None) -> Pipeline:
            writer = TracksWriter.open(record, header, overwrite=record_overwrite, before_rename=before_rename)
            pipeline = Pipeline(reader, analyser, drawn, writer, clock, progress)
            pipeline.work()
            queues.update(pipeline.queues())
            return pipeline

        notes: list[str] = []
        if plan is None:
            pipeline = analyse(None)
            done, seen, damage = pipeline.done, pipeline.people, reader.damage
            if video:
                from stream.renaming import settle
                from stream.soft import soft_copy

                if pipeline.interrupted:
                    raise InterruptedByUser(f"interrupted; the record is in {record}")

                with clock("join"):
                    final = settle(record)
                    notes += soft_copy(
                        reader, final, target, style=style, unknown=unknown, overwrite=overwrite, omit=omit
                    )
        else:
            settings = {"lookahead": lookahead, "two_pass": later, "every_frame": every_frame}
            job = _job(header, detector, embedder, {**settings, "pictures": "gpu" if placement.on_gpu else "cpu"})
            with LabelledCopy(
                *(reader, target, plan, replace, unknown, clock),
                style=style,
                people=people.people if people else (),
                job=job,
                resume=resume,
                canvas=placement.canvas,
            ) as copy:
                before_rename = partial(_note_record, copy.work)
                if later:
                    from stream.renaming import settle
                    from stream.render import draw

                    analysed = _analysed(record, work) if resume else None
                    if analysed is None:
                        pipeline = analyse(None, before_rename)
                        analysed = settle(record)
                        copy.work.mark("analysed", content_of(record))
                        if pipeline.interrupted:
                            raise InterruptedByUser(f"interrupted{copy.hint('interrupted')}")
                    with FileSource(source, threads, deinterlace=deinterlace, decoder=decoder) as again:
                        again.on_gpu = reader.on_gpu
                        draw(again, analysed, record, copy, clock, progress)
                    done, damage = len(analysed.frames), again.damage
                    seen = analysed.summary.people if analysed.summary else ()
                else:
                    pipeline = analyse(copy, before_rename)
                    done, seen, damage = pipeline.done, pipeline.people, reader.damage
            notes += copy.notes
        where = placement.notes(reader.decoded_on_gpu, plan, hides=style.hide is not None)
        notes = [*reader.notes, *where, *analyser.notes, *notes]
        if video and style.marks != "none":
            notes += Glyphs().remarks(person.name for person in seen)
    seconds = time.perf_counter() - started
    return LabelResult(
        video=target if video else None,
        tracks=record,
        frames=done,
        fps=done / seconds,
        people=seen,
        seconds=seconds,
        notes=tuple(notes),
        damage=damage.as_dict(),
        stages={name: stage.as_dict() for name, stage in clock.stages.items()},
        queues=queues,
        latency=clock.latency.as_dict(),
        networks={name: counts.since() for name, counts in networks.items()},
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
    with FileSource(source, threads, deinterlace=deinterlace) as reader:
        detector, embedder, people = open_networks(gallery, detector, embedder)
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


class _Counts:
    """What a network did in this run, as it may have worked for others before."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._before = self._work.inferences, self._work.items

    def since(self) -> dict[str, int]:
        return {"inferences": self._work.inferences - self._before[0], "items": self._work.items - self._before[1]}


def _job(header: Header, detector: Detector, embedder: Embedder | None, analysis: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that names and boxes depend on, for a run that goes on with another's work."""
    record = encode(header)
    models = {"detector": {"size": detector.size, "threshold": detector.threshold, **_of_session(detector.session)}}
    if embedder is not None:
        models["embedder"] = _of_session(embedder.session)
    return {"iznet": record["iznet"], "gallery": record["gallery"], **models, **analysis}


def _of_session(session: Session) -> dict[str, Any]:
    return {
        "network": session.model.sha256,
        "backend": f"{session.backend} {import_module(session.backend).__version__}",
        "device": session.device,
        "precision": session.precision,
    }


def _note_record(work: WorkFolder, record: Path) -> None:
    """The record is complete, and about to get its final name: from now on it is this job's."""
    work.mark("record", content_of(record))


def _written_by(work: Path, record: Path) -> bool:
    """Whether the record is as the job of the work folder left it; nobody else's, and not corrected since."""
    return record.is_file() and content_of(record) in (mark_of(work, "record"), mark_of(work, "analysed"))


def _analysed(record: Path, work: Path) -> Tracks | None:
    """The record, if the earlier run's analysis was complete and the file is still what it was."""
    noted = mark_of(work, "analysed")
    return read(record) if noted is not None and record.exists() and noted == content_of(record) else None


def open_networks(
    gallery: Gallery | str | os.PathLike[str] | None,
    detector: Detector | Callable[[], Detector] | None = None,
    embedder: Embedder | Callable[[], Embedder] | None = None,
    *,
    video: bool = True,
) -> tuple[Detector, Embedder | None, Gallery | None]:
    """Open what is not open yet: the gallery first, the networks last, the embedder only if there is somebody to tell
    apart. What is None is the shipped network, made ready for a `video` or for photos.

    Raises:
        InputError: the gallery cannot be read, or was made with another embedder.
        IznetError: what opening a network raises.
    """
    where = "the gallery" if gallery is None or isinstance(gallery, Gallery) else os.fspath(gallery)
    people = gallery if gallery is None or isinstance(gallery, Gallery) else Gallery.load(where)
    finder = opened(detector or partial(Detector.open, video=video))
    if people is None:
        return finder, None, None
    teller = opened(embedder or partial(Embedder.open, video=video))
    people.check_embedder(teller, where)
    return finder, teller, people


def files_of(*parts: object) -> list[str | os.PathLike[str]]:
    """The files that these were read from, or are to be: of networks that are open, and of names."""
    files: list[str | os.PathLike[str]] = []
    for part in parts:
        if isinstance(part, Detector | Embedder):
            files.append(part.session.model.path)
        elif isinstance(part, str | os.PathLike):
            files.append(part)
    return files


def record_output(named_after: Path) -> Path:
    """Where the record goes if nobody says: beside the file it is named after.

    Example:
        >>> record_output(Path("mv.mp4")).name
        'mv.tracks.jsonl'
    """
    return named_after.with_name(f"{named_after.stem}.tracks.jsonl")


def record_header(
    info: VideoInfo,
    detector: Detector,
    embedder: Embedder | None,
    gallery: Gallery | None,
    every_frame: bool | None = None,
) -> Header:
    """What the record says of its source, the networks, whom they looked for, and whether on every frame."""
    return Header.of(
        info,
        detector=Model(detector.name, detector.sha256),
        embedder=Model(embedder.name, embedder.sha256) if embedder else None,
        gallery=gallery.sha256 if gallery else None,
        people=gallery.people if gallery else (),
        every_frame=every_frame,
        version=VERSION,
    )
