"""Where the analysed embeddings come from: folders of people, archives of crops, snapshots of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.embedder import Embedder
from engine.errors import InputError, UsageError
from engine.network import opened
from engine.wording import count_people
from train.analysis.people import EmbeddedPeople
from train.data.faces import read_faces
from train.experiments_data import read_table, take_people

if TYPE_CHECKING:
    from engine.detector import Detector
    from engine.enrolment import Progress


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is analysed, and what has to be said about it."""

    people: EmbeddedPeople
    embedder: str
    """Name of the network."""
    notes: tuple[str, ...]


def from_folder(
    folder: Path,
    detector: Detector | Callable[[], Detector],
    embedder: Embedder | Callable[[], Embedder],
    progress: Callable[[Progress], None] | None = None,
) -> Loaded:
    """Photos in one sub-folder a person, looked at as `iznet enroll` does.

    Raises:
        InputError: no such folder, or nobody with a usable photo; fewer than two people with two photos.
    """
    from engine.enrolment import enroll

    report = enroll(folder, detector, embedder, progress)
    gallery = report.gallery
    vectors = [gallery.of(person) for person in range(len(gallery.people))]
    names = [name for name, mine in zip(gallery.people, vectors, strict=True) for _ in mine]
    notes = [f"left out {s.file}: {s.reason}" for s in report.skipped]
    return _enough(EmbeddedPeople(np.concatenate(vectors), tuple(names)), gallery.embedder, notes, str(folder))


def from_archive(
    archive: Path,
    embedder: Embedder | Callable[[], Embedder],
    table: Path | None = None,
    sets: Sequence[str] = (),
    splits: Sequence[str] = (),
) -> Loaded:
    """Aligned crops in an archive with `people.csv`.

    Args:
        archive: the `.zip`.
        embedder: gives the vectors, or opens what does once there is something to embed.
        table: person, file and split of the photos to use; None takes all that carry a name.
        sets: only these collections of the archive; empty for all.
        splits: only these splits; empty for all.

    Raises:
        InputError: the archive or the table is missing or damaged, or too little is left.
        UsageError: nothing of what was chosen is in the archive.
    """
    if table is not None:
        rows = [row for row in read_table(table) if not splits or row[2] in splits]
        wanted = {file for _, file, _ in rows}
        faces = read_faces(archive, lambda row: row["file"] in wanted and (not sets or row["set"] in sets))
        faces = take_people(faces, rows, str(table))
    else:
        faces = read_faces(
            archive,
            lambda row: (
                bool(row["person"]) and (not sets or row["set"] in sets) and (not splits or row["split"] in splits)
            ),
        )
    if not len(faces):
        chosen = ", ".join([*(f"set {s}" for s in sets), *(f"split {s}" for s in splits)])
        if chosen:
            raise UsageError(f"{archive}: no photos of named people in {chosen}")
        raise InputError(f"{archive}: no photos of named people")
    embedder = opened(embedder)
    vectors = embedder.embed(faces.centre())
    known = faces.splits if any(faces.splits) else ()
    return _enough(EmbeddedPeople(vectors, faces.people, known), embedder.name, [], str(archive))


def _enough(people: EmbeddedPeople, embedder: str, notes: list[str], where: str) -> Loaded:
    """Leave out people with a single photo: they can be enrolled or named, not both."""
    sizes = np.bincount(people.labels)
    alone = np.flatnonzero(sizes < 2)
    if len(alone):
        named = ", ".join(people.names[i] for i in alone[:5]) + (" …" if len(alone) > 5 else "")
        notes.append(f"left out {count_people(len(alone))} with a single photo: {named}")
        people = people.select(np.flatnonzero(~np.isin(people.labels, alone)).astype(np.intp))
    if len(people.names) < 2:
        have = count_people(len(people.names))
        raise InputError(f"{where}: {have} with two photos or more; an analysis compares at least two")
    return Loaded(people, embedder, tuple(notes))


def find_group(people: EmbeddedPeople, names: str) -> tuple[int, ...]:
    """The positions of the people in a list like `a,b,c`.

    Raises:
        UsageError: somebody is not among them, or it is fewer than two.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    absent = [name for name in wanted if name not in people.names]
    if absent:
        raise UsageError(f"--trio: {absent[0]!r} is not one of the people: {', '.join(people.names[:20])}")
    if len(set(wanted)) < 2:
        raise UsageError(f"--trio: name at least two people, separated by commas; got {names!r}")
    return tuple(people.names.index(name) for name in wanted)
