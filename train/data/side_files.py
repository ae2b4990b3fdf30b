"""Labels that lie beside each picture: YOLO's `NAME.txt` and Pascal VOC's `NAME.xml`, as entries of a `boxes.json`.

`NAME.txt` has a line a box: class, then middle x, middle y, width, height as parts of the picture; every class counts
as a face. `NAME.xml` has pixels, and `difficult` boxes are ignored. A file lies beside its picture, or in a folder
`labels` (`Annotations`) where the picture is in `images` (`JPEGImages`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from engine.errors import InputError
from train.data.archive import Read

FOLDERS = {"images": "labels", "JPEGImages": "Annotations"}
Count = Callable[[str, str], None]
"""(cause, file name): counts one problem."""


def side_file_entries(names: Sequence[str], read: Read, suffixes: Sequence[str], count: Count) -> list[dict[str, Any]]:
    """An entry for each picture that has a label file; none where there is no label file at all.

    YOLO's boxes are `parts` of the picture as it is decoded, turned upright (`in_pixels`).

    Counted are pictures without a label file and label files without a picture (both left out), and empty ones (a
    picture without faces).

    Args:
        names: of all files, `/` between folders.
        read: gives a file's contents.
        suffixes: of pictures, in lower case.
        count: told of problems.
    """
    pictures = [name for name in names if PurePosixPath(name).suffix.lower() in suffixes]
    labels = {name for name in names if PurePosixPath(name).suffix.lower() in (".txt", ".xml")}
    homes = {place for picture in pictures for place in _places(picture)}
    used = labels & homes
    if not used:
        return []
    entries = []
    for picture in pictures:
        label = next((place for place in _places(picture) if place in used), None)
        if label is None:
            count("image without a label file", picture)
            continue
        try:
            data = read(label).decode("utf-8-sig", "replace")
        except InputError:
            count("unreadable label file", label)
            continue
        if not data.strip():
            count("empty label file", label)
            entries.append({"image": picture, "boxes": [], "ignore": []})
            continue
        parse = _voc if label.lower().endswith(".xml") else _yolo
        entry = parse(data, label, count)
        if entry is not None:
            entries.append({"image": picture, **entry})
    for label in sorted(labels - homes):
        if label.lower().endswith(".xml") or PurePosixPath(label).parent.name in FOLDERS.values():
            count("label file without an image", label)
    return entries


def _places(picture: str) -> list[str]:
    """Where a picture's label file may lie."""
    path = PurePosixPath(picture)
    folders = [path.parent]
    for k, part in enumerate(path.parts[:-1]):
        if part in FOLDERS:
            folders.append(PurePosixPath(*path.parts[:k], FOLDERS[part], *path.parts[k + 1 : -1]))
    return [str(folder / (path.stem + suffix)) for folder in folders for suffix in (".txt", ".xml")]


def _yolo(text: str, label: str, count: Count) -> dict[str, Any]:
    """Boxes as parts of the picture."""
    parts = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        try:
            x, y, w, h = (float(word) for word in words[1:5])
        except ValueError:
            count("malformed boxes", label)
            continue
        parts.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return {"parts": parts, "ignore": [False] * len(parts)}


def in_pixels(parts: Sequence[Sequence[float]], width: int, height: int) -> list[list[float]]:
    """Boxes as `clean_boxes` takes them, from parts of a picture of `width` × `height`.

    Example:
        >>> in_pixels([[0.25, 0.25, 0.5, 0.75]], 64, 48)
        [[16.0, 12.0, 32.0, 36.0]]
    """
    return [[x1 * width, y1 * height, x2 * width, y2 * height] for x1, y1, x2, y2 in parts]


def _voc(text: str, label: str, count: Count) -> dict[str, Any] | None:
    """Boxes and the picture's size from an annotation."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        count("unreadable label file", label)
        return None
    entry: dict[str, Any] = {"boxes": [], "ignore": []}
    for thing in root.iter("object"):
        try:
            box = [float(thing.findtext(f"bndbox/{name}", "")) for name in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            count("malformed boxes", label)
            continue
        entry["boxes"].append(box)
        entry["ignore"].append(thing.findtext("difficult", "0").strip() == "1")
    for name in ("width", "height"):
        value = root.findtext(f"size/{name}", "").strip()
        if value.isdigit() and int(value) > 0:
            entry[name] = int(value)
    return entry
