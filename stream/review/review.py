"""A record that is being reviewed: its video, its corrections, its file, and the copy that is drawn from it."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, UsageError
from engine.wording import count
from stream.cuttings import Sight
from stream.filekind import is_photo
from stream.frames import TrackVerdict
from stream.probe import probe
from stream.renaming import correct
from stream.render import check_belongs
from stream.review.corrections import Correction, Corrections, Look, NeedsConsent
from stream.review.rendering import Render, Rendering
from stream.review.stills import Stills
from stream.review.teaching import Teacher, worth_learning
from stream.styles import Colour, colour_of
from stream.summary import Overview, overview
from stream.takes import Ruler, cast
from stream.teach import video_of
from stream.timeline import STRANGER, Lane, timeline
from stream.tracks import Tracks, read
from stream.whereabouts import Whereabouts

BOX_UNITS = 10_000
"""Boxes are told in these parts of the picture's width and height."""


class Review:
    """May be called from any thread; changes wait for each other.

    Args:
        tracks: the record; changed by `save` alone.
        video: what it was made of; None looks where the record says, then beside it.
        people: names that may be given without being asked whether they are meant.
        teacher: keeps the gallery that may learn from corrections, for a video of that name; None where there is none.

    Raises:
        InputError: the record or the video cannot be read, or they do not belong together.
        UsageError: it is a photo's record.

    Example:
        >>> with Review("mv.tracks.jsonl") as review:                       # doctest: +SKIP
        ...     review.name(12, "Yena", everywhere=True)
        ...     review.save()
    """

    def __init__(
        self,
        tracks: str | os.PathLike[str],
        video: str | os.PathLike[str] | None = None,
        people: Sequence[str] = (),
        teacher: Callable[[str], Teacher] | None = None,
    ) -> None:
        self.path = Path(tracks)
        self._stamp = _stamp(self.path)
        record = read(self.path)
        if not record.frames:
            raise InputError(f"{self.path} holds no frame, so there is nothing to review")
        self.video = video_of(record, self.path, video)
        if is_photo(self.video):
            raise UsageError(f"{self.video} is a photo; correct its record with: iznet tracks rename {self.path}")
        info = probe(self.video).info
        check_belongs(record, tracks, info)
        self.run = secrets.token_hex(8)
        """Tells this review from those at the same address before and after it: a page of theirs changes nothing here,
        and a browser does not take their pictures for these."""
        self.output: Path | None = None
        """Where the copy goes that is drawn anew."""
        self.stills = Stills(self.video, info, record)
        self._lock = threading.Lock()
        self._corrections = Corrections(record, people)
        self._sights = {
            Look(face.track, frame.index): Sight(frame, face) for frame in record.frames for face in frame.faces
        }
        self._teacher = teacher(self.video.name) if teacher is not None else None
        self._saved = self._began = self._corrections.verdicts
        """The verdicts that stand in the file."""
        self._written = record
        self._render: Render | None = None
        self._rendering: Rendering | None = None
        self._version = 0
        self._shown: tuple[int, dict[str, Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rendering is not None:
            self._rendering.stop()
        self.stills.__exit__(kind, error, trace)

    @property
    def rendering(self) -> Rendering | None:
        """The latest copy that is or was being drawn."""
        return self._rendering

    @property
    def unsaved(self) -> int:
        """Tracks whose verdict is not what stands in the file."""
        return len(_differing(self._corrections.verdicts, self._saved))

    @property
    def unlearned(self) -> int:
        """Looks that are still to be put into the gallery, or taken out again."""
        return self._teacher.differing(self._corrections.lessons) if self._teacher is not None else 0

    @property
    def learned(self) -> int:
        """Looks that the gallery has from this review."""
        return self._teacher.kept if self._teacher is not None else 0

    @property
    def corrected(self) -> int:
        """Tracks whose verdict in the file is not what it was when the review began."""
        return len(_differing(self._saved, self._began))

    @property
    def version(self) -> int:
        """Grows with every change of what `state` tells."""
        return self._version

    def draws(self, output: Path, render: Render) -> None:
        """From now on a copy may be drawn, to `output`."""
        self.output, self._render = output, render

    def name(
        self,
        track: int,
        name: str | None,
        *,
        everywhere: bool = False,
        new: bool = False,
        displace: bool = False,
        learn: bool = False,
    ) -> Correction:
        """Say who a track is; None for someone unknown.

        Args:
            track: which.
            name: who.
            everywhere: whether all tracks of that person or stranger are meant.
            new, displace: as for `Corrections.name`.
            learn: whether the gallery is to learn the face, when this is saved.

        Raises:
            NeedsConsent, UsageError: as for `Corrections.name`; or there is no gallery, or the face was never seen well
                enough.
            InputError: the gallery was made with another embedder.
        """
        with self._lock:
            group = self._corrections.group_of(track)
            tracks = group.tracks if everywhere else (track,)
            looks = self._looks(tracks) if learn else ()
            made = self._corrections.name(tracks, name, new=new, displace=displace, looks=looks)
            self._version += 1
            return made

    def undo(self, number: int) -> Correction:
        """Take the latest correction back; what was learned from it too, when that is saved.

        Raises:
            UsageError: it is not the latest, or was taken back.
        """
        with self._lock:
            undone = self._corrections.undo(number)
            self._version += 1
            return undone

    def redo(self, number: int) -> Correction:
        """Make the correction again that was taken back last.

        Raises:
            UsageError: that is not it, or there was another since.
        """
        with self._lock:
            done = self._corrections.redo(number)
            self._version += 1
            return done

    def save(self) -> int:
        """Write the corrections into the record, and what is to be learned into the gallery; returns how many tracks
        are called otherwise now.

        The record as it was before it was ever corrected is kept as `NAME.bak`.

        Raises:
            InputError: somebody else has changed the file meanwhile.
            OutputError: it cannot be written; it is as it was.
        """
        with self._lock:
            verdicts = self._corrections.verdicts
            changed = _differing(verdicts, self._saved)
            if changed:
                if _stamp(self.path) != self._stamp:
                    raise InputError(
                        f"{self.path} was changed by something else since this review began, and is left alone; "
                        f"start again to go on from what it is now"
                    )
                correct(self.path, self._written, changed)
                self._stamp = _stamp(self.path)
                self._saved, self._written = verdicts, self._corrections.record
                self._version += 1
            if self._teacher is not None and self._teacher.keep(self._corrections.lessons, self._crops):
                self._version += 1
            return len(changed)

    def render(self, *, replace: bool = False) -> None:
        """Begin to draw the saved record on its video again.

        Args:
            replace: whether the copy may take the place of a file.

        Raises:
            NeedsConsent: there is a file in the copy's place.
            UsageError: something is not saved yet, or a copy is being drawn.
        """
        with self._lock:
            if self._render is None or self.output is None:
                raise UsageError("no copy was asked for in this review")
            if self._rendering is not None and self._rendering.state == "running":
                raise UsageError("a copy is being drawn; wait for it, or stop it")
            if self.unsaved:
                raise UsageError("there are corrections that are not saved; save them first")
            if self.output.exists() and not replace:
                raise NeedsConsent(f"{self.output.name} exists; it would be replaced", "replace")
            self._rendering = Rendering(self._render, replace)

    def stop(self) -> None:
        """Stop drawing; what was finished is kept under a partial name."""
        if self._rendering is not None:
            self._rendering.stop()

    def scenes(self) -> dict[str, Any]:
        """What no correction changes, for a page: every frame's time, and every track's boxes on its frames."""
        record = self._written
        width, height = record.header.width, record.header.height
        tracks: dict[int, dict[str, Any]] = {}
        for frame in record.frames:
            for face in frame.faces:
                own = tracks.setdefault(face.track, {"track": face.track, "frames": [], "boxes": []})
                own["frames"].append(frame.index)
                x1, y1, x2, y2 = face.box.tolist()
                own["boxes"] += [
                    round(BOX_UNITS * share) for share in (x1 / width, y1 / height, x2 / width, y2 / height)
                ]
        ruler = Ruler.of(record)
        return {
            "record": self.path.name,
            "video": self.video.name,
            "output": self.output.name if self.output is not None else None,
            "gallery": Path(self._teacher.path).name if self._teacher is not None else None,
            "width": width,
            "height": height,
            "units": BOX_UNITS,
            "run": self.run,
            "times": [round(frame.time, 6) for frame in record.frames],
            "end": float(ruler.end(len(record.frames) - 1)) if record.frames else 0.0,
            "tracks": list(tracks.values()),
        }

    def state(self) -> dict[str, Any]:
        """What corrections change, for a page: who everybody is, when, and what can be done."""
        with self._lock:
            if self._shown is None or self._shown[0] != self._version:
                self._shown = self._version, self._state()
            shown = self._shown[1]
        return shown | {"rendering": self._rendering.as_dict() if self._rendering is not None else None}

    def _looks(self, tracks: Sequence[int]) -> list[Look]:
        """What the gallery can learn of them."""
        if self._teacher is None:
            raise UsageError("there is no gallery that could learn it; start the review with -g")
        wanted = frozenset(tracks)
        looks = worth_learning([sight for look, sight in self._sights.items() if look.track in wanted])
        self._teacher.check()
        return looks

    def _crops(self, looks: Sequence[Look]) -> NDArray[np.uint8]:
        return self.stills.aligned([self._sights[look] for look in looks])

    def _state(self) -> dict[str, Any]:
        corrections, record = self._corrections, self._corrections.record
        where = corrections.where()
        found = overview(record, where)
        return {
            "run": self.run,
            "version": self._version,
            "unsaved": self.unsaved,
            "unlearned": self.unlearned,
            "undo": _step(corrections.latest),
            "redo": _step(corrections.undone),
            "people": list(corrections.people),
            "groups": _groups(corrections, record, found, where),
            "timeline": _timeline(record, found, where),
        }


def _differing(verdicts: dict[int, TrackVerdict], others: dict[int, TrackVerdict]) -> dict[int, TrackVerdict]:
    return {track: verdict for track, verdict in verdicts.items() if verdict != others[track]}


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that took its place, or that was written to; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _step(made: Correction | None) -> dict[str, Any] | None:
    """A correction as a page is told of it."""
    if made is None:
        return None
    tracks = f"Track {made.tracks[0]}" if len(made.tracks) == 1 else f"{len(made.tracks)} tracks"
    learned = f", {count(len(made.looks), 'look')} to learn" if made.looks else ""
    return {"number": made.number, "words": f"{tracks}: {made.name or 'unknown'}{learned}"}


def _groups(corrections: Corrections, record: Tracks, found: Overview, where: Whereabouts) -> list[dict[str, Any]]:
    """Everybody, those with a name first, longest on screen first."""
    people = cast(record, where.known)
    tracks = {(group.known, group.label): group.tracks for group in corrections.groups()}
    similarity = {verdict.track: verdict.similarity for verdict in record.tracks}
    return [
        {
            "label": person.name,
            "name": person.name if known else None,
            "seconds": person.seconds,
            "share": person.share,
            "colour": _hex(colour_of(person.name, people) if known else STRANGER),
            "tracks": list(tracks[known, person.name]),
            "likeness": [similarity[track] for track in tracks[known, person.name]],
        }
        for known, persons in ((True, found.people), (False, found.strangers))
        for person in persons
    ]


def _timeline(record: Tracks, found: Overview, where: Whereabouts) -> dict[str, Any]:
    drawn = timeline(record, found, where)

    def lane(of: Lane) -> dict[str, Any]:
        return {
            "name": of.name,
            "numbers": of.numbers,
            "known": of.known,
            "spans": [[round(span.start, 3), round(span.end, 3), span.title, _hex(span.colour)] for span in of.spans],
        }

    return {
        "start": drawn.start,
        "end": drawn.end,
        "subtitle": drawn.subtitle,
        "marks": list(drawn.marks),
        "lanes": [lane(each) for each in drawn.lanes],
        "shots": lane(drawn.shots),
    }


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
