"""Enrolling people from folders of photos: one sub-folder a person, photos as people have them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.alignment import align_face
from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, IznetError
from engine.facechoice import PhotoFaces, choose_faces
from engine.gallery import Gallery, clean_name
from engine.images import SUFFIXES, load_image
from engine.letterbox import Letterbox, letterbox
from engine.types import Detections
from engine.version import VERSION

MIN_FACE = 20
"""Pixels: the side of the smallest face (square root of its area) that is worth enrolling."""
_BACKGROUND = 1 / 3
"""Faces whose side is less than this part of the largest one's stand in the background and do not count."""
_DOUBTFUL = 2 / 3
"""Faces that score less than this part of the best one are perhaps none, and do not count either."""
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A photo that was not used, or not without a remark."""

    person: str
    file: str
    """Relative to the folder of people."""
    reason: str


@dataclass(frozen=True, slots=True)
class PersonReport:
    """How one person came out. Distances are Euclidean between unit vectors, 0…2."""

    name: str
    photos: int
    """Used."""
    medoid: str
    """The file that stands for the person."""
    spread: float
    """Median distance from the medoid to the person's other photos; 0 with one photo."""
    nearest: str | None
    """The person whose prototype is closest; None for somebody alone."""
    distance: float | None
    """To that prototype."""
    too_close: bool
    """The distance is no larger than the larger of the two people's spreads: the other person is as near to
    somebody's prototype as half of their own photos are, so the two will be confused."""


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What became of a folder of people."""

    people: tuple[PersonReport, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Skipped, ...]
    """Photos that were used, but that somebody should look at."""
    left_out: tuple[str, ...]
    """People without a single usable photo; they are not in the gallery."""
    duplicates: tuple[tuple[str, ...], ...]
    """Files of the same bytes in several people's folders."""
    gallery: Gallery = field(repr=False)

    @property
    def warnings(self) -> list[str]:
        """What somebody should act on, a sentence each: people too alike, duplicates, people left out."""
        found = [
            f"{p.name} and {p.nearest} are {p.distance:.2f} apart, closer than their spread; add clearer photos of both"
            for p in self.people
            if p.too_close and not self._said_before(p)
        ]
        found += [f"the same picture is in several people's folders: {', '.join(files)}" for files in self.duplicates]
        found += [f"{name} is left out: no usable photo" for name in self.left_out]
        return found

    def _said_before(self, person: PersonReport) -> bool:
        return any(
            p.too_close and p.nearest == person.name and p.name == person.nearest and p.name < person.name
            for p in self.people
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "people": [
                {
                    "name": p.name,
                    "photos": p.photos,
                    "medoid": p.medoid,
                    "spread": round(p.spread, 4),
                    "nearest": p.nearest,
                    "distance": None if p.distance is None else round(p.distance, 4),
                    "too_close": p.too_close,
                }
                for p in self.people
            ],
            "skipped": [{"person": s.person, "file": s.file, "reason": s.reason} for s in self.skipped],
            "notes": [{"person": s.person, "file": s.file, "note": s.reason} for s in self.notes],
            "left_out": list(self.left_out),
            "duplicates": [list(files) for files in self.duplicates],
            "warnings": self.warnings,
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """One photo has been looked at."""

    done: int
    total: int
    person: str
    file: str
    outcome: str
    """`1 face`, `3 faces`, or why it is skipped."""


@dataclass(slots=True)
class _Photo:
    person: str
    file: str
    digest: str
    faces: PhotoFaces


def enroll(
    folder: Path | str,
    detector: Detector,
    embedder: Embedder,
    progress: Callable[[Progress], None] | None = None,
) -> EnrolmentReport:
    """Make a gallery from photos.

    Every photo is looked at as `find_faces` does. Whose face it is on a photo of several is decided by
    `engine.facechoice.choose_faces`. A photo that lies twice in one person's folder counts once; one with a single
    face that lies in several people's folders is used for none of them.

    Args:
        folder: with one sub-folder a person, named after them.
        detector: finds the faces.
        embedder: its fingerprint and threshold go into the gallery.
        progress: called after every photo.

    Returns:
        The report, with the gallery in it.

    Raises:
        InputError: no such folder, no sub-folders, two of one name, or nobody with a usable photo.

    Example:
        >>> report = enroll("members/", Detector.open(), Embedder.open())  # doctest: +SKIP
        >>> report.gallery.save("izone.gallery")                           # doctest: +SKIP
    """
    root = Path(folder)
    people = _people(root)
    files = [(name, file) for name, person in people.items() for file in _entries(person)]
    photos: list[_Photo] = []
    skipped: list[Skipped] = []
    notes: list[Skipped] = []
    for n, (name, file) in enumerate(files):
        shown = file.relative_to(root).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        try:
            digest, faces = _look(file, detector, embedder)
            photos.append(_Photo(name, shown, digest, faces))
            outcome = f"{len(faces.embeddings)} face{'s' * (len(faces.embeddings) > 1)}"
        except IznetError as error:
            outcome = str(error).removeprefix(f"{file}: ")
            skipped.append(Skipped(name, shown, outcome))
        if progress is not None:
            progress(Progress(n + 1, len(files), name, shown, outcome))
    photos, duplicates = _without_duplicates(photos, skipped)
    used: dict[str, list[tuple[str, NDArray[np.float32]]]] = {}
    for name in people:
        mine = [photo for photo in photos if photo.person == name]
        choices = choose_faces([photo.faces for photo in mine], embedder.threshold)
        for photo, choice in zip(mine, choices, strict=True):
            if choice.face is None:
                skipped.append(Skipped(name, photo.file, choice.remark))
                continue
            if choice.remark:
                notes.append(Skipped(name, photo.file, choice.remark))
            used.setdefault(name, []).append((photo.file, photo.faces.embeddings[choice.face]))
    if not used:
        raise InputError(f"{root}: no usable photo of anybody{_first_reasons(skipped)}")
    gallery = Gallery.build(
        {name: np.stack([vector for _, vector in chosen]) for name, chosen in used.items()},
        embedder.sha256,
        embedder.threshold,
        embedder=embedder.name,
        photos={name: [file for file, _ in chosen] for name, chosen in used.items()},
        made_by=f"iznet {VERSION}",
    )
    return EnrolmentReport(
        people=_describe(gallery),
        skipped=tuple(sorted(skipped, key=lambda s: s.file)),
        notes=tuple(sorted(notes, key=lambda s: s.file)),
        left_out=tuple(name for name in people if name not in used),
        duplicates=duplicates,
        gallery=gallery,
    )


def _people(root: Path) -> dict[str, Path]:
    """The people's folders by name, sorted."""
    if not root.exists():
        raise InputError(f"{root}: no such folder; name one that holds a sub-folder of photos for each person")
    if not root.is_dir():
        raise InputError(f"{root}: is a file; name the folder that holds a sub-folder of photos for each person")
    found: dict[str, Path] = {}
    for path in _entries(root):
        if not path.is_dir():
            continue
        name = clean_name(path.name)
        if name in found:
            raise InputError(
                f"{root}: the folders {found[name].name!r} and {path.name!r} are the same name; put them together"
            )
        found[name] = path
    if not found:
        loose = sum(path.suffix.lower() in SUFFIXES for path in _entries(root))
        what = f"holds {loose} pictures but no sub-folders" if loose else "holds no sub-folders"
        raise InputError(
            f"{root}: {what}; make one folder for each person, named after them, and put their photos inside: "
            f"{root}/yuri/1.jpg, {root}/yuri/2.jpg, {root}/minju/1.jpg …"
        )
    return dict(sorted(found.items()))


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder, sorted; without what operating systems leave behind."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    return (path for path in paths if not path.name.startswith(".") and path.name.lower() not in _IGNORED)


def _look(file: Path, detector: Detector, embedder: Embedder) -> tuple[str, PhotoFaces]:
    """A photo's fingerprint and its faces, at least one.

    Raises:
        IznetError: why it cannot be used.
    """
    if file.is_dir():
        raise InputError(f"{file}: a folder inside a person's folder is not looked into; move its photos up")
    rgb = load_image(file)
    faces = distinct(find_faces(rgb, detector))
    if not len(faces):
        raise InputError("no face found")
    sides = np.sqrt((faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1]))
    if sides.max() < MIN_FACE:
        raise InputError(f"the face is only {sides.max():.0f} pixels large; {MIN_FACE} are needed")
    counted = sides >= max(MIN_FACE, _BACKGROUND * float(sides.max()))
    counted &= faces.scores >= _DOUBTFUL * faces.scores[counted].max()
    faces, sides = faces.select(counted), sides[counted]
    crops = np.stack([align_face(rgb, landmarks) for landmarks in faces.landmarks])
    height, width = rgb.shape[:2]
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 / (width, height) - 0.5
    # Half the weight is lost towards the corners: of two faces equally large the central one is meant.
    prominence = sides**2 * (1 - np.linalg.norm(centres, axis=1) / np.sqrt(2))
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return digest, PhotoFaces(embedder.embed(crops), prominence.astype(np.float32))


