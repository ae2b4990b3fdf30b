"""One photo in, the labelled photo and a record of one frame out.

result = label_photo("stage.jpg", "stage.labelled.jpg", detector=detector, embedder=embedder, gallery=gallery)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, UsageError
from engine.gallery import Gallery
from engine.images import load_image, upright
from engine.levelling import aligned_faces
from engine.output_file import atomic_output, check_apart, check_output, check_spared
from engine.types import Detections
from engine.wording import count
from stream.frames import Face, TrackVerdict, VideoInfo
from stream.glyphs import Glyphs
from stream.hiding import hidden_faces
from stream.identity import Identity, Naming
from stream.label import files_of, open_networks, record_header, record_output
from stream.origin import check_belongs
from stream.overlay import draw_rgb
from stream.result import LabelResult
from stream.styles import Style, Unknown, usual_unknown
from stream.takes import cast
from stream.tracks import TracksWriter, read

TIME_BASE = Fraction(1, 1000)
"""Of a photo's record; its one frame stands at 0."""

_WRITTEN = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


def photo_output(source: Path) -> Path:
    """Where the labelled photo goes if nobody says: beside the source, in its format where that can be written.

    Example:
        >>> photo_output(Path("stage.jpg")).name, photo_output(Path("stage.heic")).name
        ('stage.labelled.jpg', 'stage.labelled.png')
    """
    suffix = source.suffix if source.suffix.lower() in _WRITTEN else ".png"
    return source.with_name(f"{source.stem}.labelled{suffix}")


def label_photo(
    source: str | Path,
    output: str | Path | None = None,
    *,
    detector: Detector | Callable[[], Detector] | None = None,
    embedder: Embedder | Callable[[], Embedder] | None = None,
    gallery: Gallery | str | os.PathLike[str] | None = None,
    tracks: str | Path | None = None,
    picture: bool = True,
    overwrite: bool = False,
    unknown: Unknown = "none",
    style: Style | None = None,
) -> LabelResult:
    """Box and name the faces of one photo, and write a record of one frame.

    The copy is upright whatever the EXIF orientation was; other EXIF data, the colour profile and the resolution are
    kept.

    Args:
        source: any picture that `load_image` takes.
        output: `.jpg`, `.png`, `.webp`, `.bmp` or `.tif`; None takes `photo_output(source)`.
        detector: finds the faces, or what opens it once nothing else can be refused; None opens the shipped one.
        embedder: tells them apart, likewise; opened with a gallery only.
        gallery: whom to name, or the file that says so; None leaves everybody unknown.
        tracks: where the record goes; None puts it beside the output.
        picture: False writes the record only.
        overwrite: whether files that exist may be replaced.
        unknown: what to draw for people without a name.
        style: how people are drawn or hidden.

    Raises:
        InputError: the source cannot be read as a picture, or the gallery cannot be used.
        UsageError: an ending that cannot be written.
        OutputError: an output exists or cannot be written.

    Example:
        >>> label_photo("stage.jpg", gallery="group.gallery").tracks  # doctest: +SKIP
        PosixPath('stage.tracks.jsonl')
    """
    started = time.perf_counter()
    source = Path(source)
    target = Path(output) if output is not None else photo_output(source)
    record = Path(tracks) if tracks is not None else record_output(source if output is None else target)
    rgb = load_image(source)
    outputs = (target, record) if picture else (record,)
    check_apart(*outputs)
    if picture:
        format_of(target)
    for output in outputs:
        check_output(output, overwrite, [source, *files_of(gallery)])
    detector, embedder, known = open_networks(gallery, detector, embedder, video=False)
    for output in outputs:
        check_spared(output, files_of(detector, embedder))
    faces, namings = name_faces(rgb, detector, embedder, known)
    header = record_header(photo_info(source, rgb), detector, embedder, known, every_frame=True)
    with TracksWriter.open(record, header, overwrite=overwrite) as writer:
        writer.frame(index=0, pts=0, shot=0, faces=faces)
        for face, naming in zip(faces, namings, strict=True):
            writer.track(TrackVerdict(face.track, 0, naming.verdict, naming.name, naming.similarity, 0, 0, 1))
        if picture:
            people = known.people if known else ()
            notes = save_labelled(
                source, target, faces, overwrite=overwrite, unknown=unknown, style=style, people=people
            )
        summary = writer.finish()
    seconds = time.perf_counter() - started
    return LabelResult(
        video=target if picture else None,
        tracks=record,
        frames=1,
        fps=1 / seconds,
        people=summary.people,
        seconds=seconds,
        notes=(*notes, *Glyphs().remarks(person.name for person in summary.people)) if picture else (),
    )


