"""What a gallery learns from a review: the clearest looks at faces that somebody has said who they are.

Nothing is trained: their embeddings become photos of the person, and are taken out again where a correction is undone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.embedder import Embedder
from engine.errors import UsageError
from engine.gallery import Gallery
from engine.gallery_photos import put_in, rebuilt, take_out
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
    if not clear:
        raise UsageError("this face was never seen well enough to be learned; name it without that")
    return [Look(sight.face.track, sight.frame.index) for sight in choose(clear, LOOKS)]


@dataclass(frozen=True, slots=True)
class Kept:
    """A look that is in the gallery now."""

    name: str
    """As it was said."""
    spelt: str
    """As the gallery has it."""
    file: str
    """What the photo is called there."""


class Teacher:
    """Keeps a gallery's file in step with what is to be learned.

    Args:
        path: the file; changed as `Gallery.update` does.
        embedder: opens the network that the gallery was made with.
        source: what the photos are called after.

    Example:
        >>> teacher = Teacher("group.gallery", Embedder.open, "mv.mp4")     # doctest: +SKIP
        >>> teacher.keep({Look(12, 300): "Yena"}, crops)                    # doctest: +SKIP
        1
    """

    def __init__(self, path: str | os.PathLike[str], embedder: Callable[[], Embedder], source: str) -> None:
        self.path = os.fspath(path)
        self._open = embedder
        self._embedder: Embedder | None = None
        self._source = source
        self._kept: dict[Look, Kept] = {}
        self._past = 0

    @property
    def learned(self) -> int:
        """Looks that are in the gallery by now."""
        return self._past + len(self._kept)

    @property
    def kept(self) -> Mapping[Look, Kept]:
        """Those of them that can be taken out again."""
        return MappingProxyType(self._kept)

    def take_up(self, kept: Mapping[Look, Kept]) -> None:
        """Go on from what another teacher `kept` in the gallery, as far as it is there.

        Raises:
            InputError: the gallery cannot be read.
        """
        people = Gallery.load(self.path).photos_by_name() if kept else {}
        self._kept = {
            look: each for look, each in kept.items() if each.spelt in people and each.file in people[each.spelt].files
        }

    def let_be(self) -> None:
        """What is in the gallery by now stays there."""
        self._past, self._kept = self.learned, {}

    def differing(self, lessons: Mapping[Look, str]) -> int:
        """How many looks would have to be put into the gallery or taken out of it."""
        return len(self._absent(lessons)) + len(self._superfluous(lessons))

    def check(self) -> None:
        """Make ready to learn, which takes a second at first.

        Raises:
            InputError: the gallery cannot be read, or was made with another embedder.
        """
        if self._embedder is None:
            embedder = self._open()
            Gallery.load(self.path, embedder)
            self._embedder = embedder

    def keep(self, lessons: Mapping[Look, str], crops: Callable[[Sequence[Look]], NDArray[np.uint8]]) -> int:
        """Put into the gallery what is to be learned, and take out what was learned before and no longer is.

        Args:
            lessons: faces, and who they are.
            crops: gives aligned faces, uint8 `[N,112,112,3]` RGB.

        Returns:
            How many looks were put in or taken out.

        Raises:
            InputError: the file is no gallery of this embedder any more; then nothing has changed.
            OutputError: it cannot be written; it is as it was.
        """
        absent, superfluous = self._absent(lessons), self._superfluous(lessons)
        if not absent and not superfluous:
            return 0
        self.check()
        assert self._embedder is not None
        embedder = self._embedder
        embeddings = embedder.embed(crops(absent)) if absent else np.empty((0, embedder.dimension), np.float32)
        when = datetime.now().isoformat(sep=" ", timespec="milliseconds")
        files = [f"{self._source}, frame {look.frame}, track {look.track}, reviewed {when}" for look in absent]
        left: dict[Look, Kept] = {}

        def change(gallery: Gallery) -> Gallery:
            gallery.check_embedder(embedder, self.path)
            left.clear()
            left.update((look, kept) for look, kept in self._kept.items() if look not in superfluous)
            people = gallery.photos_by_name()
            for look in superfluous:
                take_out(people, self._kept[look].spelt, [self._kept[look].file])
            for look, file, embedding in zip(absent, files, embeddings, strict=True):
                spelt = put_in(people, lessons[look], Photos(embedding[None], (file,)))
                left[look] = Kept(lessons[look], spelt, file)
            return rebuilt(gallery, people)

        Gallery.update(self.path, change)
        self._kept = left
        return len(absent) + len(superfluous)

    def _absent(self, lessons: Mapping[Look, str]) -> list[Look]:
        return [look for look, name in lessons.items() if look not in self._kept or self._kept[look].name != name]

    def _superfluous(self, lessons: Mapping[Look, str]) -> list[Look]:
        return [look for look, kept in self._kept.items() if lessons.get(look) != kept.name]
