"""Faces cut out of a folder of photos, for recognition networks to learn from.

Sub-folders (people) are kept. `faces.jsonl` beside the crops says what became of each photo, a line each, written as
soon as its crops are; a run that was interrupted goes on after it, and a second run changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.alignment import ARCFACE_TEMPLATE, SIZE, similarity_transform, warp_face
from engine.checksum import sha256_of
from engine.detector import Detector
from engine.errors import InputError, IznetError, OutputError
from engine.images import SUFFIXES, load_image
from engine.output_file import writing
from engine.photofaces import distinct, find_faces
from engine.types import Detections
from train.output import write_whole

RECORD = "faces.jsonl"
SHEET = "faces.png"
QUALITY = 95
"""Of the JPEG crops."""


@dataclass(frozen=True, slots=True)
class CropSettings:
    """What is cut out; stored with the crops, so that two kinds never lie in one folder."""

    detector: str
    """SHA-256 of the network."""
    side: int = SIZE
    """Pixels of an aligned crop: 112 is the usual template, more adds the same margin all round (128: 8 px)."""
    loose: float | None = None
    """Instead: the box, this many times as large, as it is in the photo."""
    smallest: float = 20.0
    """Pixels of the shorter side of a face that is kept."""
    size: int = 640
    """Longer side of the photo that the detector looks at."""


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What became of one photo."""

    photo: str
    """Relative to the folder of photos."""
    sha256: str
    crops: tuple[str, ...] = ()
    """Relative to the folder of crops, best score first."""
    boxes: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()
    skipped: str = ""
    """Why there are no crops."""


@dataclass(slots=True)
class ExtractionReport:
    """What became of a folder of photos."""

    results: list[PhotoResult] = field(default_factory=list)
    kept: int = 0
    """Photos that an earlier run had done."""

    @property
    def crops(self) -> int:
        """How many faces there are."""
        return sum(len(result.crops) for result in self.results)

    @property
    def people(self) -> dict[str, int]:
        """Crops of each sub-folder."""
        counts: dict[str, int] = {}
        for result in self.results:
            folder = Path(result.photo).parent.as_posix()
            counts[folder] = counts.get(folder, 0) + len(result.crops)
        return dict(sorted(counts.items()))

    @property
    def skipped(self) -> list[PhotoResult]:
        """Photos without a crop."""
        return [result for result in self.results if result.skipped]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "photos": len(self.results),
            "done_before": self.kept,
            "crops": self.crops,
            "people": self.people,
            "skipped": [{"photo": result.photo, "reason": result.skipped} for result in self.skipped],
        }


Progress = Callable[[int, int, PhotoResult], None]
"""(photos done, photos in all, what became of the last one)."""


def extract_faces(
    photos: Path,
    out: Path,
    detector: Detector,
    settings: CropSettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExtractionReport:
    """Cut the faces out of every photo under `photos` into the same sub-folders of `out`.

    A crop is called after its photo, `PHOTO.jpg-1.jpg`, `-2` and so on, best score first. A photo that was done before,
    with the same bytes and settings, is not looked at again.

    Args:
        photos: a folder; what is no picture by its name is passed over.
        out: made where it is missing.
        detector: its own threshold applies.
        settings: what is cut out.
        overwrite: do everything anew, and replace what is there.
        progress: called after each photo.

    Raises:
        InputError: no such folder, no photo in it, or no face on any of them.
        OutputError: `out` cannot be written, holds crops of other settings, or files that would be replaced.
    """
    files = _photos(photos, out)
    done = _Record(out, settings, overwrite)
    report = ExtractionReport()
    for number, file in enumerate(files):
        name = file.relative_to(photos).as_posix()
        digest = _digest(file)
        result = done.known(name, digest)
        if result is not None:
            report.kept += 1
        else:
            result = _cut(file, name, digest, out, detector, settings, overwrite or done.owns(name))
            done.add(result)
        report.results.append(result)
        if progress is not None:
            progress(number + 1, len(files), result)
    if not report.crops:
        reasons = ", ".join(f"{r.photo}: {r.skipped}" for r in report.skipped[:3])
        raise InputError(f"{photos}: no face on any of {len(files)} photos ({reasons})")
    return report


def _photos(folder: Path, out: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; name a folder of photos")
    inside = out.resolve()
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.resolve().is_relative_to(inside)
    ]
    if not files:
        raise InputError(f"{folder}: holds no photos ({', '.join(sorted(SUFFIXES)[:6])} …)")
    return files


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except InputError:
        return ""  # what cannot be read is said when it is opened as a picture


def _cut(
    file: Path, name: str, digest: str, out: Path, detector: Detector, settings: CropSettings, overwrite: bool
) -> PhotoResult:
    """Find and write the faces of one photo."""
    try:
        rgb = load_image(file)
        faces = distinct(find_faces(rgb, detector))
    except IznetError as error:
        return PhotoResult(name, digest, skipped=str(error).removeprefix(f"{file}: "))
    if not len(faces):
        return PhotoResult(name, digest, skipped="no face found")
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1)
    if sides.max() < settings.smallest:
        return PhotoResult(name, digest, skipped=f"the largest face is only {sides.max():.0f} pixels large")
    faces = faces.select(sides >= settings.smallest)
    crops = []
    for number, crop in enumerate(cut_faces(rgb, faces, settings), 1):
        crops.append(f"{name}-{number}.jpg")
        _write(out / crops[-1], crop, overwrite)
    boxes = tuple(tuple(round(float(v), 1) for v in box) for box in faces.boxes)
    scores = tuple(round(float(v), 3) for v in faces.scores)
    return PhotoResult(name, digest, tuple(crops), boxes, scores)