def find_faces(rgb: NDArray[np.uint8], detector: Detector) -> Detections:
    """The faces of a photo, with further looks where the first finds none.

    The second look adds a margin: detectors learn faces up to a part of the frame, and a close-up becomes such a face.
    The third is at twice the size, for small faces on large photos.

    Args:
        rgb: uint8 `[H,W,3]`.
        detector: its own threshold applies.

    Returns:
        Faces in pixels of the photo; empty when all looks fail.
    """
    faces = detector.detect([rgb])[0]
    if not len(faces):
        faces = _with_margin(rgb, detector)
    if not len(faces) and max(rgb.shape[:2]) > detector.size:
        faces = detector.detect([rgb], size=2 * detector.size)[0]
    return faces


def distinct(faces: Detections) -> Detections:
    """The faces whose centres lie in no better face's box.

    Suppression lets boxes through that overlap by a third; on a photo of one large face they are parts of it.
    """
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    inside = (centres[:, None] > faces.boxes[None, :, :2]) & (centres[:, None] < faces.boxes[None, :, 2:])
    better = np.tril(np.ones((len(faces), len(faces)), np.bool_), -1)  # best score first
    repeated = np.any(inside.all(2) & better, axis=1)
    return faces.select(np.flatnonzero(~repeated))


def _with_margin(rgb: NDArray[np.uint8], detector: Detector) -> Detections:
    height, width = rgb.shape[:2]
    # No larger than what the detector will look at: photos of a hundred megapixels exist.
    box = Letterbox.fit(width, height, min(detector.size, max(width, height)), multiple=1)
    small = letterbox(rgb, box)
    x, y = box.inner_width // 2, box.inner_height // 2
    faces = detector.detect([np.pad(small, ((y, y), (x, x), (0, 0)))])[0]
    boxes = box.to_frame(faces.boxes - np.array([x, y, x, y], np.float32))
    np.clip(boxes, 0, np.array([width, height] * 2, np.float32), out=boxes)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    landmarks = box.to_frame(faces.landmarks - np.array([x, y], np.float32))
    return Detections(boxes, faces.scores, landmarks).select(inside)


