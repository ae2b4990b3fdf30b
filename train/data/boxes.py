"""Pictures with face boxes: reading them, checking them, and turning boxes into grid encodings and back.

A *box set* is a zip file or a folder with a `boxes.json` (or label files beside the pictures): a list of
`{"image", "width", "height", "source", "boxes": [[x1,y1,x2,y2]…], "ignore": [bool…]}` in pixels of the image.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.images import SUFFIXES
from train.data.archive import Read, files_of
from train.data.side_files import in_pixels, side_file_entries
from train.output import write_whole

Floats = NDArray[np.float32]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
BOXES = "boxes.json"


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture and the faces in it."""

    name: str
    rgb: NDArray[np.uint8]
    """`[H,W,3]`."""
    boxes: Floats
    """`[N,4]` x1, y1, x2, y2 in pixels."""
    ignore: NDArray[np.bool_]
    """`[N]`: neither a face to learn nor background."""
    landmarks: Floats
    """`[N,5,2]` in pixels; NaN where unknown."""
    source: str = ""

    def with_landmarks(self, landmarks: Floats) -> Picture:
        """The same picture with other landmarks."""
        return replace(self, landmarks=landmarks)


LARGE = 64.0
"""Pixels of the shorter side of a face that may fill a picture: smaller ones would show nothing but blur."""


def large_faces(picture: Picture) -> NDArray[np.intp]:
    """Which faces are `LARGE`, ignored ones left out."""
    sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
    return np.nonzero(~picture.ignore & (sides.min(1, initial=np.inf) >= LARGE))[0]


@dataclass(slots=True)
class LoadReport:
    """What the loader left out, by cause, with the file names."""

    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, cause: str, name: str) -> None:
        """Count one problem of `name`."""
        self.problems.setdefault(cause, []).append(name)

    def counts(self) -> dict[str, int]:
        """How often each cause occurred."""
        return {cause: len(names) for cause, names in sorted(self.problems.items())}

    def write(self, path: Path) -> None:
        """Write counts and file names as JSON; the folder is made where it is missing.

        Raises:
            OutputError: it cannot be written.
        """
        text = json.dumps({"counts": self.counts(), "files": self.problems}, indent=1, ensure_ascii=False)
        write_whole(path, text + "\n")

    def __str__(self) -> str:
        if not self.problems:
            return "no problems"
        parts = []
        for cause, names in sorted(self.problems.items()):
            shown = ", ".join(dict.fromkeys(names[:5]))
            parts.append(f"{cause}: {len(names)} ({shown}{', …' if len(names) > 5 else ''})")
        return "; ".join(parts)


def unknown_landmarks(count: int) -> Floats:
    """`[count,5,2]` of NaN."""
    return np.full((count, 5, 2), np.nan, np.float32)


def clean_boxes(
    boxes: object, ignore: object, width: int, height: int, name: str, report: LoadReport
) -> tuple[Floats, NDArray[np.bool_]]:
    """Check the boxes of one picture: clip what sticks out, drop what cannot be a box, and count both in `report`.

    A box that is clipped by more than half of its area is kept, but ignored: what is left may not look like a face.
    """
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, bool)
    if not boxes:
        return nothing
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 4:
        report.add("malformed boxes", name)
        return nothing
    if not isinstance(ignore, list) or any(flag not in (0, 1) for flag in ignore):
        report.add("malformed ignore flags", name)
        ignore = [False] * len(array)
    flags = np.asarray(ignore, bool)
    if len(flags) != len(array):
        report.add("boxes and ignore flags differ in number", name)
        flags = np.resize(flags, len(array)) if len(flags) else np.zeros(len(array), bool)
    kept: list[NDArray[np.float64]] = []
    kept_flags = []
    for box, flag in zip(array, flags, strict=True):
        if not np.isfinite(box).all():
            report.add("box with a number that is not finite", name)
            continue
        area = (box[2] - box[0]) * (box[3] - box[1])
        if box[2] <= box[0] or box[3] <= box[1]:
            report.add("zero-area box", name)
            continue
        clipped = np.clip(box, 0, [width, height, width, height])
        inside = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
        if inside <= 0:
            report.add("box outside the image", name)
            continue
        if np.abs(clipped - box).max() > 1.0:
            report.add("box reaches outside the image", name)
        if any(np.array_equal(clipped, other) for other in kept):
            report.add("box given twice", name)
            continue
        kept.append(clipped)
        kept_flags.append(bool(flag) or inside < 0.5 * area)
    return np.asarray(kept, np.float32).reshape(-1, 4), np.asarray(kept_flags, bool)