def cut_faces(rgb: NDArray[np.uint8], faces: Detections, settings: CropSettings) -> Iterator[NDArray[np.uint8]]:
    """Each face of a photo as `settings` say: aligned `[side,side,3]`, or its loosened box, clipped to the photo."""
    height, width = rgb.shape[:2]
    for box, landmarks in zip(faces.boxes, faces.landmarks, strict=True):
        if settings.loose is None:
            template = ARCFACE_TEMPLATE + np.float32((settings.side - SIZE) / 2)
            yield warp_face(rgb, similarity_transform(landmarks, template), settings.side)
            continue
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * settings.loose
        x1, y1 = np.floor(np.maximum(middle - half, 0)).astype(int)
        x2, y2 = np.ceil(np.minimum(middle + half, [width, height])).astype(int)
        yield np.ascontiguousarray(rgb[y1:y2, x1:x2])


def _write(path: Path, crop: NDArray[np.uint8], overwrite: bool) -> None:
    ok, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert ok, "an array in memory can be encoded"
    write_whole(path, data.tobytes(), overwrite)


class _Record:
    """`faces.jsonl`: settings in its first line, then a line a photo."""

    def __init__(self, out: Path, settings: CropSettings, overwrite: bool) -> None:
        self._path, self._out = out / RECORD, out
        self._done: dict[str, PhotoResult] = {}
        wanted = asdict(settings)
        if self._path.exists() and not overwrite:
            head, self._done = self._read()
            if head != wanted:
                differing = ", ".join(k for k in wanted if head.get(k) != wanted[k])
                raise OutputError(
                    f"{out}: holds crops of other settings ({differing}); use --overwrite or another folder"
                )
        # Written anew without a line that an interruption cut off, or that a later one replaced.
        lines = [json.dumps(wanted), *(_line(result) for result in self._done.values())]
        write_whole(self._path, "\n".join(lines) + "\n")

    def _read(self) -> tuple[dict[str, Any], dict[str, PhotoResult]]:
        try:
            lines = self._path.read_text("utf-8").splitlines()
            head = json.loads(lines[0])
            done = {}
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut off by an interruption: that photo is done again
                entry["boxes"] = tuple(tuple(box) for box in entry["boxes"])
                entry |= {key: tuple(entry[key]) for key in ("crops", "scores")}
                done[entry["photo"]] = PhotoResult(**entry)
            if not isinstance(head, dict):
                raise ValueError("no settings in its first line")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise OutputError(
                f"{self._path}: is no record of crops ({error}); use --overwrite or another folder"
            ) from None
        return head, done

    def owns(self, name: str) -> bool:
        """Whether crops of this photo were written before, so that they may be replaced."""
        return name in self._done

    def known(self, name: str, digest: str) -> PhotoResult | None:
        """What became of the photo, if its bytes and its crops are still the same."""
        result = self._done.get(name)
        if result is None or not digest or result.sha256 != digest:
            return None
        return result if all((self._out / crop).is_file() for crop in result.crops) else None

    def add(self, result: PhotoResult) -> None:
        """Append a photo's line."""
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line(result) + "\n")


def _line(result: PhotoResult) -> str:
    return json.dumps(asdict(result), ensure_ascii=False)


def contact_sheet(out: Path, report: ExtractionReport, columns: int = 12, most: int = 144, side: int = 96) -> Path:
    """Write `faces.png` into `out`: up to `most` crops, evenly spread over the photos; returns its path.

    Raises:
        OutputError: it cannot be written.
    """
    from train.detector_sheets import grid, write_png

    crops = [crop for result in report.results for crop in result.crops]
    tiles = []
    for crop in crops[:: -(-len(crops) // most)]:
        rgb = load_image(out / crop)
        zoom = side / max(rgb.shape[:2])
        small = cv2.resize(rgb, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)[:side, :side]
        tile = np.zeros((side, side, 3), np.uint8)
        tile[: small.shape[0], : small.shape[1]] = small
        tiles.append(tile)
    write_png(out / SHEET, grid(tiles, columns, side))
    return out / SHEET
