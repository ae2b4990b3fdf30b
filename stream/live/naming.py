"""Giving an unknown face a name while it is seen: from the next frame on it bears it, and the gallery keeps it.

Nothing is trained: the embeddings of the face's best looks become photos of the person. Every naming can be undone.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from engine.errors import InputError
from engine.gallery import Gallery
from engine.names import clean_name, same_person
from engine.photos import Photos
from stream.live.analysis import LiveAnalyser
from stream.live.run import Live

LONGEST_NAME = 80
"""Characters."""


@dataclass(frozen=True, slots=True)
class Given:
    """A name that was given by hand."""

    number: int
    """1, 2, 3 … in this run."""
    name: str
    """As the gallery spells it."""
    new: bool
    """Whether the gallery did not know the person before."""
    photos: tuple[str, ...]
    """What the gallery calls the looks that were added."""
    camera: int
    track: int
    analyser: LiveAnalyser


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
        self._count = 0

    def give(self, camera: int, epoch: int, track: int, name: str) -> Given:
        """From the next frame on this face is called `name`, and so is everybody who looks like it.

        `camera`, `epoch` and `track` say which face, as `Camera.number`, `Seen.epoch` and `Face.track` do.

        Raises:
            InputError: no name, too long a one; no such face has been seen lately, or never well enough.
            OutputError: the gallery's file cannot be written; then nothing has changed.
        """
        name = clean_name(name)
        if len(name) > LONGEST_NAME:
            raise InputError(f"a name of {len(name)} characters; {LONGEST_NAME} are the most")
        with self._lock:
            with self._live.working:
                analyser = self._analyser(camera, epoch)
                looks = analyser.looks_of(track) if analyser is not None else None
            if analyser is None or looks is None:
                raise InputError("that face is long gone, or was not seen well enough yet; wait for a better look")
            when = datetime.now().isoformat(sep=" ", timespec="milliseconds")
            photos = Photos(looks, tuple(f"live {when} {n}" for n in range(1, len(looks) + 1)))
            before = False
            known = name

            def change(gallery: Gallery) -> Gallery:
                nonlocal before, known
                self._check(gallery)
                known = next((person for person in gallery.people if same_person(person, name)), name)
                before = known in gallery.people
                return gallery.with_people({known: photos})

            gallery = Gallery.update(self._path, change)
            self._count += 1
            given = Given(self._count, known, not before, photos.files, camera, track, analyser)
            self._given[given.number] = given
            self._live.recognise(gallery)
            with self._live.working:
                analyser.say(track, known)
            return given

    def undo(self, number: int) -> Given:
        """Take a name back: the gallery is as if it had not been given, whatever was given since.

        Raises:
            InputError: no such naming, or it was undone; or the gallery's file is no longer what it was.
            OutputError: the gallery's file cannot be written.
        """
        with self._lock:
            given = self._given.get(number)
            if given is None:
                raise InputError("there is no such naming to undo, or it was undone already")

            def change(gallery: Gallery) -> Gallery:
                self._check(gallery)
                return without_photos(gallery, given.name, given.photos)

            gallery = Gallery.update(self._path, change)
            del self._given[number]
            self._live.recognise(gallery)
            with self._live.working:
                given.analyser.say(given.track, None)
            return given

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
        """The last naming that has not been undone."""
        return self._given[max(self._given)] if self._given else None


def without_photos(gallery: Gallery, name: str, files: tuple[str, ...]) -> Gallery:
    """The gallery without some photos of a person, and without the person if none is left.

    Raises:
        InputError: nobody is called so, or nobody would be left in the gallery.
    """
    everybody = {person: gallery.photos(at) for at, person in enumerate(gallery.people)}
    if name not in everybody:
        raise InputError(f"{name!r} is not in the gallery any more")
    theirs = everybody.pop(name)
    kept = theirs.select(np.array([file not in files for file in theirs.files], np.bool_))
    if len(kept):
        everybody[name] = kept
    if not everybody:
        raise InputError("nobody would be left in the gallery; delete the file instead")
    made = Gallery.build(
        everybody, gallery.embedder_sha256, gallery.threshold, gallery.embedder, gallery.made_by, gallery.method
    )
    return replace(made, calibration=gallery.calibration)
