"""A record that is being reviewed: its video, its corrections, its file, and the copy that is drawn from it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from engine.checksum import sha256_of
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
from stream.review.teaching import Taught, Teacher, worth_learning
from stream.review.unsaved import Unsaved, UnsavedFile
from stream.styles import Colour, colour_of
from stream.summary import Overview, overview
from stream.takes import Ruler, cast
from stream.teach import video_of
from stream.timeline import STRANGER, Lane, timeline
from stream.tracks import Tracks, read
from stream.whereabouts import Whereabouts

BOX_UNITS = 10_000
"""Boxes are told in these parts of the picture's width and height."""


class TakenUp(NamedTuple):
    """What an earlier review of the record did not save."""

    tracks: int = 0
    """Whose verdict is not what stands in the file."""
    looks: int = 0
    """To be put into the gallery, or taken out of it."""

    @property
    def words(self) -> str:
        """A sentence without its full stop.

        Example:
            >>> TakenUp(1, 8).words
            '1 corrected track and 8 looks for the gallery, which an earlier review did not save, are taken up'
        """
        parts = (count(self.tracks, "corrected track"), f"{count(self.looks, 'look')} for the gallery")
        what = " and ".join(part for part, number in zip(parts, self, strict=True) if number)
        return f"{what}, which an earlier review did not save, {'is' if sum(self) == 1 else 'are'} taken up"


