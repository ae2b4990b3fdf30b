"""What the six experiments learn from and are measured on: the rest of the large collection, and the twelve people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.archive import rows_of_file
from train.data.faces import CROP, FACE, FaceSet, read_faces

SPLITS = ("train", "dev", "test")
LARGE = "celeb"
"""The set in the archive that the twelve people were chosen from."""


@dataclass(frozen=True, slots=True)
class ExperimentFaces:
    """Both parts; nobody is in both."""

    rest: NDArray[np.uint8]
    """`[R,128,128,3]` RGB: faces of everybody else in the large collection, for the pretraining."""
    people: FaceSet
    """The twelve people's chosen photos with their splits."""
    closest: tuple[str, ...]
    """The first three people of the table: the look-alikes."""


def read_table(path: Path) -> list[tuple[str, str, str]]:
    """(person, file, split) of every row of a table like `people12.csv`.

    Raises:
        InputError: it is missing, has other columns, or names another split than train, dev and test.
    """
    table = rows_of_file(path, ("person", "file", "split"), "a table of people")
    rows = [(row["person"], row["file"], row["split"]) for row in table]
    if wrong := sorted({split for _, _, split in rows} - set(SPLITS)):
        raise InputError(f"{path}: the split {wrong[0]!r} is none of {', '.join(SPLITS)}")
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows


def take_people(faces: FaceSet, rows: list[tuple[str, str, str]], where: str) -> FaceSet:
    """The photos that `rows` list, with the people and splits of the rows.

    Raises:
        InputError: a photo is not in the archive.
    """
    place = {file: i for i, file in enumerate(faces.files)}
    absent = [file for _, file, _ in rows if file not in place]
    if absent:
        raise InputError(f"{where}: {absent[0]} is not in the archive of faces (nor are {len(absent) - 1} others)")
    chosen = np.array([place[file] for _, file, _ in rows], np.intp)
    picked = faces.select(chosen)
    return FaceSet(
        picked.pictures, picked.files, picked.sets, tuple(row[0] for row in rows), tuple(row[2] for row in rows)
    )


def read_experiment_faces(data: Path) -> ExperimentFaces:
    """Read `faces.zip` and `people12.csv` in the folder `data`.

    Raises:
        InputError: one is missing or damaged; somebody lacks a split; a person has fewer than two photos to learn from.
    """
    rows = read_table(data / "people12.csv")
    listed = {file for _, file, _ in rows}
    faces = read_faces(data / "faces.zip", lambda row: row["set"] == LARGE or row["file"] in listed)
    people = take_people(faces, rows, str(data / "people12.csv"))
    for name in dict.fromkeys(people.people):
        splits = [s for p, s in zip(people.people, people.splits, strict=True) if p == name]
        if splits.count("train") < 2 or "dev" not in splits or "test" not in splits:
            raise InputError(f"{data / 'people12.csv'}: {name} needs two train photos, one of dev and one of test")
    names = set(people.people)
    rest = np.array(
        [
            s == LARGE and p not in names and f not in listed
            for s, p, f in zip(faces.sets, faces.people, faces.files, strict=True)
        ],
        np.bool_,
    )
    if not rest.any():
        raise InputError(f"{data / 'faces.zip'} holds no faces of other people in the set {LARGE!r} to pretrain on")
    return ExperimentFaces(faces.pictures[rest], people, tuple(dict.fromkeys(people.people))[:3])


def vary(rng: np.random.Generator, crops: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Random views of `crops` `[N,128,128,3]` for learning: `[N,side,side,3]`.

    Shifted by up to 6 px, turned by some degrees, scaled by up to 6 %, mirrored half of the time, and lit differently.
    """
    out = np.empty((len(crops), side, side, 3), np.uint8)
    for n, crop in enumerate(crops):
        angle = np.clip(rng.normal(0, 4), -10, 10)
        zoom = side / FACE * np.exp(rng.uniform(-0.06, 0.06))
        matrix = cv2.getRotationMatrix2D(((CROP - 1) / 2, (CROP - 1) / 2), float(angle), float(zoom))
        matrix[:, 2] += (side - 1) / 2 - (CROP - 1) / 2 + np.clip(rng.normal(0, 2, 2), -6, 6) * side / FACE
        picture = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        gain, lift = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3)), rng.normal(0, 10)
        out[n] = np.clip(picture.astype(np.float32) * gain.astype(np.float32) + np.float32(lift), 0, 255)
    return out


def plain(crops: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`crops` `[N,128,128,3]` as they are measured: the 112 px template, scaled to `[N,side,side,3]`."""
    margin = (CROP - FACE) // 2
    return scaled(crops[:, margin : margin + FACE, margin : margin + FACE], side)


def scaled(faces: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`faces` `[N,112,112,3]` as `[N,side,side,3]`."""
    if side == FACE:
        return faces
    how = cv2.INTER_AREA if side < FACE else cv2.INTER_CUBIC
    return np.stack([cv2.resize(face, (side, side), interpolation=how) for face in faces]).astype(np.uint8)
