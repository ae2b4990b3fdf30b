"""What is said of a record and not saved yet: on the disk after every step, and gone on with by the next review."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, UsageError
from engine.wording import count
from stream.review.corrections import Corrections, Look
from stream.review.record_file import RecordFile
from stream.review.teaching import Taught, Teacher
from stream.review.unsaved_file import Unsaved, UnsavedFile


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


class Draft:
    """Corrections on their way into a record and a gallery.

    Args:
        record: where they are saved.
        file: where they are until then; what an earlier review left there is taken up, if it is about this very record.
        people: names that may be given without being asked whether they are meant.
        teacher: keeps the gallery that may learn from them; None where there is none.

    Raises:
        InputError: the gallery cannot be read.
        UsageError: what is there was to teach another gallery.
        OutputError: what is there is not taken up, and cannot be put aside.

    Example:
        >>> draft = Draft(RecordFile("mv.tracks.jsonl"), file, (), None)    # doctest: +SKIP
        >>> draft.corrections.name([12], "Yena", new=True)                  # doctest: +SKIP
        >>> draft.keep()                                                    # doctest: +SKIP
    """

    def __init__(self, record: RecordFile, file: UnsavedFile, people: Sequence[str], teacher: Teacher | None) -> None:
        self.corrections = Corrections(record.record, people)
        self.taken_up = TakenUp()
        """What an earlier review left and is neither saved nor discarded yet."""
        self._record = record
        self._file = file
        self._teacher = teacher
        self._waiting: Taught | None = None
        """What an earlier review taught a gallery that is not there now."""
        self._aside: str | None = None
        """Why what an earlier review left is not taken up."""
        self._take_up(people)

    @property
    def unsaved(self) -> int:
        """Tracks whose verdict is not what stands in the record's file."""
        return len(self._record.differing(self.corrections.record))

    @property
    def unlearned(self) -> int:
        """Looks that are still to be put into the gallery, or taken out again; here, or where there is no gallery, by
        the next review that has it."""
        taught = self._taught
        return taught.differing(self.corrections.lessons) if taught is not None else 0

    @property
    def to_learn(self) -> int:
        """Those of them that `save` puts in or takes out."""
        return self.unlearned if self._teacher is not None else 0

    @property
    def fault(self) -> str | None:
        """Why the next review would not find what is not saved; None if it would."""
        return self._file.fault

    @property
    def kept(self) -> Path | None:
        """Where the next review finds what is not saved; None if nothing is left, or nothing can be written there."""
        return self._file.path if self._open and self.fault is None else None

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
        if self.fault is not None:
            notes.append(f"what is not saved is lost if the review is cut short, for it cannot be kept: {self.fault}")
        return notes

    def keep(self) -> None:
        """Have the disk hold what is not saved; to be called after every correction."""
        if self._open:
            self._file.write(Unsaved(self._record.digest, self.corrections.history, self._taught))
        else:
            self.taken_up = TakenUp()
            self._file.remove()

    def save(self, crops: Callable[[Sequence[Look]], NDArray[np.uint8]]) -> int:
        """Write the corrections into the record, and what is to be learned into the gallery, if it is there.

        Args:
            crops: gives aligned faces, uint8 `[N,112,112,3]` RGB.

        Returns:
            How many tracks are called otherwise now.

        Raises:
            InputError, OutputError: as `RecordFile.save`, before anything is written; or as `Teacher.keep`, after the
                record is.
        """
        changed = self._record.save(self.corrections.record)
        if changed:
            self.taken_up = self.taken_up._replace(tracks=0)
            self.keep()  # what is still to be learned belongs to the record as it is now
        if self._teacher is not None and self._teacher.keep(self.corrections.lessons, crops, self.keep):
            self.keep()
        return changed

    def discard(self) -> None:
        """Forget what is not saved, for good. What the gallery has learned stays in it."""
        self.corrections.forget(self._record.verdicts)
        self._let_be()
        self.keep()

    @property
    def _taught(self) -> Taught | None:
        """What the gallery of this review has of it by now, or that of an earlier one."""
        return self._teacher.taught if self._teacher is not None else self._waiting

    @property
    def _open(self) -> bool:
        """Whether anything is not saved."""
        return bool(self.unsaved or self.unlearned)

    def _take_up(self, people: Sequence[str]) -> None:
        try:
            left = self._file.read()
        except InputError as error:
            self._aside = f"{error}; {self._left_aside()}"
            return
        if left is None:
            return
        earlier = self._corrections_of(left, people)
        if earlier is None:
            self._aside = (
                f"{self._file.path} is about this record as it was before something else changed it; "
                f"{self._left_aside()}"
            )
            return
        if left.taught is not None and left.looks:
            self._take_up_lessons(left.taught)
        fresh, self.corrections = self.corrections, earlier
        self.taken_up = TakenUp(self.unsaved, self.to_learn)
        if not self._open:  # all was saved, and stays as it is
            self.corrections = fresh
            self._let_be()
        self.keep()

    def _corrections_of(self, left: Unsaved, people: Sequence[str]) -> Corrections | None:
        """What had been said; None if it is not about this very record."""
        record = self._record.record
        faces = {Look(face.track, frame.index) for frame in record.frames for face in frame.faces}
        if not left.tracks.issubset(self._record.verdicts) or not left.looks.issubset(faces):
            return None
        earlier = Corrections(record, people, left.history)
        # A process may die after it has saved the record, and before it could say so: then both say the same.
        about = left.record == self._record.digest or not self._record.differing(earlier.record)
        return earlier if about else None

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

    def _let_be(self) -> None:
        """What a gallery has learned by now stays in it."""
        self._waiting = None
        if self._teacher is not None:
            self._teacher.let_be()

    def _left_aside(self) -> str:
        """What happens to what is not taken up."""
        return f"it is not taken up, and kept as {self._file.set_aside().name}; remove that if you do not need it"