def decode_image(data: bytes) -> NDArray[np.uint8] | None:
    """RGB `[H,W,3]` of an encoded picture, or None where it cannot be decoded."""
    if not data:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1])


def load_box_set(path: Path, report: LoadReport | None = None) -> list[Picture]:
    """All usable pictures of a box set, decoded, in the order of its `boxes.json`.

    That may lie in a folder of its own: names are meant from there. Several entries of one picture are one. Without a
    `boxes.json`, label files beside the pictures are taken (`train.data.side_files`), in the order of their names.
    What cannot be used is counted in `report` with its file name, and left out.

    Raises:
        InputError: `path` cannot be read, has no labels, or holds no usable picture.
    """
    report = LoadReport() if report is None else report
    names, read = files_of(path)
    tables = [BOXES] if BOXES in names else [name for name in names if name.endswith(f"/{BOXES}")]
    if len(tables) > 1:
        raise InputError(f"{path}: holds several {BOXES} ({', '.join(tables[:3])}); give a folder with one")
    if tables:
        inside = tables[0].removesuffix(BOXES)
        names = [name.removeprefix(inside) for name in names if name.startswith(inside)]
        entries = _entries(read(tables[0]), path, report)
        named = {entry["image"] for entry in entries}
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES) and name not in named:
                report.add("image without a label", name)
    else:
        inside = ""
        entries = side_file_entries(names, read, IMAGE_SUFFIXES, report.add)
        if not entries:
            raise InputError(
                f"{path}: holds no {BOXES}, and no label files beside its pictures ({report}); give a box set"
            )
    present = set(names)
    pictures = []
    for entry in entries:
        name = entry["image"]
        if name not in present:
            report.add("image missing", name)
            continue
        rgb = _decoded(read, inside + name, report)
        if rgb is None:
            continue
        height, width = rgb.shape[:2]
        if (entry.get("width", width), entry.get("height", height)) != (width, height):
            report.add("image size differs from its label", name)
            continue
        raw = in_pixels(entry["parts"], width, height) if "parts" in entry else entry.get("boxes", [])
        count = len(raw) if isinstance(raw, list) else 0
        boxes, ignore = clean_boxes(raw, entry.get("ignore", [False] * count), width, height, name, report)
        if not len(boxes):
            report.add("no boxes", name)
        pictures.append(Picture(name, rgb, boxes, ignore, unknown_landmarks(len(boxes)), str(entry.get("source", ""))))
    if not any((~p.ignore).any() for p in pictures):
        raise InputError(f"{path}: no usable face in {len(entries)} entries ({report})")
    return pictures


def _entries(data: bytes, path: Path, report: LoadReport) -> list[dict[str, Any]]:
    """The entries of a `boxes.json` that name an image, one an image: what several say of one is put together."""
    try:
        entries: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its {BOXES} is not JSON ({error})") from None
    if not isinstance(entries, list):
        raise InputError(
            f'{path}: its {BOXES} is not a list of pictures, [{{"image": "a.jpg", "boxes": [[x1, y1, x2, y2], …]}}, …]'
        )
    merged: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            report.add("entry without an image name", f"{BOXES} entry {number}")
            continue
        name = PurePosixPath(entry["image"].replace("\\", "/")).as_posix()
        if name not in merged:
            merged[name] = {**entry, "image": name}
            continue
        report.add("image listed more than once", name)
        whole, boxes = merged[name], entry.get("boxes", [])
        if isinstance(boxes, list) and isinstance(known := whole.get("boxes", []), list):
            flags = [e.get("ignore", [False] * len(b)) for e, b in ((whole, known), (entry, boxes))]
            whole["boxes"] = [*known, *boxes]
            whole["ignore"] = [*flags[0], *flags[1]] if all(isinstance(f, list) for f in flags) else None
    return list(merged.values())


