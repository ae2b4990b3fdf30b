"""Giving an unknown face a name while it is seen: from the next frame on it bears it, and the gallery keeps it.

Nothing is trained: the embeddings of the face's best looks become photos of the person. Every naming can be undone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from engine.errors import InputError
from engine.gallery import Gallery
from engine.gallery_photos import put_in, take_out
from engine.names import asked_name, same_person
from engine.photos import Photos
from stream.live.analysis import LiveAnalyser
from stream.live.run import Live


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A name that was given by hand."""

    number: int
    """1, 2, 3 … in this run."""
    name: str
    """As the gallery spells it."""
    new: bool
    """Whether the gallery did not know the person before."""
    photos: Photos
    """The looks that were added."""
    camera: int
    track: int
    analyser: LiveAnalyser
    clear: bool
    """Whether the face was seen clearly then."""
    corrects: Withdrawn | None = None
    """The name that was given to this face before, which this one took the place of; None too where the gallery knew
    nothing of it any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Withdrawn:
    """A name that a later one of the same face has taken the place of."""

    given: Given
    photos: Photos
    """What of its looks was still in the gallery then."""


def _one_after_another(given: Given) -> Iterator[Given]:
    """A naming, the one that it corrected, the one that this had corrected, and so on."""
    yield given
    while given.corrects is not None:
        given = given.corrects.given
        yield given


class NameDesk:
    """Takes names for faces that are seen in a run or were lately, and takes them back.

    May be called from any thread; two calls wait for each other.

    Args:
        live: the run; it has a gallery.
        path: the gallery's file, which is changed as `Gallery.update` does.

    Example:
        >>> desk = NameDesk(live, "group.gallery")                          # doctest: +SKIP
        >>> given = desk.give(0, 1, track=12, name="Yena")         # doctest: +SKIP
        >>> desk.undo(given.number)                                         # doctest: +SKIP
    """

    def __init__(self, live: Live, path: str | os.PathLike[str]) -> None:
        self._live = live
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._given: dict[int, Given] = {}
        """The namings that hold, by number. Never changed but replaced, so that it may be read without the lock."""
        self._count = 0

    def give(self, camera: int, epoch: int, track: int, name: str) -> Given:
        """From the next frame on this face is called `name`, and so is everybody who looks like it.

        If it was given another name in this run, that was a mistake: its looks are taken from that person. So it is
        where the face has been lost and found since, and looks beyond doubt like the one that was named.
        `camera`, `epoch` and `track` say which face, as `Camera.number`, `Seen.epoch` and `Face.track` do.

        Raises:
            UsageError: no name that can be given, as `asked_name`.
            InputError: no such face has been seen lately, or never well enough.
            OutputError: the gallery's file cannot be written; then nothing has changed.
        """
        name = asked_name(name)
        with self._lock:
            with self._live.working:
                analyser = self._analyser(camera, epoch)
                looks = analyser.looks_of(track) if analyser is not None else None
                clear = analyser is not None and analyser.is_clear(track)
            if analyser is None or looks is None:
                raise InputError("that face is long gone, or was not seen well enough yet; wait for a better look")
            when = datetime.now().isoformat(sep=" ", timespec="milliseconds")
            photos = Photos(looks, tuple(f"live {when} {n}" for n in range(1, len(looks) + 1)))
            given = Given(self._count + 1, name, True, photos, camera, track, analyser, clear)
            earlier = self._name_of(analyser, track) or self._other_name_of(given)

            def change(gallery: Gallery) -> Gallery:
                nonlocal given
                self._check(gallery)
                people = gallery.photos_by_name()
                withdrawn = take_out(people, earlier.name, earlier.photos.files) if earlier is not None else None
                known = put_in(people, name, photos)
                corrects = Withdrawn(earlier, withdrawn) if earlier is not None and withdrawn is not None else None
                given = replace(given, name=known, new=known not in gallery.people, corrects=corrects)
                return gallery.rebuilt(people)

            self._recognise(change)
            self._count = given.number
            self._given = {n: g for n, g in self._given.items() if g is not earlier} | {given.number: given}
            with self._live.working:
                self._tell(_one_after_another(given), given.name)
            return given

    def undo(self, number: int) -> Given:
        """Take a name back: the gallery is as if it had not been given, whatever was given since. What it corrected
        holds again.

        Where the gallery does not know the person any more there is nothing to take back: the naming is forgotten, so
        that earlier ones can be undone.

        Raises:
            InputError: no such naming, or it was undone or corrected; or the person is not in the gallery any more; or
                the gallery's file is no longer what it was.
            UsageError: nobody would be left in the gallery.
            OutputError: the gallery's file cannot be written.
        """
        with self._lock:
            given = self._given.get(number)
            if given is None:
                raise InputError("there is no such naming to undo, or it was undone already")
            earlier, gone = given.corrects, False

            def change(gallery: Gallery) -> Gallery:
                nonlocal earlier, gone
                self._check(gallery)
                people = gallery.photos_by_name()
                if given.name not in people:
                    earlier, gone = None, True
                    return gallery
                take_out(people, given.name, given.photos.files)
                if earlier is not None:
                    put_in(people, earlier.given.name, earlier.photos)
                return gallery.rebuilt(people)

            self._recognise(change)
            again = {earlier.given.number: earlier.given} if earlier is not None else {}
            self._given = {n: g for n, g in self._given.items() if n != number} | again
            with self._live.working:
                self._tell(_one_after_another(given), None)
                if earlier is not None:
                    self._tell(_one_after_another(earlier.given), earlier.given.name)
            if gone:
                raise InputError(f"{given.name!r} is not in the gallery any more")
            return given

    def _recognise(self, change: Callable[[Gallery], Gallery]) -> None:
        """Change the gallery's file, and know its people from the next frame on."""
        self._live.recognise(Gallery.update(self._path, change))

    def _tell(self, faces: Iterable[Given], name: str | None) -> None:
        """Say `name` to faces that were named, which may all still be seen, at several cameras; but to one that bears a
        name of its own that one."""
        for face in faces:
            own = self._name_of(face.analyser, face.track)
            face.analyser.say(face.track, own.name if own is not None else name)

    def _name_of(self, analyser: LiveAnalyser, track: int) -> Given | None:
        """What a face was called by hand, where that holds."""
        holding = [g for g in self._given.values() if g.analyser is analyser and g.track == track]
        return max(holding, key=lambda each: each.number, default=None)

    def _other_name_of(self, now: Given) -> Given | None:
        """The other name that was given to the face most like this one, if that is beyond doubt the same face.

        Both were seen clearly and never side by side, and their looks are on average more than half way from where two
        are taken for one person to where they are one picture.
        """
        gallery = self._live.gallery
        if gallery is None or not now.clear:
            return None
        with self._live.working:
            others = [
                (float((now.photos.embeddings @ given.photos.embeddings.T).mean()), given)
                for given in self._given.values()
                if given.clear
                and not same_person(given.name, now.name)
                and not (given.analyser is now.analyser and now.analyser.met(given.track, now.track))
            ]
        likeness, given = max(others, key=lambda other: other[0], default=(-1.0, None))
        return given if likeness > 0.5 * (1.0 + gallery.threshold) else None

    def _analyser(self, camera: int, epoch: int) -> LiveAnalyser | None:
        if not 0 <= camera < len(self._live.cameras) or self._live.cameras[camera].epoch != epoch:
            return None
        return self._live.cameras[camera].analyser

    def _check(self, gallery: Gallery) -> None:
        """Somebody may have put another gallery into the file since the run began."""
        running = self._live.gallery
        if running is None or gallery.embedder_sha256 != running.embedder_sha256:
            raise InputError(f"{self._path}: now holds a gallery of another embedder; start again with it")

    @property
    def latest(self) -> Given | None:
        """The last naming that holds."""
        given = self._given
        return given[max(given)] if given else None
