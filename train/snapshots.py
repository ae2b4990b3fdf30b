"""Embeddings kept during a training, one small file each: what a sequence of t-SNE plots is made from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import InputError
from train.analysis.people import EmbeddedPeople
from train.output import write_arrays

SUFFIX = ".snapshot.npz"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The same photos as they were embedded at one moment of a training."""

    people: EmbeddedPeople
    samples: int
    """Faces or pairs learned from by then."""
    title: str
    """What was trained: `NN1, triplet`."""


def save_snapshot(folder: Path, step: int, snapshot: Snapshot) -> Path:
    """Write `snapshot` to `folder`, replacing the one of the same `step`.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / f"{step:06d}{SUFFIX}"
    people = snapshot.people
    write_arrays(
        path,
        embeddings=people.embeddings,
        people=np.array(people.people, dtype=np.str_),
        splits=np.array(people.splits, dtype=np.str_),
        samples=np.array(snapshot.samples),
        title=np.array(snapshot.title),
    )
    return path


def read_snapshots(folder: Path) -> list[Snapshot]:
    """All snapshots in `folder`, in the order they were made.

    Raises:
        InputError: there is none, or one is damaged.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: holds no snapshots (NUMBER{SUFFIX}) of a training")
    found = []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as file:
                people = EmbeddedPeople(
                    np.asarray(file["embeddings"], np.float32),
                    tuple(str(p) for p in file["people"]),
                    tuple(str(s) for s in file["splits"]),
                )
                found.append(Snapshot(people, int(file["samples"]), str(file["title"])))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: no whole snapshot ({error}); delete it") from error
    return found