def _decoded(read: Read, name: str, report: LoadReport) -> NDArray[np.uint8] | None:
    """A picture, or None, counted, where it is damaged."""
    try:
        rgb = decode_image(read(name))
    except InputError:
        rgb = None
    if rgb is None:
        report.add("unreadable image", name)
    return rgb


def load_pictures(path: Path, report: LoadReport | None = None) -> list[Picture]:
    """All readable pictures of a zip or folder without labels; those of kinds that are not read are counted.

    Raises:
        InputError: `path` cannot be read or holds no readable picture.
    """
    report = LoadReport() if report is None else report
    names, read = files_of(path)
    pictures = []
    for name in names:
        if not name.lower().endswith(IMAGE_SUFFIXES):
            if PurePosixPath(name).suffix.lower() in SUFFIXES:
                report.add(f"picture that is none of {', '.join(IMAGE_SUFFIXES)}", name)
            continue
        rgb = _decoded(read, name, report)
        if rgb is not None:
            nothing = np.zeros((0, 4), np.float32)
            pictures.append(Picture(name, rgb, nothing, np.zeros(0, bool), unknown_landmarks(0)))
    if not pictures:
        raise InputError(f"{path}: no readable picture ({report})")
    return pictures


def split_dev(pictures: Sequence[Picture], size: int, seed: int = 0) -> tuple[list[Picture], list[Picture]]:
    """(train, dev): `size` pictures drawn at random, the same ones for the same seed."""
    chosen = set(np.random.default_rng(seed).permutation(len(pictures))[:size].tolist())
    return (
        [p for i, p in enumerate(pictures) if i not in chosen],
        [p for i, p in enumerate(pictures) if i in chosen],
    )


