"""What a gallery learns from a review: the clearest looks at faces that somebody has said who they are.

Nothing is trained: their embeddings become photos of the person, and are taken out again where a correction is undone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.embedder import Embedder
from engine.errors import UsageError
from engine.gallery import Gallery
from engine.gallery_photos import put_in, take_out
from engine.levelling import is_tilted
from engine.photos import Photos
from stream.cuttings import Sight, choose
from stream.identity import face_quality
from stream.review.corrections import Look

LOOKS = 8
"""Looks that are learned from one correction at the most, spread over the tracks' time."""
CLEAR = 0.1
"""Quality of a look (`face_quality`) from which it is worth learning."""


def worth_learning(sights: Sequence[Sight]) -> list[Look]:
    """The clearest looks among these.

    Raises:
        UsageError: none is clear enough.
    """
    clear = [sight for sight in sights if face_quality(sight.face.box, sight.face.score, sight.face.landmarks) >= CLEAR]
    # A record's points lag behind heads that are tilted far (`engine.levelling`).
    clear = [sight for sight in clear if not is_tilted(sight.face.landmarks)] or clear
    if not clear:
        raise UsageError("this face was never seen well enough to be learned; name it without that")
    return [Look(sight.face.track, sight.frame.index) for sight in choose(clear, LOOKS)]


@dataclass(frozen=True, slots=True)
class Kept:
    """A look that is in the gallery now."""

    name: str
    """As it was said; the gallery may spell it otherwise, or have renamed the person since."""
    file: str
    """What the photo is called there."""


@dataclass(frozen=True, slots=True)
class Taught:
    """What a gallery has learned, for another teacher to go on from."""

    gallery: str
    """Its file."""
    kept: Mapping[Look, Kept] = field(default_factory=dict)
    """Looks that are in the gallery by now, and can be taken out again."""
    intended: Mapping[Look, Kept] = field(default_factory=dict)
    """What is being put there: whether it has been, if whoever does so dies, the gallery alone knows."""

    def is_in(self, path: str | os.PathLike[str]) -> bool:
        """Whether that is its gallery, which may have been moved."""
        there = os.path.realpath(path)
        moved = not os.path.exists(self.gallery) and Path(self.gallery).name == Path(there).name
        return there == self.gallery or moved

    def absent(self, lessons: Mapping[Look, str]) -> list[Look]:
        """What would have to be put into the gallery."""
        return [look for look, name in lessons.items() if look not in self.kept or self.kept[look].name != name]

    def superfluous(self, lessons: Mapping[Look, str]) -> list[Look]:
        """What would have to be taken out of it."""
        return [look for look, kept in self.kept.items() if lessons.get(look) != kept.name]

    def differing(self, lessons: Mapping[Look, str]) -> int:
        """How many looks would have to be put in or taken out."""
        return len(self.absent(lessons)) + len(self.superfluous(lessons))


class Teacher:
    """Keeps a gallery's file in step with what is to be learned.

    Args:
        path: the file; changed as `Gallery.update` does.
        embedder: opens the network that the gallery was made with.
        source: what the photos are called after.

    Example:
        >>> teacher = Teacher("group.gallery", Embedder.open, "mv.mp4")     # doctest: +SKIP
        >>> teacher.keep({Look(12, 300): "Yena"}, crops, note)              # doctest: +SKIP
        1
    """

    def __init__(self, path: str | os.PathLike[str], embedder: Callable[[], Embedder], source: str) -> None:
        self.path = os.fspath(path)
        self._open = embedder
        self._embedder: Embedder | None = None
        self._source = source
        self._earlier: frozenset[str] = frozenset()
        """Files of looks that another teacher put in."""
        self._past = 0
        self.taught = Taught(os.path.realpath(path))
        """What the gallery has learned by now, and can be taken out again."""

    @property
    def learned(self) -> int:
        """Looks that this teacher has put into the gallery and not taken out again."""
        return self._past + sum(kept.file not in self._earlier for kept in self.taught.kept.values())

    def take_up(self, earlier: Taught) -> None:
        """Go on from what another teacher has taught the gallery, as far as it is there.

        Raises:
            InputError: the gallery cannot be read.
        """
        noted = [*earlier.kept.items(), *earlier.intended.items()]
        people = Gallery.load(self.path).persons if noted else ()
        there = {file for person in people for file in person.photos}
        self.taught = replace(self.taught, kept={look: kept for look, kept in noted if kept.file in there})
        self._earlier = frozenset(kept.file for kept in self.taught.kept.values())

    def let_be(self) -> None:
        """What is in the gallery by now stays there."""
        self._past, self.taught = self.learned, replace(self.taught, kept={})

    def check(self) -> None:
        """Make ready to learn, which takes a second at first.

        Raises:
            InputError: the gallery cannot be read, or was made with another embedder.
        """
        if self._embedder is None:
            embedder = self._open()
            Gallery.load(self.path, embedder)
            self._embedder = embedder

    def keep(
        self,
        lessons: Mapping[Look, str],
        crops: Callable[[Sequence[Look]], NDArray[np.uint8]],
        note: Callable[[], None],
    ) -> int:
        """Put into the gallery what is to be learned, and take out what was learned before and no longer is.

        Args:
            lessons: faces, and who they are.
            crops: gives aligned faces, uint8 `[N,112,112,3]` RGB.
            note: called just before the gallery is changed: `taught` then says what it is about to have.

        Returns:
            How many looks were put in or taken out.

        Raises:
            InputError: the file is no gallery of this embedder any more; then nothing has changed.
            OutputError: it cannot be written; it is as it was.
            UsageError: nobody would be left in it.
        """
        taught = self.taught
        absent, superfluous = taught.absent(lessons), taught.superfluous(lessons)
        if not absent and not superfluous:
            return 0
        self.check()
        assert self._embedder is not None
        embedder = self._embedder
        embeddings = np.empty((0, embedder.dimension), np.float32)
        if absent:
            embeddings = embedder.embed(crops(absent), mirrored=True)
        when = datetime.now().isoformat(sep=" ", timespec="milliseconds")
        intended = {
            look: Kept(lessons[look], f"{self._source}, frame {look.frame}, track {look.track}, reviewed {when}")
            for look in absent
        }
        gone = {taught.kept[look].file for look in superfluous}

        def change(gallery: Gallery) -> Gallery:
            gallery.check_embedder(embedder, self.path)
            people = gallery.photos_by_name()
            for name in tuple(people):  # whoever they are called there by now
                take_out(people, name, gone)
            for kept, embedding in zip(intended.values(), embeddings, strict=True):
                put_in(people, kept.name, Photos(embedding[None], (kept.file,)))
            return gallery.rebuilt(people)

        self.taught = replace(taught, intended=intended)
        try:
            note()
            Gallery.update(self.path, change)
        except Exception:
            self.taught = taught
            raise
        stay = {look: kept for look, kept in taught.kept.items() if look not in superfluous}
        self.taught = replace(taught, kept=stay | intended)
        return len(absent) + len(superfluous)