class Review:
    """May be called from any thread; changes wait for each other. What is not saved outlives the process, in
    `NAME.tracks.jsonl.unsaved`, and is taken up by the next review of the very same record.

    Args:
        tracks: the record; changed by `save` alone.
        video: what it was made of; None looks where the record says, then beside it.
        people: names that may be given without being asked whether they are meant.
        teacher: keeps the gallery that may learn from corrections, for a video of that name; None where there is none.

    Raises:
        InputError: the record or the video cannot be read, or they do not belong together.
        UsageError: it is a photo's record; or an earlier review that did not save everything taught another gallery.
        OutputError: another review of the record is running.

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
        self._file = UnsavedFile(self.path)
        with contextlib.ExitStack() as failing:
            failing.callback(self._file.close)
            self._stamp, self._digest = _stamp(self.path), sha256_of(self.path)
            record = read(self.path)
            if not record.frames:
                raise InputError(f"{self.path} holds no frame, so there is nothing to review")
            self.video = video_of(record, self.path, video)
            if is_photo(self.video):
                raise UsageError(f"{self.video} is a photo; correct its record with: iznet tracks rename {self.path}")
            info = probe(self.video).info
            check_belongs(record, tracks, info)
            self.run = secrets.token_hex(8)
            """Tells this review from those at the same address before and after it: a page of theirs changes nothing
            here, and a browser does not take their pictures for these."""
            self.output: Path | None = None
            """Where the copy goes that is drawn anew."""
            self.stills = Stills(self.video, info, record)
            self._lock = threading.Lock()
            self._corrections = Corrections(record, people)
            self._sights = {
                Look(face.track, frame.index): Sight(frame, face) for frame in record.frames for face in frame.faces
            }
            self._teacher = teacher(self.video.name) if teacher is not None else None
            self._waiting: Taught | None = None
            """What an earlier review taught a gallery that is not there now."""
            self._saved = self._began = self._corrections.verdicts
            """The verdicts that stand in the file."""
            self._written = record
            self._render: Render | None = None
            self._rendering: Rendering | None = None
            self._version = 0
            self._shown: tuple[int, dict[str, Any]] | None = None
            self._aside: str | None = None
            """Why what an earlier review left is not taken up."""
            self.taken_up = TakenUp()
            """What an earlier review left and is neither saved nor discarded yet."""
            self._take_up(people)
            failing.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rendering is not None:
            self._rendering.stop()
        self.stills.__exit__(kind, error, trace)
        self._file.close()

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
        """Looks that are still to be put into the gallery, or taken out again; here, or where there is no gallery, by
        the next review that has it."""
        taught = self._taught
        return taught.differing(self._corrections.lessons) if taught is not None else 0

    @property
    def learned(self) -> int:
        """Looks that the gallery has from this review, not from earlier ones."""
        return self._teacher.learned if self._teacher is not None else 0

    @property
    def kept(self) -> Path | None:
        """Where the next review finds what is not saved; None if nothing is left, or nothing can be written there."""
        return self._file.path if self._open and self._file.fault is None else None

    @property
    def notes(self) -> list[str]:
        """What else there is to say of what is not saved, in sentences without their full stops."""
        notes = [self._aside] if self._aside else []
        if self._waiting is not None and (looks := self.unlearned):
            gallery = self._waiting.gallery
            notes.append(
                f"{count(looks, 'look')} for {gallery} {'waits' if looks == 1 else 'wait'} in {self._file.path} for a "
                f"review with -g {gallery}"
            )
        if (fault := self._file.fault) is not None:
            notes.append(f"what is not saved is lost if the review is cut short, for it cannot be kept: {fault}")
        return notes

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
            self._changed()
            return made

    def undo(self, number: int) -> Correction:
        """Take the latest correction back; what was learned from it too, when that is saved.

        Raises:
            UsageError: it is not the latest, or was taken back.
        """
        with self._lock:
            undone = self._corrections.undo(number)
            self._changed()
            return undone

    def redo(self, number: int) -> Correction:
        """Make the correction again that was taken back last.

        Raises:
            UsageError: that is not it, or there was another since.
        """
        with self._lock:
            done = self._corrections.redo(number)
            self._changed()
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
                self._stamp, self._digest = _stamp(self.path), sha256_of(self.path)
                self._saved, self._written = verdicts, self._corrections.record
                self.taken_up = self.taken_up._replace(tracks=0)
                self._changed()  # what is still to be learned belongs to the record as it is now
            lessons = self._corrections.lessons
            if self._teacher is not None and self._teacher.keep(lessons, self._crops, self._keep):
                self.taken_up = TakenUp()
                self._changed()
            return len(changed)

    def discard(self) -> None:
        """Forget what is not saved, for good: everybody is again who the record's file says. What the gallery has
        learned stays in it."""
        with self._lock:
            self._corrections.forget(self._saved)
            if self._teacher is not None:
                self._teacher.let_be()
            self._waiting = None
            self.taken_up = TakenUp()
            self._changed()

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
            "place": hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:16],
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

    @property
    def _taught(self) -> Taught | None:
        """What the gallery of this review has of it by now, or that of an earlier one."""
        return self._teacher.taught if self._teacher is not None else self._waiting

    @property
    def _to_learn(self) -> int:
        """Looks that are put into the gallery, or taken out of it, when this is saved."""
        return self.unlearned if self._teacher is not None else 0

    @property
    def _open(self) -> bool:
        """Whether anything is not saved."""
        return bool(self.unsaved or self.unlearned)

    def _changed(self) -> None:
        """Have a page look again, and the disk hold what is not saved."""
        self._version += 1
        self._keep()

    def _keep(self) -> None:
        if self._open:
            self._file.write(Unsaved(self._digest, self._corrections.history, self._taught))
        else:
            self._file.remove()

    def _take_up(self, people: Sequence[str]) -> None:
        """Go on from what an earlier review left, if it is about this very record."""
        try:
            left = self._file.read()
        except InputError as error:
            self._aside = f"{error}; {self._left_aside()}"
            return
        if left is None:
            return
        there = left.tracks.issubset(self._saved) and left.looks.issubset(self._sights)
        corrections = Corrections(self._written, people, left.history) if there else None
        # A process may die after it has saved the record, and before it could say so: then both say the same.
        if corrections is None or (left.record != self._digest and corrections.verdicts != self._saved):
            self._aside = (
                f"{self._file.path} is about this record as it was before something else changed it; "
                f"{self._left_aside()}"
            )
            return
        if left.taught is not None and left.looks:
            self._take_up_lessons(left.taught)
        fresh, self._corrections = self._corrections, corrections
        self.taken_up = TakenUp(self.unsaved, self._to_learn)
        if not self._open:  # all was saved, and stays as it is
            self._corrections, self._waiting = fresh, None
            if self._teacher is not None:
                self._teacher.let_be()
        self._keep()

    def _take_up_lessons(self, taught: Taught) -> None:
        if self._teacher is None:
            self._waiting = taught
        elif taught.is_in(self._teacher.path):
            self._teacher.take_up(taught)
        else:
            raise UsageError(
                f"{self._file.path} has corrections that {taught.gallery} learns from, not {self._teacher.path}; start "
                f"again with -g {taught.gallery}, or without -g to correct names alone"
            )

    def _left_aside(self) -> str:
        """What happens to what is not taken up."""
        return f"it is not taken up, and kept as {self._file.set_aside().name}; remove that if you do not need it"

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
            "unlearned": self._to_learn,
            "undo": _step(corrections.latest),
            "redo": _step(corrections.undone),
            "taken_up": self.taken_up.words if any(self.taken_up) else None,
            "notes": self.notes,
            "kept": self._file.fault is None,
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
