"""A contact sheet: one picture that shows whom a record found, a row a person.

contact_sheet("mv.mp4", "mv.tracks.jsonl", "mv.sheet.png")
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from engine.errors import InputError, UsageError
from engine.output_file import atomic_output, check_output
from engine.wording import count
from stream.cuttings import RGB, Sight, choose, cut_out
from stream.glyphs import Glyphs
from stream.origin import live_words
from stream.presence import Presence, presence
from stream.source import FileSource
from stream.styles import GREY, Colour, colour_of
from stream.summary import UNKNOWN_ROWS
from stream.takes import Ruler, by_number, cast, unnamed
from stream.tracks import Tracks, read
from stream.wording import clock, length

Shade = tuple[int, int, int]
"""Red, green and blue, 0…255."""

CROPS = 6
"""Faces in a row."""
NAMED_TRACKS = 4
"""Track numbers of an unknown person that are written out, to name them by."""
TILE = 136
"""Side of a face on the sheet, pixels."""
DARK = 0.25
"""Mean sample of a face, 0…1, under which it is lightened: nobody tells who sits in the dark."""
LEAST_GAMMA = 0.4
ROOM = 1.7
"""Side of what is cut out, in longer sides of the face's box."""

LENGTHS = 1.0
"""Seconds by which a copy may be longer or shorter than the video that the record was made of."""
EDGE = 8
"""Width of a row's edge, which has the person's colour, pixels."""

_MARGIN, _GAP, _HEAD, _CAPTION, _TIME = 28, 10, 92, 300, 24
_ROW = TILE + _TIME + 2 * _GAP
_WIDTH = 2 * _MARGIN + _CAPTION + CROPS * (TILE + _GAP) + _GAP
_GROUND: Shade = (243, 243, 240)
_CARD: Shade = (255, 255, 255)
_INK: Shade = (24, 24, 28)
_FAINT: Shade = (108, 108, 116)


@dataclass(frozen=True, slots=True)
class Group:
    """All sights of one person, known or not."""

    title: str
    known: bool
    sights: tuple[Sight, ...]
    presence: Presence


@dataclass(frozen=True, slots=True)
class Crop:
    """One face on the sheet."""

    rgb: RGB
    """`[TILE,TILE,3]`."""
    time: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the sheet."""

    title: str
    known: bool
    details: tuple[str, ...]
    crops: tuple[Crop, ...]
    colour: Colour = GREY
    """Of its edge: the person's, as in a video and on a timeline."""


def contact_sheet(
    video: str | Path, tracks: str | Path, output: str | Path, *, overwrite: bool = False, partial: bool = False
) -> Path:
    """Write a PNG with a row for every named person, longest on screen first, then for the unknown ones seen longest,
    in order of their numbers. Dark faces are lightened.

    Args:
        video: the source of the record, or its labelled copy: faces are cut from it.
        tracks: the record.
        output: the PNG.
        overwrite: whether it may be replaced.
        partial: whether an unfinished record will do.

    Returns:
        `output`.

    Raises:
        InputError: the video or the record cannot be read, or they do not belong together.
        OutputError: the PNG exists or cannot be written.
        UsageError: another ending.

    Example:
        >>> contact_sheet("mv.mp4", "mv.tracks.jsonl", "mv.sheet.png")  # doctest: +SKIP
        PosixPath('mv.sheet.png')
    """
    if Path(output).suffix.lower() != ".png":
        raise UsageError(f"{output}: a contact sheet is a PNG; name it .png")
    check_output(output, overwrite, [video, tracks])
    record = read(tracks, partial=partial)
    groups, hidden = groups_of(record)
    chosen = [choose(group.sights, CROPS) for group in groups]
    if record.header.may_be_live:
        raise InputError(live_words(record.header, tracks))
    with FileSource(video) as source:
        width, height = record.header.width, record.header.height
        # Encoders that want even sides leave out a row or a column.
        if abs(source.info.width - width) > 1 or abs(source.info.height - height) > 1:
            raise InputError(
                f"{video} is {source.info.width}x{source.info.height}, but {tracks} was made of a video of "
                f"{width}x{height}; give the video that the record was made of"
            )
        here, there = source.info.duration, record.header.duration
        # A source that was cut short says of itself that it is longer than what was found in it.
        lengths = [there, record.frames[-1].time - record.frames[0].time] if record.frames else [there]
        if not partial and here is not None and there is not None and _differs(here, lengths):
            raise InputError(
                f"{video} lasts {here:.1f} s, but {tracks} was made of a video of {there:.1f} s; give the video that "
                "the record was made of"
            )
        crops = _crops(source, chosen)
    people = cast(record)
    rows = [
        Row(
            *(group.title, group.known, _details(group), tuple(row)),
            colour=colour_of(group.title, people) if group.known else GREY,
        )
        for group, row in zip(groups, crops, strict=True)
    ]
    picture = draw_sheet(Path(record.header.path).name, _subtitle(record), rows, hidden)
    with atomic_output(output, overwrite) as temporary:
        Image.fromarray(picture).save(temporary, "PNG")
    return Path(output)


