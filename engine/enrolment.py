"""Enrolling people from folders of photos: one sub-folder a person, photos as people have them.

`look` is the slow part: it opens every photo. `assemble` decides, quickly: which face is the person's, which photos are
the same or wrong, what the threshold is. So a gallery is locked for moments only while it is added to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.calibration import FAR, calibrate, check_far
from engine.cohort import Cohort, cohort_for
from engine.detector import Detector
from engine.embedder import Embedder
from engine.enrolment_report import EnrolmentReport, PersonReport, Skipped, describe
from engine.errors import InputError, IznetError, UsageError
from engine.facechoice import PhotoFaces, choose_faces
from engine.gallery import Gallery
from engine.images import SUFFIXES
from engine.names import LONGEST_FILE_NAME, asked_name, case_folded
from engine.network import opened
from engine.outliers import same_pictures, typical_distances, wrong_photos
from engine.photofaces import look_at, thumbnail
from engine.photos import Photos
from engine.prototypes import Method
from engine.version import VERSION
from engine.wording import count

__all__ = [
    "EnrolmentReport",
    "Looked",
    "PersonReport",
    "Progress",
    "Rules",
    "Skipped",
    "add",
    "assemble",
    "enroll",
    "look",
    "names_a_folder",
    "open_embedder",
]

_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be chosen about a gallery."""

    prototypes: Method | None = None
    """How those of each person are chosen; None takes `medoid`, or what the gallery has that is added to."""
    far: float | None = None
    """False-accept rate of the threshold; None takes 0.01, or what the gallery has that is added to."""
    cohort: Path | None = None
    """Strangers to find the threshold with; None takes those that come with the shipped embedder."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One photo has been looked at."""

    done: int
    total: int
    person: str
    file: str
    outcome: str
    """`1 face`, `3 faces`, or why it is skipped."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A photo with at least one face."""

    person: str
    file: str
    """Relative to the folder of people."""
    digest: str
    """SHA-256 of the file."""
    faces: PhotoFaces
    landmarks: NDArray[np.float32]
    """`[k,5,2]` as parts of the photo's width and height."""
    thumbnails: tuple[bytes, ...] = ()
    """One JPEG for each face, where they were asked for."""
    crops: NDArray[np.uint8] | None = field(default=None, repr=False)
    """`[k,112,112,3]` RGB, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Looked:
    """All photos of a folder of people."""

    root: Path
    people: tuple[str, ...]
    """Everybody with a folder, sorted."""
    photos: tuple[LookedAt, ...]
    skipped: tuple[Skipped, ...]
    """What could not be used, and why."""


def enroll(
    folder: Path | str,
    detector: Detector | Callable[[], Detector],
    embedder: Embedder | Callable[[], Embedder],
    progress: Callable[[Progress], None] | None = None,
    *,
    rules: Rules = Rules(),
    thumbnails: bool = False,
) -> EnrolmentReport:
    """Make a gallery from photos.

    Every photo is looked at as `engine.photofaces.upright` does. Whose face it is on a photo of several is decided
    by `engine.facechoice.choose_faces`. A photo that lies twice in one person's folder counts once, also when it was
    saved anew; one with a single face that lies in several people's folders is used for none of them. A photo that is
    probably of somebody else (`engine.outliers.wrong_photos`) is left out. The threshold is found by
    `engine.calibration.calibrate`; with an embedder that the cohort of strangers does not fit, it is the embedder's
    own, and the report says so.

    Args:
        folder: with one sub-folder a person, named after them.
        detector: finds the faces, or what opens it once the folder has been looked at.
        embedder: likewise; its fingerprint goes into the gallery.
        progress: called after every photo.
        rules: prototypes, false-accept rate, cohort.
        thumbnails: keep a small picture of every face in the gallery.

    Returns:
        The report, with the gallery in it.

    Raises:
        UsageError: a false-accept rate that no threshold can be found for.
        InputError: no such folder, no sub-folders, two of one name or one that nobody can have, nobody with a usable
            photo, or a cohort that was asked for and does not fit.

    Example:
        >>> report = enroll("members/", Detector.open(), Embedder.open())  # doctest: +SKIP
        >>> report.gallery.save("izone.gallery")                           # doctest: +SKIP
    """
    embedder = open_embedder(folder, rules, embedder)
    looked = look(folder, detector, embedder, progress, thumbnails=thumbnails)
    return assemble(looked, embedder, rules=rules)


def add(
    path: Path | str,
    folder: Path | str,
    detector: Detector | Callable[[], Detector],
    embedder: Embedder | Callable[[], Embedder],
    progress: Callable[[Progress], None] | None = None,
    *,
    rules: Rules = Rules(),
    thumbnails: bool = False,
    first: Callable[[Gallery], Gallery] = lambda gallery: gallery,
) -> EnrolmentReport:
    """Add people, or further photos of people, to a gallery that exists.

    The photos are looked at first; only then is the file locked, read, changed and replaced, so that of several
    processes that add to it none undoes another's work.

    Args:
        path: the gallery.
        folder: as for `enroll`, and so the rest.
        first: another change to be made with it.

    Raises:
        UsageError: as `enroll`, also for the rate that the gallery has.
        InputError: as `enroll`; a gallery that is missing, damaged or of another embedder.
        OutputError: it cannot be written, or another process keeps changing it.
    """
    known = Gallery.load(path)
    check_far(rules.far or known.calibration.far or FAR)
    embedder = open_embedder(folder, rules, embedder, first(known).people)
    known.check_embedder(embedder, path)
    looked = look(folder, detector, embedder, progress, thumbnails=thumbnails)
    reports: list[EnrolmentReport] = []

    def change(gallery: Gallery) -> Gallery:
        reports.append(assemble(looked, embedder, first(gallery), rules))
        return reports[0].gallery

    Gallery.update(path, change)
    return reports[0]


def open_embedder(
    folder: Path | str, rules: Rules, embedder: Embedder | Callable[[], Embedder], known: Sequence[str] = ()
) -> Embedder:
    """The embedder, opened once all has been checked that can be refused without looking at a photo; `known` are those
    in the gallery that the folder's people join.

    Raises:
        UsageError: as `enroll`, for the false-accept rate.
        InputError: as `enroll`, for the folder and the cohort; what opening the embedder raises.
    """
    if rules.far is not None:
        check_far(rules.far)
    _people(Path(folder), known)
    if rules.cohort is None:
        return opened(embedder)
    cohort = Cohort.load(rules.cohort)
    embedder = opened(embedder)
    cohort.check_embedder(embedder.name, embedder.sha256, rules.cohort)
    return embedder


def look(
    folder: Path | str,
    detector: Detector | Callable[[], Detector],
    embedder: Embedder | Callable[[], Embedder],
    progress: Callable[[Progress], None] | None = None,
    *,
    thumbnails: bool = False,
    crops: bool = False,
) -> Looked:
    """Find and embed the faces on all photos of a folder of people; arguments and errors as those of `enroll`."""
    root = Path(folder)
    people = _people(root)
    detector, embedder = opened(detector), opened(embedder)
    files = [(name, file) for name, person in people.items() for file in _entries(person)]
    photos: list[LookedAt] = []
    skipped = _loose(root)
    for n, (name, file) in enumerate(files):
        shown = _shown(file, root)
        try:
            seen = look_at(file, detector, embedder)
            small = tuple(map(thumbnail, seen.crops)) if thumbnails else ()
            photos.append(
                LookedAt(name, shown, seen.digest, seen.faces, seen.landmarks, small, seen.crops if crops else None)
            )
            outcome = count(len(seen.faces.embeddings), "face")
        except IznetError as error:
            outcome = str(error).removeprefix(f"{file}: ")
            skipped.append(Skipped(name, shown, outcome))
        if progress is not None:
            progress(Progress(n + 1, len(files), name, shown, outcome))
    return Looked(root, tuple(people), tuple(photos), tuple(skipped))


def assemble(
    looked: Looked, embedder: Embedder, base: Gallery | None = None, rules: Rules = Rules()
) -> EnrolmentReport:
    """Make a gallery of photos that have been looked at, or add them to one.

    Args:
        looked: from `look`, with the same embedder.
        embedder: see `enroll`.
        base: the gallery to add to. Photos of somebody in it are added to theirs, and all of theirs judged together.
        rules: see `enroll`.

    Raises:
        InputError: nobody with a usable photo, be it one of those in the gallery, a name that differs from one there
            only in case, a gallery of another embedder, or a cohort that does not fit.
    """
    known: dict[str, Photos] = {}
    if base is not None:
        base.check_embedder(embedder)
        known = base.photos_by_name()
    _refuse(looked.root, _taken(looked.people, tuple(known)))
    skipped, notes = list(looked.skipped), list[Skipped]()
    photos, duplicates = _without_copies(looked.photos, skipped)
    fresh = {name: Photos.none(embedder.dimension) for name in looked.people}
    theirs: dict[str, list[LookedAt]] = {}
    for photo in photos:
        theirs.setdefault(photo.person, []).append(photo)
    for name in looked.people:
        fresh[name] = _choose(theirs.get(name, []), known.get(name), embedder, skipped, notes)
    again, shared = _drop_same_pictures(known, fresh, skipped)
    duplicates += shared
    together = {
        name: Photos.join([p for p in (known.get(name), fresh.get(name)) if p is not None])
        for name in sorted({*known, *fresh})
    }
    used = {
        name: _drop_wrong(name, every, embedder.threshold, skipped) if len(fresh.get(name, ())) else every
        for name, every in together.items()
        if len(every)
    }
    if not again and not any(map(len, fresh.values())):
        raise InputError(f"{looked.root}: no usable photo of anybody{_first_reasons(skipped)}")
    left = {skip.file for skip in skipped}
    gallery = Gallery.build(
        used,
        embedder.sha256,
        base.threshold if base is not None and base.calibration.source == "cohort" else embedder.threshold,
        embedder=embedder.name,
        made_by=f"iznet {VERSION}",
        method=rules.prototypes or (base.method if base is not None else "medoid"),
    )
    cohort, reason = cohort_for(embedder.name, embedder.sha256, rules.cohort)
    far = rules.far or (base.calibration.far if base is not None else None) or FAR
    gallery = calibrate(gallery, cohort, far, reason)
    return EnrolmentReport(
        people=describe(gallery),
        skipped=tuple(sorted(skipped, key=lambda s: s.file)),
        notes=tuple(sorted((note for note in notes if note.file not in left), key=lambda s: s.file)),
        left_out=tuple(name for name in looked.people if name not in used),
        duplicates=tuple(duplicates),
        gallery=gallery,
    )


def _choose(
    photos: Sequence[LookedAt], known: Photos | None, embedder: Embedder, skipped: list[Skipped], notes: list[Skipped]
) -> Photos:
    """The person's face on each photo; what was enrolled before has a say in it."""
    before = [] if known is None else [PhotoFaces(v[None], np.ones(1, np.float32)) for v in known.embeddings]
    choices = choose_faces([*before, *(photo.faces for photo in photos)], embedder.threshold)[len(before) :]
    taken: list[Photos] = [Photos.none(embedder.dimension)]
    for photo, choice in zip(photos, choices, strict=True):
        if choice.face is None:
            skipped.append(Skipped(photo.person, photo.file, choice.remark))
            continue
        if choice.remark:
            notes.append(Skipped(photo.person, photo.file, choice.remark))
        one = slice(choice.face, choice.face + 1)
        taken.append(Photos(photo.faces.embeddings[one], (photo.file,), photo.landmarks[one], photo.thumbnails[one]))
    return Photos.join(taken)


