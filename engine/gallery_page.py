"""A page to look at a gallery with: faces, distances, who is likely to be taken for whom. One file, nothing loaded."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.alignment import align_face
from engine.calibration import self_test
from engine.enrolment_report import PersonReport, describe, threshold_lines
from engine.errors import InputError, IznetError
from engine.gallery import Gallery, distance
from engine.images import load_image
from engine.output_file import check_output, write_output
from engine.photofaces import thumbnail
from engine.wording import count, count_people

FACES = 8
"""Shown of one person, the medoid first."""
MANY = 200
"""People from which on only the medoid of each is shown."""
TABLE = 40
"""People that the table of distances has room for."""
PAIRS = 15
"""Pairs in the list of those that are likely to be confused."""

_STYLE = """
:root{color-scheme:light dark;--ink:#222;--paper:#fff;--quiet:#666;--none:#ddd;--warn:#b00}
@media(prefers-color-scheme:dark){:root{--ink:#ececf0;--paper:#17181c;--quiet:#a3a3ad;--none:#3a3b42;--warn:#ff7b72}}
body{font:15px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--paper)}
main{margin:2rem auto;max-width:72rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse}td,th{padding:.15rem .5rem;text-align:right;font-variant-numeric:tabular-nums}
th{font-weight:600}td:first-child,th:first-child,.name{text-align:left}
.pairs tbody th{font-weight:400}
.wide{overflow-x:auto}.matrix td{padding:.2rem .4rem}.matrix thead th{writing-mode:vertical-rl;text-align:left}
.people{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0;max-width:30rem}
figcaption{overflow-wrap:anywhere}figure img,.none{width:72px;height:72px;border-radius:4px;margin-right:3px}
.none{display:inline-block;background:var(--none)}.medoid{outline:3px solid #d22;outline-offset:-3px}
small{color:var(--quiet)}.warn{color:var(--warn)}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people of whom one can be taken for the other."""

    first: int
    second: int
    """Positions in `Gallery.people`, first < second."""
    distance: float
    """Euclidean, 0…2, between their closest prototypes."""
    nearest: float
    """The same from a photo of one to the closest prototype of the other: the smallest of all photos of both."""
    too_close: bool
    """The prototypes are no farther apart than half of the photos of one of the two are from theirs."""
    mistaken: int
    """Photos of one that the gallery without them would give the other's name to."""


def pairs(gallery: Gallery, most: int = PAIRS) -> list[Pair]:
    """The pairs within reach of each other: at least one photo of one is so near the other that it would be given that
    name if its own person were not there. Most mistaken photos first, then the nearest."""
    tried = self_test(gallery)
    _, wrong = tried.verdicts(gallery.threshold)
    mistaken: dict[tuple[int, int], int] = {}
    for who, rival in zip(gallery.photo_owners[tried.rows[wrong]].tolist(), tried.rival[wrong].tolist(), strict=True):
        key = (min(who, rival), max(who, rival))
        mistaken[key] = mistaken.get(key, 0) + 1
    reach: dict[tuple[int, int], float] = {}
    for person in range(len(gallery.persons)):
        cosines = (gallery.of(person) @ gallery.prototypes.T).max(0)
        for n in np.flatnonzero((cosines >= gallery.threshold) & (gallery.owners != person)).tolist():
            other = int(gallery.owners[n])
            key = (min(person, other), max(person, other))
            reach[key] = max(reach.get(key, -1.0), float(cosines[n]))
    found = []
    for (first, second), cosine in reach.items():
        apart = between(gallery, first, second)
        spread = max(gallery.persons[first].spread, gallery.persons[second].spread)
        times = mistaken.get((first, second), 0)
        found.append(Pair(first, second, apart, distance(cosine), apart <= spread, times))
    return sorted(found, key=lambda p: (-p.mistaken, p.nearest, p.distance, p.first, p.second))[:most]


def between(gallery: Gallery, first: int, second: int) -> float:
    """Euclidean distance of the closest prototypes of two people, by position."""
    own, other = (gallery.prototypes[gallery.owners == person] for person in (first, second))
    return distance(float((own @ other.T).max()))


def write_page(
    gallery: Gallery,
    path: Path,
    title: str,
    photos: Path | None = None,
    overwrite: bool = False,
    made_from: Sequence[str | os.PathLike[str]] = (),
) -> int:
    """Write the page; see `page`.

    Returns:
        How many faces are on it.

    Raises:
        InputError: `photos` is no folder.
        OutputError: it exists or cannot be written, or is one of the photos or of the files that it is `made_from`.
    """
    if photos is not None and not photos.is_dir():
        what = "is a file" if photos.exists() else "no such folder"
        raise InputError(f"{photos}: {what}; name the folder that the gallery was enrolled from")
    pictures = [photos / photo for person in gallery.persons for photo in person.photos] if photos else []
    check_output(path, overwrite, [*made_from, *pictures])
    faces = find_faces(gallery, photos)
    write_output(path, page(gallery, title, faces), overwrite)
    return sum(map(bool, faces))


def find_faces(gallery: Gallery, photos: Path | None) -> list[bytes]:
    """A JPEG for each enrolled photo that is to be shown, empty where there is none.

    The gallery's own thumbnails come first; without them the face is cut out of the photo, if that is still in the
    folder `photos`, at the place where it was enrolled.
    """
    found = list(gallery.thumbnails) or [b""] * len(gallery.embeddings)
    start = 0
    for person in gallery.persons:
        for n in _shown(person.photos, person.medoid, len(gallery.persons)):
            if not found[start + n] and photos is not None:
                file = photos / person.photos[n]
                if file.resolve().is_relative_to(photos.resolve()):  # a foreign gallery names what it likes
                    found[start + n] = _cut(file, gallery.landmarks[start + n])
        start += len(person.photos)
    return found


def _shown(photos: Sequence[str], medoid: int, people: int) -> list[int]:
    """Which photos of a person are shown: the medoid, then the others in order."""
    others = [n for n in range(len(photos)) if n != medoid]
    return [medoid, *others[: FACES - 1 if people <= MANY else 0]]


def _cut(file: Path, landmarks: NDArray[np.float32]) -> bytes:
    if not np.isfinite(landmarks).all():
        return b""
    try:
        rgb = load_image(file)
    except IznetError:
        return b""  # moved, or changed into something else since it was enrolled
    height, width = rgb.shape[:2]
    return thumbnail(align_face(rgb, landmarks * np.array([width, height], np.float32)))


def page(gallery: Gallery, title: str, faces: Sequence[bytes]) -> str:
    """The page: HTML with everything in it.

    Args:
        gallery: what it is about.
        title: its heading.
        faces: `[M]` a JPEG for each enrolled photo or nothing, as `find_faces` gives them.
    """
    people = describe(gallery)
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>",
        f"<p>{count_people(len(people))}, {count(len(gallery.embeddings), 'photo')}; prototypes: {gallery.method}; "
        f"embedder {escape(gallery.embedder or 'unknown')} <small>{escape(gallery.embedder_sha256[:12])}</small></p>",
        "".join(f"<p>{escape(line)}</p>" for line in threshold_lines(gallery)),
        "<h2>Likely to be confused</h2>",
        _pair_table(gallery),
        "<h2>Distances between prototypes</h2>",
        _distance_table(gallery),
        "<h2>People</h2>",
        _sheet(gallery, people, faces),
        "</main></body></html>\n",
    ]
    return "\n".join(parts)


def _pair_table(gallery: Gallery) -> str:
    found, limit = pairs(gallery), distance(gallery.threshold)
    if not found:
        return (
            f"<p>Nobody: no photo of anyone is as near to another person as a name takes ({limit:.2f}).</p>"
            if len(gallery.persons) > 1
            else "<p>There is only one person.</p>"
        )
    rows = "".join(
        f'<tr><th scope="row">{escape(gallery.people[p.first])}</th>'
        f'<td class="name">{escape(gallery.people[p.second])}</td>'
        f"<td{' class=warn' if p.too_close else ''}>{p.distance:.2f}</td><td>{p.nearest:.2f}</td>"
        f"<td>{p.mistaken}</td></tr>"
        for p in found
    )
    return (
        f"<p>Pairs of whom a photo of one is so near the other that it would bear that name if its own person were not "
        f"there: within {limit:.2f}. Distances are Euclidean, 0…2. Prototypes: between the closest of the two; in red "
        "where half of somebody's own photos are no nearer. Nearest photo: to the other's closest prototype. Mistaken: "
        "photos of one that would be given the other's name if they were not enrolled.</p>"
        '<div class="wide"><table class="pairs"><thead><tr><th>person</th><th class="name">person</th>'
        f"<th>prototypes</th><th>nearest photo</th><th>mistaken</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _distance_table(gallery: Gallery) -> str:
    count = len(gallery.persons)
    if count > TABLE:
        return f"<p>{count} people are too many for a table ({TABLE} fit).</p>"
    what = "medoids" if gallery.method == "medoid" else "closest prototypes"
    head = "".join(f"<th>{escape(name)}</th>" for name in gallery.people)
    rows = []
    for a, name in enumerate(gallery.people):
        cells = []
        for b in range(count):
            if a == b:
                cells.append("<td></td>")
                continue
            apart = between(gallery, a, b)
            cells.append(f'<td style="background:rgba(210,34,34,{_heat(apart):.2f})">{apart:.2f}</td>')
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return (
        f"<p>Euclidean distances between the people's {what}: unit vectors, so 0…2, not squared. "
        "The redder, the closer.</p>"
        f'<div class="wide"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _heat(apart: float) -> float:
    """How red: nothing from the distance of unrelated people on (√2), full at 0.6."""
    return float(np.clip((np.sqrt(2) - apart) / (np.sqrt(2) - 0.6), 0, 1))


def _sheet(gallery: Gallery, people: Sequence[PersonReport], faces: Sequence[bytes]) -> str:
    figures, start = [], 0
    for person, report in zip(gallery.persons, people, strict=True):
        pictures = []
        for n in _shown(person.photos, person.medoid, len(people)):
            mark = ' class="medoid"' if n == person.medoid else ""
            pictures.append(_picture(faces[start + n], person.photos[n], mark) if faces[start + n] else "")
        start += len(person.photos)
        shown = "".join(pictures) or '<span class="none"></span>'
        named = "" if report.accept is None else f", {100 * report.accept:.0f} % named when left out"
        spread = "" if report.photos < 2 else f", spread {report.spread:.2f}"
        near = "" if report.nearest is None else f"; nearest {escape(report.nearest)} at {report.distance:.2f}"
        warn = ' <span class="warn">too close</span>' if report.too_close else ""
        figures.append(
            f"<figure>{shown}<figcaption><b>{escape(person.name)}</b> "
            f"<small>{count(report.photos, 'photo')}{spread}{named}{near}</small>{warn}</figcaption></figure>"
        )
    note = "<p><small>Framed: the medoid, the person's most typical photo.</small></p>" if any(faces) else ""
    return f'{note}<div class="people">{"".join(figures)}</div>'


def _picture(data: bytes, file: str, mark: str) -> str:
    text = base64.b64encode(data).decode("ascii")
    title = escape(f"{file} (medoid)" if mark else file)
    return f'<img{mark} alt="{title}" title="{title}" src="data:image/jpeg;base64,{text}">'