def _differs(length: float, others: Sequence[float | None]) -> bool:
    return all(abs(length - other) > LENGTHS for other in others if other is not None)


def groups_of(record: Tracks) -> tuple[list[Group], int]:
    """Who is on the sheet, in order, and how many unknown people are not."""
    named: defaultdict[str, list[Sight]] = defaultdict(list)
    unknown: defaultdict[str, list[Sight]] = defaultdict(list)
    stranger = unnamed(record)
    for frame in record.frames:
        for face in frame.faces:
            if face.name is not None:
                named[face.name].append(Sight(frame, face))
            elif title := stranger(face):
                unknown[title].append(Sight(frame, face))
    pts = [frame.pts for frame in record.frames]

    def group(title: str, known: bool, sights: Sequence[Sight]) -> Group:
        (seen,) = presence(pts, record.header.time_base, {title: sorted({s.frame.index for s in sights})})
        return Group(title, known, tuple(sights), seen)

    people = [group(name, True, sights) for name, sights in named.items()]
    others = [group(title, False, sights) for title, sights in unknown.items()]
    people.sort(key=lambda g: (-g.presence.seconds, g.title))
    others.sort(key=lambda g: (-g.presence.seconds, g.sights[0].face.track))
    shown = sorted(others[:UNKNOWN_ROWS], key=lambda g: by_number(g.title))
    return people + shown, max(0, len(others) - UNKNOWN_ROWS)


def _crops(source: FileSource, chosen: Sequence[Sequence[Sight]]) -> list[list[Crop]]:
    rows = []
    for sights, cuttings in zip(chosen, cut_out(source, chosen, ROOM), strict=True):
        # Frames of one group come in order, and so do its sights.
        rows.append([Crop(_tile(rgb), sight.frame.time) for sight, rgb in zip(sights, cuttings, strict=True)])
    return rows


