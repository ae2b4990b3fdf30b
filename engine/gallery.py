"""Known people: prototypes on the unit sphere, and who is nearest.

Distances are Euclidean between unit vectors, 0…2, never squared; cosine c and distance d tell the same: d² = 2 − 2c.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine import archive
from engine.errors import InputError, OutputError
from engine.nearest import two_nearest

if TYPE_CHECKING:
    from engine.embedder import Embedder

SCHEMA = "iznet.gallery/1.0"


@dataclass(frozen=True, slots=True)
class Person:
    """What a gallery knows of one person, besides the vectors."""

    name: str
    photos: tuple[str, ...]
    """File names of the photos used, one for each embedding."""
    medoid: int
    """Which photo has the smallest total distance to the others."""
    spread: float
    """Median Euclidean distance from the medoid to the other photos; 0 where there is only one."""
    radius: float
    """The largest of those distances."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Who a batch of faces resembles."""

    names: list[str | None]
    """The nearest person's name where the cosine reaches the threshold, else None."""
    nearest: NDArray[np.intp]
    """`[N]` positions in `Gallery.people`; -1 for an embedding that is not finite."""
    similarities: NDArray[np.float32]
    """`[N]` cosine to the nearest prototype; -1 where there is none."""
    second: NDArray[np.float32]
    """`[N]` cosine to the nearest prototype of the second-nearest person; -1 where there is none."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Known people. Build one with `Gallery.build` or read one with `Gallery.load`.

    Example:
        >>> e = np.eye(4, dtype=np.float32)
        >>> gallery = Gallery.build({"yuri": e[:1], "민주": e[1:2]}, embedder_sha256="", threshold=0.4)
        >>> gallery.people
        ('yuri', '민주')
        >>> gallery.identify(e[1:3]).names
        ['민주', None]
    """

    persons: tuple[Person, ...]
    prototypes: NDArray[np.float32]
    """`[P,D]` unit vectors."""
    owners: NDArray[np.int32]
    """`[P]` whose prototype it is: positions in `people`."""
    embeddings: NDArray[np.float32]
    """`[M,D]` unit vectors of all enrolled photos, person by person in the order of `Person.photos`."""
    threshold: float
    """The cosine from which on a face is given a name."""
    embedder: str
    """The name of the network that made the vectors."""
    embedder_sha256: str
    method: str = "medoid"
    """How the prototypes were chosen."""
    made_by: str = ""
    """The program and version that made the gallery."""
    file_sha256: str = ""
    """Of the file it was read from; empty for one that was built."""

    @classmethod
    def build(
        cls,
        people: Mapping[str, NDArray[np.float32]],
        embedder_sha256: str,
        threshold: float,
        embedder: str = "",
        photos: Mapping[str, Sequence[str]] | None = None,
        made_by: str = "",
    ) -> Gallery:
        """Make a gallery from embeddings.

        Args:
            people: name → float32 `[n,D]` unit vectors, n ≥ 1. Names are cleaned with `clean_name`.
            embedder_sha256: fingerprint of the network that made them.
            threshold: the cosine from which on a face is given a name.
            embedder: that network's name.
            photos: name → file name of each vector; numbered where not given.
            made_by: program and version.

        Raises:
            InputError: nobody, a name that is empty or given twice, vectors that are missing or not unit vectors.
        """
        if not people:
            raise InputError("a gallery needs at least one person")
        named: dict[str, str] = {}
        for given in people:
            name = clean_name(given)
            if name in named:
                raise InputError(f"{given!r} and {named[name]!r} are the same name, {name!r}; rename one of them")
            named[name] = given
        names = sorted(named)
        persons, prototypes, embeddings = [], [], []
        for name in names:
            vectors = np.ascontiguousarray(people[named[name]], np.float32)
            files = tuple((photos or {}).get(named[name]) or (f"{n}" for n in range(len(vectors))))
            _check_vectors(name, vectors, len(files))
            person = _describe(name, vectors, files)
            persons.append(person)
            prototypes.append(vectors[person.medoid])
            embeddings.append(vectors)
        if len({vectors.shape[1] for vectors in embeddings}) > 1:
            raise InputError("the people's embeddings have different dimensions; embed all with one network")
        return cls(
            persons=tuple(persons),
            prototypes=np.stack(prototypes),
            owners=np.arange(len(persons), dtype=np.int32),
            embeddings=np.concatenate(embeddings),
            threshold=float(threshold),
            embedder=embedder,
            embedder_sha256=embedder_sha256,
            made_by=made_by,
        )

    @property
    def people(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(person.name for person in self.persons)

    @property
    def dimension(self) -> int:
        """Of the embeddings."""
        return int(self.prototypes.shape[1])

    @property
    def sha256(self) -> str:
        """Of the file; the same before saving and after loading."""
        return self.file_sha256 or hashlib.sha256(self.to_bytes()).hexdigest()

    def of(self, person: int) -> NDArray[np.float32]:
        """`[n,D]` embeddings of the photos of the person at that position."""
        sizes = [len(p.photos) for p in self.persons]
        start = sum(sizes[:person])
        return self.embeddings[start : start + sizes[person]]

    def identify(self, embeddings: NDArray[np.float32]) -> Matches:
        """Who each face resembles most.

        Args:
            embeddings: float32 `[N,D]` unit vectors. N may be 0.

        Raises:
            ValueError: another dimension.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dimension:
            raise ValueError(f"expected embeddings [N,{self.dimension}], got {embeddings.shape}")
        nearest, similarities, second = two_nearest(
            np.ascontiguousarray(embeddings, np.float32), self.prototypes, self.owners
        )
        names = [
            self.persons[who].name if who >= 0 and similarity >= self.threshold else None
            for who, similarity in zip(nearest.tolist(), similarities.tolist(), strict=True)
        ]
        return Matches(names, nearest, similarities, second)

    def neighbours(self) -> list[tuple[int, float] | None]:
        """For each person the nearest other one and the Euclidean distance of their closest prototypes.

        None for somebody alone in the gallery.
        """
        found: list[tuple[int, float] | None] = []
        for person in range(len(self.persons)):
            mine, others = self.owners == person, self.owners != person
            if not others.any():
                found.append(None)
                continue
            nearest, similarity, _ = two_nearest(self.prototypes[mine], self.prototypes[others], self.owners[others])
            best = int(np.argmax(similarity))
            found.append((int(nearest[best]), distance(float(similarity[best]))))
        return found

    def to_bytes(self) -> bytes:
        """The file's contents: equal galleries give equal bytes.

        A ZIP archive, uncompressed: `gallery.json` (schema, threshold, people) and the NumPy arrays `prototypes.npy`,
        `owners.npy` and `embeddings.npy`.
        """
        header = {
            "schema": SCHEMA,
            "threshold": self.threshold,
            "embedder": {"name": self.embedder, "sha256": self.embedder_sha256},
            "method": self.method,
            "made_by": self.made_by,
            "people": [asdict(person) for person in self.persons],
        }
        return archive.write(
            "gallery", header, {name: getattr(self, name) for name in ("prototypes", "owners", "embeddings")}
        )

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the gallery; the file appears whole or not at all.

        Raises:
            OutputError: it exists, or the folder is missing or cannot be written to, or the disk is full.
        """
        path = Path(path)
        check_target(path, overwrite)
        part = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
        try:
            try:
                with part.open("wb") as file:
                    file.write(self.to_bytes())
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error

    @classmethod
    def load(cls, path: Path | str, embedder: Embedder | None = None) -> Gallery:
        """Read a gallery.

        Args:
            path: the file.
            embedder: the network that it will be used with.

        Raises:
            InputError: missing, no gallery, damaged, of a newer major version, or made by another embedder.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; make a gallery with: iznet enroll PHOTOS -o {path}") from None
        except IsADirectoryError:
            raise InputError(f"{path}: is a folder; make a gallery of it with: iznet enroll {path}") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        try:
            gallery = cls._parse(data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a gallery, or a damaged one ({error}); make it again with: iznet enroll"
            ) from None
        if embedder is not None:
            gallery.check_embedder(embedder, path)
        return gallery

    def check_embedder(self, embedder: Embedder, path: Path | str = "the gallery") -> None:
        """Refuse an embedder whose vectors cannot be compared with these.

        Raises:
            InputError: it is not the network that made the gallery.
        """
        if embedder.sha256 != self.embedder_sha256:
            raise InputError(
                f"{path}: was made with the embedder {self.embedder or 'unknown'} ({self.embedder_sha256[:12]}…), "
                f"not with {embedder.name} ({embedder.sha256[:12]}…); their vectors cannot be compared. Make the "
                f"gallery again from the photos: iznet enroll PHOTOS -o {path} --overwrite, or name the network that "
                "made it with --embedder"
            )

    @classmethod
    def _parse(cls, data: bytes) -> Gallery:
        header, arrays = archive.read("gallery", data)
        schema = str(header["schema"])
        name, _, version = schema.partition("/")
        if name != SCHEMA.partition("/")[0]:
            raise ValueError(f"its schema is {schema!r}")
        if int(version.split(".")[0]) > int(SCHEMA.partition("/")[2].split(".")[0]):
            raise InputError(f"of schema {schema}, newer than this version reads ({SCHEMA}); update IZ*Net")
        persons = tuple(
            Person(
                name=str(p["name"]),
                photos=tuple(str(f) for f in p["photos"]),
                medoid=int(p["medoid"]),
                spread=float(p["spread"]),
                radius=float(p["radius"]),
            )
            for p in header["people"]
        )
        gallery = cls(
            persons,
            _array(arrays, "prototypes", np.dtype(np.float32), 2),
            _array(arrays, "owners", np.dtype(np.int32), 1),
            _array(arrays, "embeddings", np.dtype(np.float32), 2),
            threshold=float(header["threshold"]),
            embedder=str(header["embedder"]["name"]),
            embedder_sha256=str(header["embedder"]["sha256"]),
            method=str(header["method"]),
            made_by=str(header["made_by"]),
            file_sha256=hashlib.sha256(data).hexdigest(),
        )
        gallery._check()
        return gallery

    def _check(self) -> None:
        if not self.persons or set(self.owners.tolist()) != set(range(len(self.persons))):
            raise ValueError("its prototypes do not belong to its people")
        if len(self.prototypes) != len(self.owners) or self.prototypes.shape[1] != self.embeddings.shape[1]:
            raise ValueError("its arrays do not fit together")
        if sum(len(p.photos) for p in self.persons) != len(self.embeddings):
            raise ValueError("its embeddings do not fit its photos")
        if any(not 0 <= p.medoid < len(p.photos) for p in self.persons):
            raise ValueError("a medoid is missing")
        if not _are_unit(self.prototypes) or not _are_unit(self.embeddings):
            raise ValueError("its vectors are not unit vectors")


def distance(cosine: float) -> float:
    """Euclidean distance, 0…2, of two unit vectors with that cosine."""
    return float(np.sqrt(max(0.0, 2 - 2 * cosine)))


def clean_name(name: str) -> str:
    """A person's name as it is kept and drawn: in Unicode's composed form (NFC), on one line, without outer spaces.

    Raises:
        InputError: nothing is left of it.

    Example:
        >>> clean_name(" Kim\\t Chaewon ")
        'Kim Chaewon'
    """
    decodable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", unicodedata.normalize("NFC", decodable)).strip()
    if not line:
        raise InputError(f"{name!r} is no name; give the person's folder a name with letters in it")
    return line


def check_target(path: Path, overwrite: bool) -> None:
    """Fail before the work rather than after it.

    Raises:
        OutputError: `path` exists (without `overwrite`), is a folder, or its folder is missing or cannot be written to.
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist; make it first, or choose another place")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name, or pass --overwrite")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} cannot be written to; choose another place")


def _describe(name: str, vectors: NDArray[np.float32], files: tuple[str, ...]) -> Person:
    cosines = np.clip(vectors.astype(np.float64) @ vectors.T.astype(np.float64), -1, 1)
    distances = np.sqrt(np.maximum(0, 2 - 2 * cosines))
    np.fill_diagonal(distances, 0)
    # Rounded, so that of photos equally good the first one is taken on every machine.
    medoid = int(np.argmin(distances.sum(1).round(6)))
    others = np.delete(distances[medoid], medoid)
    return Person(
        name,
        files,
        medoid,
        spread=float(np.median(others)) if len(others) else 0.0,
        radius=float(others.max()) if len(others) else 0.0,
    )


def _check_vectors(name: str, vectors: NDArray[np.float32], files: int) -> None:
    if vectors.ndim != 2 or len(vectors) == 0 or len(vectors) != files:
        raise InputError(f"{name}: needs at least one embedding, one for each photo; got {vectors.shape} for {files}")
    if not _are_unit(vectors):
        raise InputError(f"{name}: the embeddings must be unit vectors")


def _are_unit(vectors: NDArray[np.float32]) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.all(np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1) < 1e-3))


def _array(arrays: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any], ndim: int) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(f"{name} is {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
