"""Known people: prototypes on the unit sphere, and who is nearest.

Distances are Euclidean between unit vectors, 0…2, never squared; cosine c and distance d tell the same: d² = 2 − 2c.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine import archive, prototypes
from engine.calibration import Calibration
from engine.errors import InputError, UsageError
from engine.file_lock import locked
from engine.names import asked_name, clean_name, person_at, same_person
from engine.nearest import nearest_other, two_nearest
from engine.output_file import check_output, write_output
from engine.photos import Photos
from engine.prototypes import METHODS, Method

if TYPE_CHECKING:
    from engine.embedder import Embedder

SCHEMA = "iznet.gallery/1.1"
"""1.1 added `calibration`, `landmarks` and `thumbnails`; a file of 1.0 is read as one that has none of them."""


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
        >>> gallery.without(["yuri"]).renamed("민주", "Minju").people
        ('Minju',)
    """

    persons: tuple[Person, ...]
    prototypes: NDArray[np.float32]
    """`[P,D]` unit vectors."""
    owners: NDArray[np.int32]
    """`[P]` whose prototype it is: positions in `people`."""
    embeddings: NDArray[np.float32]
    """`[M,D]` unit vectors of all enrolled photos, person by person in the order of `Person.photos`."""
    landmarks: NDArray[np.float32]
    """`[M,5,2]` where the face is on each photo, as parts of its width and height; NaN where nobody knows."""
    threshold: float
    """The cosine from which on a face is given a name."""
    embedder: str
    """The name of the network that made the vectors."""
    embedder_sha256: str
    method: Method = "medoid"
    """How the prototypes are chosen."""
    calibration: Calibration = field(default_factory=Calibration)
    """Where the threshold comes from and what it is expected to cost."""
    thumbnails: tuple[bytes, ...] = ()
    """A small JPEG of each enrolled face, empty where there is none; no entries at all unless they were asked for."""
    made_by: str = ""
    """The program and version that made the gallery."""
    file_sha256: str = ""
    """Of the file it was read from; empty for one that was built."""

    @classmethod
    def build(
        cls,
        people: Mapping[str, NDArray[np.float32] | Photos],
        embedder_sha256: str,
        threshold: float,
        embedder: str = "",
        made_by: str = "",
        method: Method = "medoid",
    ) -> Gallery:
        """Make a gallery from embeddings.

        Args:
            people: name → float32 `[n,D]` unit vectors, n ≥ 1, or `Photos` that say more. Names are cleaned with
                `clean_name`.
            embedder_sha256: fingerprint of the network that made them.
            threshold: the cosine from which on a face is given a name; `engine.calibration` finds one.
            embedder: that network's name.
            made_by: program and version.
            method: how a person's prototypes are chosen, see `engine.prototypes.choose`.

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
        everything: dict[str, Photos] = {}
        for name in sorted(named):
            value = people[named[name]]
            everything[name] = value if isinstance(value, Photos) else Photos(np.ascontiguousarray(value, np.float32))
            everything[name].check(name)
        if len({photos.embeddings.shape[1] for photos in everything.values()}) > 1:
            raise InputError("the people's embeddings have different dimensions; embed all with one network")
        chosen = [prototypes.choose(photos.embeddings, method) for photos in everything.values()]
        joined = Photos.join(everything.values())
        return cls(
            persons=tuple(_describe(name, photos) for name, photos in everything.items()),
            prototypes=np.ascontiguousarray(np.concatenate(chosen), np.float32),
            owners=np.repeat(np.arange(len(chosen), dtype=np.int32), [len(own) for own in chosen]),
            embeddings=joined.embeddings,
            landmarks=joined.landmarks,
            threshold=float(threshold),
            embedder=embedder,
            embedder_sha256=embedder_sha256,
            method=method,
            thumbnails=joined.thumbnails,
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

    @property
    def photo_owners(self) -> NDArray[np.int32]:
        """`[M]` whose photo each embedding is of: positions in `people`."""
        return np.repeat(np.arange(len(self.persons), dtype=np.int32), [len(p.photos) for p in self.persons])

    def of(self, person: int) -> NDArray[np.float32]:
        """`[n,D]` embeddings of the photos of the person at that position."""
        return self.photos(person).embeddings

    def photos(self, person: int) -> Photos:
        """The photos of the person at that position."""
        return self._photos_from(person, sum(len(p.photos) for p in self.persons[:person]))

    def _photos_from(self, person: int, start: int) -> Photos:
        rows = slice(start, start + len(self.persons[person].photos))
        return Photos(self.embeddings[rows], self.persons[person].photos, self.landmarks[rows], self.thumbnails[rows])

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
        who, cosine = nearest_other(self.prototypes, self.owners, self.prototypes, self.owners)
        found: list[tuple[int, float] | None] = [None] * len(self.persons)
        # Farthest first, so that what stays is each person's closest prototype.
        for row in np.argsort(cosine, kind="stable").tolist():
            if who[row] >= 0:
                found[self.owners[row]] = int(who[row]), distance(float(cosine[row]))
        return found

    def without(self, names: Iterable[str]) -> Gallery:
        """The gallery without these people; nothing of them is left in it.

        Raises:
            UsageError: somebody is not in it, or nobody would be left.
        """
        gone = {person_at(self.people, name) for name in names}
        return self.rebuilt(
            {name: them for n, (name, them) in enumerate(self.photos_by_name().items()) if n not in gone}
        )

    def renamed(self, old: str, new: str) -> Gallery:
        """The gallery with another name for somebody.

        Raises:
            UsageError: nobody has the old name, somebody else has the new one, or it is no name.
        """
        at, name = person_at(self.people, old), asked_name(new)
        taken = [other for n, other in enumerate(self.people) if n != at and same_person(other, name)]
        if taken:
            raise UsageError(f"{old!r} cannot be renamed to {name!r}: {taken[0]!r} is in the gallery already")
        return self.rebuilt(
            {name if n == at else other: photos for n, (other, photos) in enumerate(self.photos_by_name().items())}
        )

    def photos_by_name(self) -> dict[str, Photos]:
        """Everybody's photos."""
        starts = accumulate((len(p.photos) for p in self.persons), initial=0)
        return {
            p.name: self._photos_from(n, start) for n, (p, start) in enumerate(zip(self.persons, starts, strict=False))
        }

    def rebuilt(self, people: Mapping[str, Photos], method: Method | None = None) -> Gallery:
        """A gallery of these people and no others, with this one's threshold (`engine.calibration` finds a new one) and
        its method, unless one is named.

        Raises:
            InputError: as `build`.
            UsageError: nobody is left.
        """
        if not people:
            raise UsageError("nobody would be left in the gallery; delete the file instead")
        made = Gallery.build(
            people, self.embedder_sha256, self.threshold, self.embedder, self.made_by, method or self.method
        )
        return replace(made, calibration=self.calibration)

    def to_bytes(self) -> bytes:
        """The file's contents: equal galleries give equal bytes.

        A ZIP archive, uncompressed: `gallery.json` (schema, threshold, people) and the NumPy arrays `prototypes.npy`,
        `owners.npy`, `embeddings.npy`, `landmarks.npy`, and where there are thumbnails, `thumbnails.npy` (all JPEG
        files one after the other, uint8) with `thumbnail_ends.npy` (int64 `[M]`, where each one ends).
        """
        header = {
            "schema": SCHEMA,
            "threshold": self.threshold,
            "calibration": asdict(self.calibration),
            "embedder": {"name": self.embedder, "sha256": self.embedder_sha256},
            "method": self.method,
            "made_by": self.made_by,
            "people": [asdict(person) for person in self.persons],
        }
        arrays: dict[str, NDArray[Any]] = {
            name: getattr(self, name) for name in ("prototypes", "owners", "embeddings", "landmarks")
        }
        if any(self.thumbnails):
            arrays["thumbnails"] = np.frombuffer(b"".join(self.thumbnails), np.uint8)
            arrays["thumbnail_ends"] = np.cumsum([len(t) for t in self.thumbnails], dtype=np.int64)
        return archive.write("gallery", header, arrays)

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the gallery; the file appears whole or not at all.

        Raises:
            OutputError: it exists, or the folder is missing or cannot be written to, or the disk is full, or another
                process keeps changing it.
        """
        path = Path(path)
        check_output(path, overwrite)
        data = self.to_bytes()
        with locked(path):
            write_output(path, data, overwrite)

    @classmethod
    def update(cls, path: Path | str, change: Callable[[Gallery], Gallery]) -> Gallery:
        """Read, change and write a gallery while no other process can.

        Args:
            path: the file.
            change: gets the gallery as it is now; should be quick.

        Returns:
            The gallery as it was written.

        Raises:
            InputError: as `load`, or what `change` raises; the file then stays as it was.
            OutputError: it cannot be written, or another process keeps changing it.

        Example:
            >>> Gallery.update("izone.gallery", lambda g: g.without(["yuri"]))  # doctest: +SKIP
        """
        path = Path(path)
        with locked(path):
            changed = change(cls.load(path))
            write_output(path, changed.to_bytes(), overwrite=True)
        return changed

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
        data = _read(path)
        try:
            gallery = _parse(data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(
                f"{path}: not a gallery, or a damaged one ({error}); make it again with: "
                "iznet enroll PHOTOS -o NAME.gallery"
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


def distance(cosine: float) -> float:
    """Euclidean distance, 0…2, of two unit vectors with that cosine."""
    return float(np.sqrt(max(0.0, 2 - 2 * cosine)))


def _describe(name: str, photos: Photos) -> Person:
    apart = prototypes.distances(photos.embeddings)
    middle = prototypes.medoid(apart)
    others = np.delete(apart[middle], middle)
    return Person(
        name,
        photos.files,
        middle,
        spread=float(np.median(others)) if len(others) else 0.0,
        radius=float(others.max()) if len(others) else 0.0,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make a gallery with: iznet enroll PHOTOS -o {path}") from None
    except IsADirectoryError:
        raise InputError(
            f"{path}: is a folder; make a gallery of it with: iznet enroll {path} -o NAME.gallery"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _parse(data: bytes) -> Gallery:
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
    embeddings = _array(arrays, "embeddings", np.dtype(np.float32), 2)
    unknown = np.full((len(embeddings), 5, 2), np.nan, np.float32)
    method = str(header["method"])
    if method not in METHODS:
        raise ValueError(f"its prototypes are chosen by {method!r}")
    gallery = Gallery(
        persons,
        _array(arrays, "prototypes", np.dtype(np.float32), 2),
        _array(arrays, "owners", np.dtype(np.int32), 1),
        embeddings,
        _array(arrays, "landmarks", np.dtype(np.float32), 3) if "landmarks" in arrays else unknown,
        threshold=float(header["threshold"]),
        embedder=str(header["embedder"]["name"]),
        embedder_sha256=str(header["embedder"]["sha256"]),
        method=method,
        calibration=Calibration.from_dict(header.get("calibration", {})),
        thumbnails=_thumbnails(arrays),
        made_by=str(header["made_by"]),
        file_sha256=hashlib.sha256(data).hexdigest(),
    )
    _check(gallery)
    return gallery


def _thumbnails(arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, ...]:
    if "thumbnails" not in arrays:
        return ()
    data = _array(arrays, "thumbnails", np.dtype(np.uint8), 1).tobytes()
    ends = [0, *_array(arrays, "thumbnail_ends", np.dtype(np.int64), 1).tolist()]
    if ends != sorted(ends) or ends[-1] != len(data):
        raise ValueError("its thumbnails do not fit together")
    return tuple(data[start:end] for start, end in pairwise(ends))


def _check(gallery: Gallery) -> None:
    persons, count = gallery.persons, len(gallery.embeddings)
    if not persons or set(gallery.owners.tolist()) != set(range(len(persons))):
        raise ValueError("its prototypes do not belong to its people")
    if len(gallery.prototypes) != len(gallery.owners) or gallery.dimension != gallery.embeddings.shape[1]:
        raise ValueError("its arrays do not fit together")
    if sum(len(p.photos) for p in persons) != count:
        raise ValueError("its embeddings do not fit its photos")
    if gallery.landmarks.shape != (count, 5, 2) or len(gallery.thumbnails) not in (0, count):
        raise ValueError("its landmarks or thumbnails do not fit its photos")
    if any(not 0 <= p.medoid < len(p.photos) for p in persons):
        raise ValueError("a medoid is missing")
    if len(set(gallery.people)) < len(persons):  # a change would keep only the last of them
        raise ValueError("two of its people have one name")
    made = (gallery.embedder, gallery.embedder_sha256, gallery.made_by, gallery.calibration.source)
    words = [*gallery.people, *(photo for p in persons for photo in p.photos), *made, gallery.calibration.reason]
    "".join(words).encode()  # a ValueError at half a character, which JSON can spell and no file can hold
    measures = [gallery.threshold, *(m for p in persons for m in (p.spread, p.radius))]
    measures += [value for value in asdict(gallery.calibration).values() if isinstance(value, float)]
    if not all(map(math.isfinite, measures)):
        raise ValueError("it holds numbers that are not finite")
    if not prototypes.are_unit(gallery.prototypes) or not prototypes.are_unit(gallery.embeddings):
        raise ValueError("its vectors are not unit vectors")


def _array(arrays: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any], ndim: int) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(f"{name} is {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