def _tile(rgb: RGB) -> RGB:
    shrinks = rgb.shape[0] > TILE
    tile = cv2.resize(rgb, (TILE, TILE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return lightened(np.asarray(tile, np.uint8))


def lightened(rgb: RGB) -> RGB:
    """A dark picture with its mean brought up to `DARK` by a gamma curve, as far as `LEAST_GAMMA` does; others stay."""
    mean = float(rgb.mean()) / 255
    if not 0 < mean < DARK:
        return rgb
    curve = 255 * np.linspace(0, 1, 256) ** max(np.log(DARK) / np.log(mean), LEAST_GAMMA)
    return np.asarray(curve.round().astype(np.uint8)[rgb])


def _details(group: Group) -> tuple[str, ...]:
    seen, cosines = group.presence, [s.face.similarity for s in group.sights if s.face.similarity is not None]
    lines = [
        f"{length(seen.seconds)} on screen",
        f"first at {clock(seen.appearances[0][0])}",
        count(len(seen.appearances), "appearance"),
    ]
    if group.known and cosines:
        lines.append(f"cosine {np.median(cosines):.2f}")
    if not group.known:
        tracks = list(dict.fromkeys(s.face.track for s in group.sights))
        more = f" and {len(tracks) - NAMED_TRACKS} more" if len(tracks) > NAMED_TRACKS else ""
        lines.append(f"track{'s' * (len(tracks) > 1)} {', '.join(map(str, tracks[:NAMED_TRACKS]))}{more}")
    return tuple(lines)


def _subtitle(record: Tracks) -> str:
    header, frames = record.header, record.frames
    ruler = Ruler.of(record)
    seconds = float(ruler.end(len(frames) - 1) - ruler.start(0)) if frames else 0.0
    parts = [f"{header.width}×{header.height}", count(len(frames), "frame"), clock(seconds)]
    if header.people:
        found = {face.name for frame in frames for face in frame.faces} - {None}
        parts.append(f"{len(found)} of {len(cast(record))} known people seen")
    return "  ·  ".join(parts)


def draw_sheet(title: str, subtitle: str, rows: Sequence[Row], hidden: int = 0) -> RGB:
    """The sheet as uint8 `[H,W,3]` RGB; `hidden` unknown people are mentioned at the end.

    Example:
        >>> draw_sheet("mv.mp4", "nobody", []).shape[2]
        3
    """
    foot = 40 if hidden or not rows else 0
    sheet = np.full((_HEAD + len(rows) * (_ROW + _GAP) + foot + _MARGIN, _WIDTH, 3), _GROUND, np.uint8)
    glyphs = Glyphs()
    _text(sheet, glyphs, title, 28, _MARGIN, 22, _INK, _WIDTH - 2 * _MARGIN)
    _text(sheet, glyphs, subtitle, 16, _MARGIN, 58, _FAINT, _WIDTH - 2 * _MARGIN)
    top = _HEAD
    for row in rows:
        _draw_row(sheet[top : top + _ROW, _MARGIN:-_MARGIN], glyphs, row)
        top += _ROW + _GAP
    if foot:
        words = f"and {hidden} more unknown" if rows else "Nobody was found."
        _text(sheet, glyphs, words, 16, _MARGIN, top + 10, _FAINT, _WIDTH - 2 * _MARGIN)
    return sheet


def _draw_row(card: RGB, glyphs: Glyphs, row: Row) -> None:
    card[:] = _CARD
    card[:, :EDGE] = np.array(row.colour) * 255 + 0.5
    _text(card, glyphs, row.title, 24, 20, 14, _INK if row.known else _FAINT, _CAPTION - 30)
    for i, line in enumerate(row.details):
        _text(card, glyphs, line, 16, 20, 52 + 26 * i, _FAINT, _CAPTION - 30)
    for i, crop in enumerate(row.crops):
        left = _CAPTION + i * (TILE + _GAP)
        card[_GAP : _GAP + TILE, left : left + TILE] = crop.rgb
        _text(card, glyphs, clock(crop.time), 14, left, _GAP + TILE + 4, _FAINT, TILE)


def _text(picture: RGB, glyphs: Glyphs, text: str, size: int, left: int, top: int, colour: Shade, width: int) -> None:
    """Lay text on the picture; `left` and `top` are those of its plate, which has a margin."""
    mask = glyphs.mask(text, size, width)[..., None].astype(np.float32) / 255
    left -= round(size * 0.3)
    place = picture[top : top + mask.shape[0], max(0, left) : max(0, left) + mask.shape[1]]
    mask = mask[: place.shape[0], : place.shape[1]]
    place[:] = (place * (1 - mask) + np.array(colour, np.float32) * mask + 0.5).astype(np.uint8)