def _without_copies(photos: Sequence[LookedAt], skipped: list[Skipped]) -> tuple[list[LookedAt], list[tuple[str, ...]]]:
    """Drop repeated files, adding to `skipped`; also the groups of files that several people share."""
    groups: dict[str, list[LookedAt]] = {}
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
            skipped.append(Skipped(photo.person, photo.file, _not_several(others)))
        else:
            kept.append(photo)
    shared = [group for group in groups.values() if len({photo.person for photo in group}) > 1]
    return kept, [tuple(photo.file for photo in group) for group in shared]


def _not_several(others: Sequence[str]) -> str:
    return f"the same picture as {', '.join(others)}, and its one face cannot be several people"


def _drop_same_pictures(
    known: dict[str, Photos], fresh: dict[str, Photos], skipped: list[Skipped]
) -> tuple[int, list[tuple[str, ...]]]:
    """Drop from `fresh` what is one picture saved twice, adding to `skipped`; also how many of a person's photos were
    known as theirs, and the groups that people share."""
    parts = [(name, photos, old) for old, group in ((True, known), (False, fresh)) for name, photos in group.items()]
    every = Photos.join([photos for _, photos, _ in parts])
    whose = np.repeat(np.arange(len(parts)), [len(photos) for _, photos, _ in parts])
    dropped: dict[int, str] = {}
    again: set[int] = set()
    shared: list[tuple[str, ...]] = []
    for i, j in same_pictures(every.embeddings, every.landmarks).tolist():
        (first, _, old), (second, _, also_old) = parts[whose[i]], parts[whose[j]]
        if also_old or (first == second and i in dropped):
            continue
        if first == second:
            if old:
                again.add(j)
            what = "enrolled already, as" if old else "nearly the same picture as"
            dropped.setdefault(j, f"{what} {every.files[i]}")
            continue
        dropped[j] = "nearly " + _not_several([every.files[i]])
        if not old:
            dropped[i] = "nearly " + _not_several([every.files[j]])
        shared.append((every.files[i], every.files[j]))
    skipped += [Skipped(parts[whose[n]][0], every.files[n], reason) for n, reason in sorted(dropped.items())]
    keep = np.ones(len(every), np.bool_)
    keep[list(dropped)] = False
    for n, (name, photos, old) in enumerate(parts):
        if not old:
            fresh[name] = photos.select(keep[whose == n])
    return len(again), shared


