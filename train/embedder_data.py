"""First part of the embedder's recipe: the faces, how often each is drawn, and what the teachers say of them."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.output_file import atomic_output
from engine.wording import count, count_people
from train.data.faces import FaceSet, Split, read_faces, read_names, split_faces
from train.embedder_eval import Embed
from train.embedder_memory import Memory, both_halves
from train.output import write_arrays
from train.teachers import Teachers, fit_projection, project


def prepare(data: Path) -> Split:
    """Read `faces.zip` and `people12.csv` of the folder `data` and divide them.

    The twelve people are kept aside whole, so that experiments on them never meet a network that has seen them.

    Raises:
        InputError: a file is missing or damaged.
    """
    return split_faces(read_faces(data / "faces.zip"), read_names(data / "people12.csv"))


DEV = "the faces of the set celeb that are kept aside, those of some 8 % of its people and of people12.csv,"
GROUP = "the faces of the other sets with the split {}"


def check_measurable(faces: FaceSet, what: str) -> None:
    """Refuse faces that have no pairs of one person or none of two, before hours are spent on what they should tell.

    Raises:
        InputError: it says `what` they are.
    """
    sizes = Counter(name for name in faces.people if name)
    if len(sizes) < 2 or max(sizes.values()) < 2:
        there = f"{count(len(faces), 'face')} of {count_people(len(sizes))}"
        raise InputError(f"{what} are {there}: to measure anything on them takes two people and two faces of one")


FITTED = 2048
"""Faces that linear maps of embeddings are fitted to."""


def some_rows(of: int, count: int) -> NDArray[np.intp]:
    """`count` rows `of` so many, ascending, always the same ones."""
    return np.sort(np.random.default_rng(0).permutation(of)[:count])


def weights_of(faces: FaceSet) -> NDArray[np.float64]:
    """How often each crop is drawn: those of the two small collections twice as often as those of the large one."""
    return np.where(np.array(faces.sets) == "celeb", 1.0, 2.0)


def write_pictures(faces: FaceSet, path: Path) -> None:
    """Write the pictures of `faces` to `path` (`.npy`), from where every process reads what it needs.

    Raises:
        OutputError: it cannot be written, or the disk is full.
    """
    with atomic_output(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.save(file, faces.pictures)


class Targets:
    """What a student should answer: the teachers' embeddings, projected to fewer dimensions, and what it remembers.

    Args:
        teachers: whom to ask.
        projection: `[T,D]`, of their answers.
        bank: `[M,D]`: the targets for all faces that are learnt from.
        memory: what the network is to go on answering, a second half of the targets; None: they have no such half.
    """

    def __init__(
        self,
        teachers: Teachers,
        projection: NDArray[np.float32],
        bank: NDArray[np.float32],
        memory: Memory | None = None,
    ) -> None:
        self._teachers, self.projection, self.bank, self._memory = teachers, projection, bank, memory

    @classmethod
    def fit(cls, teachers: Teachers, faces: FaceSet, dimension: int, known: Embed | None = None) -> Targets:
        """With the projection to `dimension` that fits the answers to `faces` best.

        Args:
            teachers: whom to ask.
            faces: all that are learnt from.
            dimension: of the teachers' part.
            known: what the network answers before it learns anything, if it is to be remembered.
        """
        answers = teachers(faces.centre())
        projection = fit_projection(answers, dimension)
        bank = project(answers, projection)
        if known is None:
            return cls(teachers, projection, bank)
        first = known(faces.centre())
        memory = Memory(known, first.mean(axis=0))
        return cls(teachers, projection, both_halves(bank, memory.centred(first)), memory)

    @classmethod
    def load(cls, teachers: Teachers, path: Path, known: Embed | None = None) -> Targets:
        """With what `save` wrote.

        Raises:
            InputError: it is missing or damaged, or another network is to be remembered now.
        """
        try:
            with np.load(path) as file:
                projection, bank = file["projection"], file["bank"]
                kept = (file["mean"], file["probe"]) if "mean" in file else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} cannot be read ({error}); start without --resume") from error
        if kept is None and known is None:
            return cls(teachers, projection, bank)
        other = InputError(f"{path}: what it remembers is not what --remember says now; give it as it was")
        if kept is None or known is None:
            raise other
        mean, probe = kept
        memory = Memory(known, mean)
        now = memory.probe()
        if now.shape != probe.shape or not np.allclose(now, probe, atol=1e-2):
            raise other
        return cls(teachers, projection, bank, memory)

    def save(self, path: Path) -> None:
        """Write projection, bank and the mean of what is remembered, so that a resumed training has the same.

        Raises:
            OutputError: it cannot be written, or the disk is full.
        """
        remembered = {} if self._memory is None else {"mean": self._memory.mean, "probe": self._memory.probe()}
        write_arrays(path, projection=self.projection, bank=self.bank, **remembered)

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors `[N,D]` for what the teachers see `[N,112,112,3]`."""
        taught = project(self._teachers(faces), self.projection)
        return taught if self._memory is None else both_halves(taught, self._memory(faces))
