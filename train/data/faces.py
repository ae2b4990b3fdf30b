"""The aligned face crops that the embedder learns from, and who is kept aside for choosing settings.

The archive holds JPEG crops of 128×128: the usual 112×112 template with 8 px more on every side, so that
shifts and rotations have something to show, and `people.csv` (file, set, person, split).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.archive import Read, files_of, rows_of, rows_of_file
from train.data.boxes import decode_image

CROP = 128
"""Side of a stored crop in pixels."""
FACE = 112
"""Side of the aligned face the networks see, in pixels."""
MARGIN = (CROP - FACE) // 2


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Face crops and what is known of each.

    Example:
        >>> s = FaceSet(np.zeros((2, 128, 128, 3), np.uint8), ("a.jpg", "b.jpg"), ("x", "x"), ("p", ""), ("", ""))
        >>> len(s), s.select(np.array([True, False])).files
        (2, ('a.jpg',))
    """

    pictures: NDArray[np.uint8]
    """`[N,S,S,3]` RGB, S = 128 px (with margin) or 112 px (without)."""
    files: tuple[str, ...]
    sets: tuple[str, ...]
    """The collection each crop is from."""
    people: tuple[str, ...]
    """Name or number of the person; empty where nobody knows."""
    splits: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.pictures)
        if not n == len(self.files) == len(self.sets) == len(self.people) == len(self.splits):
            raise ValueError(f"columns disagree: {n = }, {len(self.files) = }, {len(self.people) = }")

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> FaceSet:
        """The rows that `index` (positions or a mask) picks."""
        rows = np.flatnonzero(index) if index.dtype == np.bool_ else index

        def take(column: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(column[i] for i in rows)

        return FaceSet(self.pictures[rows], take(self.files), take(self.sets), take(self.people), take(self.splits))

    def and_then(self, other: FaceSet) -> FaceSet:
        """These rows, and after them those of another set with crops of the same size."""
        return FaceSet(
            np.concatenate([self.pictures, other.pictures]),
            self.files + other.files,
            self.sets + other.sets,
            self.people + other.people,
            self.splits + other.splits,
        )

    def centre(self) -> NDArray[np.uint8]:
        """`[N,112,112,3]`: the template part of every crop, without its margin."""
        if self.pictures.shape[1] == FACE:
            return self.pictures
        return self.pictures[:, MARGIN : MARGIN + FACE, MARGIN : MARGIN + FACE]


def _decode(read: Read, path: Path, name: str, side: int) -> NDArray[np.uint8]:
    picture = decode_image(read(name))
    if picture is None or picture.shape != (side, side, 3):
        but = "broken" if picture is None else f"{picture.shape[1]}×{picture.shape[0]}"
        raise InputError(f"{path}: {name} is no {side}×{side} picture, it is {but}")
    return picture


def _open(path: Path, table: str, columns: Sequence[str]) -> tuple[list[str], Read, list[dict[str, str]]]:
    """The names in an archive, what reads them, and the rows of its table."""
    if not path.exists():
        raise InputError(f"{path} is not there; give the archive of face crops")
    names, read = files_of(path)
    if table not in names:
        raise InputError(f"{path} is no archive of face crops: it holds no {table}")
    return names, read, rows_of(read(table), columns, f"{path}: {table}")


def read_faces(path: Path, keep: Callable[[dict[str, str]], bool] | None = None) -> FaceSet:
    """Read an archive of 128×128 crops with its `people.csv`.

    Args:
        path: the archive.
        keep: says of a row of the table whether its crop is wanted; the others are not decoded.

    Raises:
        InputError: the archive is missing, is no zip, lacks the table or one of its pictures, or one is broken.
    """
    _, read, rows = _open(path, "people.csv", ("file", "set", "person", "split"))
    if keep is not None:
        rows = [row for row in rows if keep(row)]
    pictures = np.empty((len(rows), CROP, CROP, 3), np.uint8)
    for i, row in enumerate(rows):
        pictures[i] = _decode(read, path, row["file"], CROP)

    def column(name: str) -> tuple[str, ...]:
        return tuple(row[name] for row in rows)

    return FaceSet(pictures, column("file"), column("set"), column("person"), column("split"))


@dataclass(frozen=True, slots=True)
class Pairs:
    """A verification benchmark: pictures and which two of them are compared."""

    pictures: NDArray[np.uint8]
    """`[N,112,112,3]` RGB."""
    left: NDArray[np.intp]
    """`[P]` positions in `pictures`."""
    right: NDArray[np.intp]
    same: NDArray[np.bool_]
    """`[P]` whether the two show one person. Folds are consecutive, of equal size."""

    def similarities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[P]` cosine of every pair, from unit `embeddings` `[N,D]` of `pictures`."""
        return np.asarray(np.einsum("pd,pd->p", embeddings[self.left], embeddings[self.right]), np.float32)


def read_pairs(path: Path) -> Pairs:
    """Read an archive of 112×112 faces with `pairs.csv` (a, b, same), the folds in order.

    Raises:
        InputError: as `read_faces`.
    """
    stored, read, rows = _open(path, "pairs.csv", ("a", "b", "same"))
    if not rows:
        raise InputError(f"{path}: pairs.csv holds no pairs")
    if odd := {row["same"] for row in rows} - {"0", "1"}:
        raise InputError(f"{path}: pairs.csv: same is {min(odd)!r}; it is 1 for two pictures of one person, else 0")
    names = sorted({row[key] for row in rows for key in ("a", "b")})
    members = {Path(n).name: n for n in stored}
    place = {name: i for i, name in enumerate(names)}
    pictures = np.empty((len(names), FACE, FACE, 3), np.uint8)
    for name, i in place.items():
        pictures[i] = _decode(read, path, members.get(Path(name).name, name), FACE)
    return Pairs(
        pictures,
        np.array([place[row["a"]] for row in rows], np.intp),
        np.array([place[row["b"]] for row in rows], np.intp),
        np.array([row["same"] == "1" for row in rows], np.bool_),
    )


def read_names(path: Path) -> frozenset[str]:
    """The `person` column of a CSV file: people to be kept aside.

    Raises:
        InputError: the file is missing or has no such column.
    """
    return frozenset(row["person"] for row in rows_of_file(path, ["person"], "a table with a column `person`"))


def kept_aside(people: Iterable[str], always: frozenset[str], share: float = 0.08) -> Iterator[bool]:
    """For each crop, whether its person belongs to the dev part, on which settings are chosen.

    The choice hangs on the person's name alone, so it is the same in every run and for every order of the files.
    Crops without a name are never dev: they could show anybody.

    Example:
        >>> list(kept_aside(["ann", "", "ann", "bob"], frozenset({"bob"}), share=0.0))
        [False, False, False, True]
    """
    for person in people:
        number = int.from_bytes(hashlib.sha256(person.encode()).digest()[:4], "big") / 2**32
        yield bool(person) and (person in always or number < share)


@dataclass(frozen=True, slots=True)
class Split:
    """The archive divided for learning without names and for measuring with names."""

    learn: FaceSet
    """What is distilled on; the names in it are not used."""
    dev: FaceSet
    """Other people of the same large collection: for choosing settings and the threshold."""
    group_dev: FaceSet
    group_test: FaceSet
    """Photos of the small group that nothing was learned from."""


def split_faces(faces: FaceSet, always: frozenset[str] = frozenset()) -> Split:
    """Divide `faces` into the part to learn from and the parts to measure on, which share no picture.

    A collection with own `dev` and `test` splits keeps them; of the others, the people that `kept_aside` names are dev.
    """
    splits = np.array(faces.splits)
    dev = np.array(list(kept_aside(faces.people, always)), np.bool_)
    large = np.array(faces.sets) == "celeb"
    measured = np.isin(splits, ["dev", "test"]) & ~large
    return Split(
        faces.select(~measured & ~(large & dev)),
        faces.select(large & dev),
        faces.select(measured & (splits == "dev")),
        faces.select(measured & (splits == "test")),
    )
