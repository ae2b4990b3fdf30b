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
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, UsageError
from stream.cuttings import Sight
from stream.filekind import is_photo
from stream.journal import has_finished
from stream.labelled_copy import work_folder
from stream.origin import check_belongs, video_of
from stream.probe import probe
from stream.review import view_model
from stream.review.corrections import Correction, Look, NeedsConsent
from stream.review.draft import Draft, TakenUp
from stream.review.record_file import RecordFile
from stream.review.rendering import Render, Rendering
from stream.review.stills import Stills
from stream.review.teaching import Teacher, worth_learning
from stream.review.unsaved_file import UnsavedFile


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
        OutputError: another review of the record is open, or a command is changing it.

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
        with contextlib.ExitStack() as opening:
            file = opening.enter_context(contextlib.closing(UnsavedFile(self.path)))
            self._record = RecordFile(self.path)
            record = self._record.record
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
            self.stills = opening.enter_context(Stills(self.video, info, record))
            self._lock = threading.Lock()
            self._sights = {
                Look(face.track, frame.index): Sight(frame, face) for frame in record.frames for face in frame.faces
            }
            self._teacher = teacher(self.video.name) if teacher is not None else None
            self._draft = Draft(self._record, file, people, self._teacher)
            self._render: Render | None = None
            self._goes_on = False
            self._rendering: Rendering | None = None
            self._version = 0
            self._shown: tuple[int, dict[str, Any]] | None = None
            self._opened = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # what is being saved is saved before another review may begin
            self.stop()
            self._opened.close()

    @property
    def rendering(self) -> Rendering | None:
        """The latest copy that is or was being drawn."""
        return self._rendering

    @property
    def taken_up(self) -> TakenUp:
        """What an earlier review left and is neither saved nor discarded yet."""
        return self._draft.taken_up

    @property
    def unsaved(self) -> int:
        """Tracks whose verdict is not what stands in the file."""
        return self._draft.unsaved

    @property
    def unlearned(self) -> int:
        """Looks that are still to be put into the gallery, or taken out again, by this review or the next with it."""
        return self._draft.unlearned

    @property
    def kept(self) -> Path | None:
        """Where the next review finds what is not saved; None if nothing is left, or nothing can be written there."""
        return self._draft.kept

    @property
    def notes(self) -> list[str]:
        """What else there is to say of what is not saved, in sentences without their full stops."""
        return self._draft.notes

    @property
    def corrected(self) -> int:
        """Tracks whose verdict in the file is not what it was when the review began."""
        return self._record.corrected

    @property
    def learned(self) -> int:
        """Looks that the gallery has from this review, not from earlier ones."""
        return self._teacher.learned if self._teacher is not None else 0

    @property
    def version(self) -> int:
        """Grows with every change of what `state` tells."""
        return self._version

    def draws(self, output: Path, render: Render, *, resume: bool = False) -> None:
        """From now on a copy may be drawn, to `output`. With `resume` the first one goes on with what is finished of it
        by then."""
        self.output, self._render, self._goes_on = output, render, resume

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
            corrections = self._draft.corrections
            group = corrections.group_of(track)
            tracks = group.tracks if everywhere else (track,)
            looks = self._looks(tracks) if learn else ()
            made = corrections.name(tracks, name, new=new, displace=displace, looks=looks)
            self._changed()
            return made

    def undo(self, number: int) -> Correction:
        """Take the latest correction back; what was learned from it too, when that is saved.

        Raises:
            UsageError: it is not the latest, or was taken back.
        """
        with self._lock:
            undone = self._draft.corrections.undo(number)
            self._changed()
            return undone

    def redo(self, number: int) -> Correction:
        """Make the correction again that was taken back last.

        Raises:
            UsageError: that is not it, or there was another since.
        """
        with self._lock:
            done = self._draft.corrections.redo(number)
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
            try:
                return self._draft.save(self._crops)
            finally:  # also where the gallery refuses what the record has taken
                self._version += 1

    def discard(self) -> None:
        """Forget what is not saved, for good: everybody is again who the record's file says. What the gallery has
        learned stays in it."""
        with self._lock:
            self._draft.discard()
            self._version += 1

    def render(self, *, replace: bool = False) -> None:
        """Begin to draw the saved record on its video again.

        Args:
            replace: whether the copy may take the place of a file.

        Raises:
            NeedsConsent: there is a file in the copy's place, or a part of the copy is finished.
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
            if has_finished(work_folder(self.output)) and not replace and not self._goes_on:
                raise NeedsConsent(f"{self.output.name} is finished in part; it would be begun anew", "replace")
            resume, self._goes_on = self._goes_on and not replace, False
            self._rendering = Rendering(self._render, resume, replace)

    def stop(self) -> None:
        """Stop drawing; what was finished is kept under a partial name."""
        if self._rendering is not None:
            self._rendering.stop()

    def scenes(self) -> dict[str, Any]:
        """What no correction changes, for a page: every frame's time, and every track's boxes on its frames."""
        return view_model.scenes(self._record.record) | {
            "record": self.path.name,
            "video": self.video.name,
            "output": self.output.name if self.output is not None else None,
            "gallery": Path(self._teacher.path).name if self._teacher is not None else None,
            "run": self.run,
            "place": hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:16],
        }

    def state(self) -> dict[str, Any]:
        """What corrections change, for a page: who everybody is, when, and what can be done."""
        with self._lock:
            if self._shown is None or self._shown[0] != self._version:
                self._shown = self._version, self._state()
            shown = self._shown[1]
        return shown | {"rendering": self._rendering.as_dict() if self._rendering is not None else None}

    def _changed(self) -> None:
        """Have a page look again, and the disk hold what is not saved."""
        self._version += 1
        self._draft.keep()

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
        draft = self._draft
        return view_model.state(draft.corrections) | {
            "run": self.run,
            "version": self._version,
            "unsaved": draft.unsaved,
            "unlearned": draft.to_learn,
            "taken_up": draft.taken_up.words if any(draft.taken_up) else None,
            "notes": draft.notes,
            "kept": draft.fault is None,
        }