def _drop_wrong(name: str, photos: Photos, threshold: float, skipped: list[Skipped]) -> Photos:
    """Without the photos that are probably of somebody else, which are added to `skipped`."""
    wrong = wrong_photos(photos.embeddings, threshold)
    if wrong.any():
        typical = typical_distances(photos.embeddings)
        middle = float(np.median(typical[~wrong]))
        skipped += [
            Skipped(
                name,
                photos.files[n],
                f"probably somebody else: {typical[n]:.2f} from the person's other photos, which are {middle:.2f} apart"
                " (median distances)",
            )
            for n in np.flatnonzero(wrong).tolist()
        ]
    return photos.select(~wrong)


def _people(root: Path, known: Sequence[str] = ()) -> dict[str, Path]:
    """The people's folders by name, sorted; they may join a gallery of those who are `known`."""
    if not root.exists():
        raise InputError(f"{root}: no such folder; name one that holds a sub-folder of photos for each person")
    if not root.is_dir():
        raise InputError(f"{root}: is a file; name the folder that holds a sub-folder of photos for each person")
    found: dict[str, Path] = {}
    spelled: dict[str, str] = {}
    faults: list[str] = []
    for path in _entries(root):
        if not path.is_dir():
            continue
        try:
            name = asked_name(path.name)
        except UsageError as error:
            faults.append(f"the folder {path.name!r}: {error}")
            continue
        twin = spelled.setdefault(case_folded(name), name)
        if twin in found:
            faults.append(f"the folders {found[twin].name!r} and {path.name!r} are the same name; put them together")
            continue
        found[name] = path
    _refuse(root, [*faults, *_taken(found, known)])
    if not found:
        loose = sum(path.suffix.lower() in SUFFIXES for path in _entries(root))
        what = f"holds {count(loose, 'picture')} but no sub-folders" if loose else "holds no sub-folders"
        raise InputError(
            f"{root}: {what}; make one folder for each person, named after them, and put their photos inside: "
            f"{root}/yuri/1.jpg, {root}/yuri/2.jpg, {root}/minju/1.jpg …"
        )
    return dict(sorted(found.items()))