def render_photo(
    photo: str | Path,
    tracks: str | Path,
    output: str | Path,
    *,
    style: Style | None = None,
    unknown: Unknown | None = None,
    overwrite: bool = False,
) -> LabelResult:
    """Draw the record of a photo on it again, as `stream.render.render_video` does for a video.

    Raises:
        InputError: the photo or the record cannot be read, or they do not belong together.
        UsageError: an ending that cannot be written.
        OutputError: the output exists or cannot be written.
    """
    started = time.perf_counter()
    source, target = Path(photo), Path(output)
    format_of(target)
    check_output(target, overwrite, [source, tracks])
    record = read(Path(tracks))
    check_belongs(record, tracks, photo_info(source, load_image(source)))
    if len(record.frames) != 1:
        raise InputError(f"{tracks} has {count(len(record.frames), 'frame')}; a photo's record has one")
    faces = list(record.frames[0].faces)
    unknown = unknown or usual_unknown(record.header.gallery)
    notes = save_labelled(source, target, faces, overwrite=overwrite, unknown=unknown, style=style, people=cast(record))
    seconds = time.perf_counter() - started
    people = record.summary.people if record.summary else ()
    return LabelResult(target, Path(tracks), 1, 1 / seconds, people, seconds, notes=tuple(notes))


def photo_info(source: Path, rgb: NDArray[np.uint8]) -> VideoInfo:
    """What a record says of a photo: one frame at 0, and where it is, wherever the record may go."""
    height, width = rgb.shape[:2]
    return VideoInfo(os.path.abspath(source), width, height, 0, TIME_BASE, None, None, "rgb24", frames=1)


def name_faces(
    rgb: NDArray[np.uint8], detector: Detector, embedder: Embedder | None, gallery: Gallery | None
) -> tuple[list[Face], list[Naming]]:
    """The faces of a uint8 `[H,W,3]` RGB picture, best first, each a track of its own, and their names.

    One person is at most once on a picture: of two that are alike, the less similar one gets no name.
    """
    found: Detections = detector.detect([rgb])[0]
    identity = Identity(gallery)
    ids = list(range(len(found)))
    identity.see(0, ids, 0.0)
    if gallery is not None and embedder is not None and ids:
        crops = aligned_faces(rgb, found.landmarks, detector)
        for track, embedding in zip(ids, embedder.embed(crops, mirrored=True), strict=True):
            identity.add(track, embedding, 1.0, 0.0)
    namings = [identity.naming(track) for track in ids]
    faces = [
        Face(
            track,
            found.boxes[track],
            float(found.scores[track]),
            found.landmarks[track],
            naming.name,
            naming.similarity,
        )
        for track, naming in zip(ids, namings, strict=True)
    ]
    return faces, namings


def format_of(output: Path) -> str:
    """Pillow's name of the format that the ending stands for.

    Raises:
        UsageError: an ending that cannot be written.
    """
    try:
        return _WRITTEN[output.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"{output}: a photo is written as {', '.join(_WRITTEN)}; choose one of these endings"
        ) from None


def save_labelled(
    source: Path,
    output: Path,
    faces: list[Face],
    *,
    overwrite: bool,
    unknown: Unknown,
    style: Style | None = None,
    people: Sequence[str] = (),
) -> list[str]:
    """Write a copy of the photo with the faces drawn on it; what is to be said of the copy.

    Raises:
        InputError: the source cannot be read.
        OutputError: the output cannot be written.
    """
    kind = format_of(output)
    with Image.open(source) as image:
        transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        profile, dpi = image.info.get("icc_profile"), image.info.get("dpi")
        exif, notes = _exif(image) if kind in ("JPEG", "PNG", "WEBP", "TIFF") else (Image.Exif(), [])
        if transparent and kind in ("PNG", "WEBP", "TIFF"):
            pixels = np.array(upright(image).convert("RGBA"))
        else:
            pixels = load_image(source)
    hidden = hidden_faces(faces, spare_named=style.spare_named) if style and style.hide else []
    draw_rgb(pixels, faces, unknown=unknown, style=style, people=people, hidden=hidden)
    extra: dict[str, Any] = dict(_QUALITY.get(kind, {}))
    # A colour profile belongs to its colours: grey, CMYK and palettes have become RGB.
    if profile and image.mode in ("RGB", "RGBA"):
        extra["icc_profile"] = profile
    if dpi and kind in ("JPEG", "PNG", "TIFF", "BMP"):
        extra["dpi"] = dpi
    if len(exif):
        extra["exif"] = exif
    with atomic_output(output, overwrite) as temporary:
        Image.fromarray(pixels).save(temporary, kind, **extra)
    return notes


def _exif(image: Image.Image) -> tuple[Image.Exif, list[str]]:
    """The EXIF that a copy of the picture gets, the picture's own but for how it lies, and what is to be said of it."""
    try:
        exif = image.copy().getexif()  # a TIFF's own would be all its tags, those that say how its pixels lie too
        exif.pop(ExifTags.Base.Orientation, None)
        exif.tobytes()
    except Exception:  # whatever some tag of it may be; Pillow has many ways to stumble over them
        return Image.Exif(), ["the copy has no EXIF, as that of the photo is damaged and cannot be written again"]
    return exif, []