def cell_centres(height: int, width: int, strides: Sequence[int]) -> tuple[Floats, Floats]:
    """Centres `[A,2]` (x, y) in pixels and strides `[A]` of all cells, level by level, row by row.

    `height` and `width` are multiples of the largest stride.
    """
    points, steps = [], []
    for stride in strides:
        ys, xs = np.mgrid[: height // stride, : width // stride]
        points.append((np.stack([xs, ys], -1).reshape(-1, 2) + 0.5) * stride)
        steps.append(np.full(len(points[-1]), stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(steps).astype(np.float32)


def encode_boxes(boxes: Floats, landmarks: Floats, centres: Floats, strides: Floats) -> Floats:
    """`[N,14]`: left, top, right, bottom and five (dx, dy), in strides from the cell each box belongs to.

    All arguments have N rows; `decode_boxes` is the inverse for boxes that contain their cell's centre.
    """
    ltrb = np.concatenate([centres - boxes[:, :2], boxes[:, 2:] - centres], 1)
    points = (landmarks - centres[:, None]).reshape(len(boxes), 10)
    return (np.concatenate([ltrb, points], 1) / strides[:, None]).astype(np.float32)


def decode_boxes(encoded: Floats, centres: Floats, strides: Floats) -> tuple[Floats, Floats]:
    """Boxes `[N,4]` and landmarks `[N,5,2]` in pixels from what `encode_boxes` gave."""
    scaled = encoded * strides[:, None]
    boxes = np.concatenate([centres - scaled[:, :2], centres + scaled[:, 2:4]], 1)
    landmarks = centres[:, None] + scaled[:, 4:].reshape(-1, 5, 2)
    return boxes.astype(np.float32), landmarks.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Which cells may answer for which face: a loose choice that the loss narrows down (SimOTA)."""

    cells: NDArray[np.int32]
    """`[G,K]` cell numbers, 0 where unused."""
    valid: NDArray[np.bool_]
    """`[G,K]`."""


LEVEL_RANGE = (1.5, 6.0)
"""Face size (root of the area) in strides that a level may answer for; neighbours overlap by one octave."""


def candidate_cells(boxes: Floats, height: int, width: int, strides: Sequence[int]) -> Candidates:
    """Cells that may answer for each box: the 3×3 cells around its middle, where their centre is inside the box.

    Levels are chosen by size (`LEVEL_RANGE`; open-ended at the smallest and the largest stride). A face that holds
    no cell centre gets the nearest cell, so that every face has at least one.
    """
    levels = len(strides)
    cells = np.zeros((len(boxes), 9 * levels), np.int32)
    valid = np.zeros((len(boxes), 9 * levels), bool)
    size = np.sqrt(np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 0))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    offsets = np.array([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    first = 0
    for level, stride in enumerate(strides):
        rows, columns = height // stride, width // stride
        low = 0.0 if level == 0 else LEVEL_RANGE[0] * stride
        high = np.inf if level == levels - 1 else LEVEL_RANGE[1] * stride
        right_size = (size >= low) & (size < high)
        home = np.floor(middle / stride).astype(np.int32)
        home = np.clip(home, 0, [columns - 1, rows - 1])
        around = home[:, None] + offsets
        centres = (around + 0.5) * stride
        inside = (
            (around >= 0).all(2)
            & (around < [columns, rows]).all(2)
            & (centres > boxes[:, None, :2]).all(2)
            & (centres < boxes[:, None, 2:]).all(2)
        )
        if level == 0:
            inside[:, 4] |= ~inside.any(1)
        span = slice(9 * level, 9 * level + 9)
        valid[:, span] = inside & right_size[:, None]
        numbers = first + around[..., 1] * columns + around[..., 0]
        cells[:, span] = np.where(valid[:, span], numbers, 0)
        first += rows * columns
    # Larger strides have larger cells than the smallest faces they answer for, so a box there can miss all centres.
    bare = ~valid.any(1)
    if bare.any():
        cells[bare], valid[bare] = _nearest_cells(boxes[bare], size[bare], height, width, strides)
    return Candidates(cells, valid)


def _nearest_cells(
    boxes: Floats, size: Floats, height: int, width: int, strides: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The one cell nearest to each box's middle, on the level whose range the size falls into first."""
    cells = np.zeros((len(boxes), 9 * len(strides)), np.int32)
    valid = np.zeros_like(cells, bool)
    for row, (box, extent) in enumerate(zip(boxes, size, strict=True)):
        level = next((i for i, s in enumerate(strides) if extent < LEVEL_RANGE[1] * s), len(strides) - 1)
        first = sum((height // s) * (width // s) for s in strides[:level])
        stride = strides[level]
        x = int(np.clip((box[0] + box[2]) / 2 // stride, 0, width // stride - 1))
        y = int(np.clip((box[1] + box[3]) / 2 // stride, 0, height // stride - 1))
        cells[row, 0], valid[row, 0] = first + y * (width // stride) + x, True
    return cells, valid


def cells_inside(boxes: Floats, height: int, width: int, strides: Sequence[int]) -> NDArray[np.bool_]:
    """`[A]`: cells whose centre lies in one of the boxes, and the cell nearest to each box's middle on every level."""
    masks = []
    for stride in strides:
        rows, columns = height // stride, width // stride
        mask = np.zeros((rows, columns), bool)
        for x1, y1, x2, y2 in boxes / stride:
            mask[max(0, round(y1)) : max(0, round(y2)), max(0, round(x1)) : max(0, round(x2))] = True
            row, column = int((y1 + y2) / 2), int((x1 + x2) / 2)
            if 0 <= row < rows and 0 <= column < columns:
                mask[row, column] = True
        masks.append(mask.reshape(-1))
    return np.concatenate(masks)