def _taken(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """What is wrong with names that differ from one in the gallery only in case."""
    spelled: dict[str, list[str]] = {}
    for other in known:
        spelled.setdefault(case_folded(other), []).append(other)
    return [
        f"the folder {name!r} and {other!r} in the gallery are the same name; rename one"
        for name in names
        for other in spelled.get(case_folded(name), ())
        if other != name
    ]


def _refuse(root: Path, faults: Sequence[str]) -> None:
    """Raise one `InputError` that tells all faults of the folders' names, so that they are mended in one go."""
    if len(faults) == 1:
        raise InputError(f"{root}: {faults[0]}")
    if faults:
        raise InputError(f"{root}: {len(faults)} names cannot stay as they are:\n  " + "\n  ".join(faults))


def _loose(root: Path) -> list[Skipped]:
    """Pictures beside the people's folders, which might be anybody's, and links to folders that are gone."""
    loose = []
    for path in _entries(root):
        if path.is_symlink() and not path.exists():
            loose.append(Skipped("", _shown(path, root), "a link that leads nowhere; point it to a folder of photos"))
        elif path.suffix.lower() in SUFFIXES and not path.is_dir():
            loose.append(Skipped("", _shown(path, root), "lies beside the people's folders; move it into one of them"))
    return loose


def _shown(file: Path, root: Path) -> str:
    """A photo as messages call it: within `root`, in UTF-8 whatever its name is in."""
    return file.relative_to(root).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def names_a_folder(name: str) -> bool:
    """Whether a person called so can have a folder of photos.

    Example:
        >>> names_a_folder("Yena"), names_a_folder("AC/DC"), names_a_folder(".hidden")
        (True, False, False)
    """
    return "/" not in name and not _left_behind(name) and len(os.fsencode(name)) <= LONGEST_FILE_NAME


def _left_behind(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder, sorted; without what operating systems leave behind."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    return (path for path in paths if not _left_behind(path.name))


def _first_reasons(skipped: list[Skipped], count: int = 3) -> str:
    shown = "; ".join(f"{s.file}: {s.reason}" for s in skipped[:count])
    more = f"; and {len(skipped) - count} more" if len(skipped) > count else ""
    return f" ({shown}{more})" if shown else "; the people's folders are empty"