def _without_duplicates(
    photos: list[_Photo], skipped: list[Skipped]
) -> tuple[list[_Photo], tuple[tuple[str, ...], ...]]:
    """Drop repeated photos, adding to `skipped`; also the groups of files that several people share."""
    groups: dict[str, list[_Photo]] = {}
    for photo in photos:
        groups.setdefault(photo.digest, []).append(photo)
    kept = []
    for photo in photos:
        same = groups[photo.digest]
        first = next(other for other in same if other.person == photo.person)
        others = [other.file for other in same if other.person != photo.person]
        if first is not photo:
            skipped.append(Skipped(photo.person, photo.file, f"the same picture as {first.file}"))
        elif others and len(photo.faces.embeddings) == 1:
            reason = f"the same picture as {', '.join(others)}, and its one face cannot be several people"
            skipped.append(Skipped(photo.person, photo.file, reason))
        else:
            kept.append(photo)
    shared = [group for group in groups.values() if len({photo.person for photo in group}) > 1]
    return kept, tuple(tuple(photo.file for photo in group) for group in shared)


def _describe(gallery: Gallery) -> tuple[PersonReport, ...]:
    reports = []
    for person, near in zip(gallery.persons, gallery.neighbours(), strict=True):
        other = None if near is None else gallery.persons[near[0]]
        away = None if near is None else near[1]
        reports.append(
            PersonReport(
                name=person.name,
                photos=len(person.photos),
                medoid=person.photos[person.medoid],
                spread=person.spread,
                nearest=other.name if other else None,
                distance=away,
                too_close=bool(other and away is not None and away <= max(person.spread, other.spread)),
            )
        )
    return tuple(reports)


def _first_reasons(skipped: list[Skipped], count: int = 3) -> str:
    shown = "; ".join(f"{s.file}: {s.reason}" for s in skipped[:count])
    more = f"; and {len(skipped) - count} more" if len(skipped) > count else ""
    return f" ({shown}{more})" if shown else "; the people's folders are empty"
