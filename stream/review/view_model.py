"""What the page of a review is told of the record and its corrections, as plain JSON values. Pure."""

from __future__ import annotations

from typing import Any

from engine.wording import count
from stream.review.corrections import Correction, Corrections
from stream.styles import Colour, colour_of
from stream.summary import Overview, overview
from stream.takes import Ruler, cast
from stream.timeline import STRANGER, Lane, timeline
from stream.tracks import Tracks
from stream.whereabouts import Whereabouts

BOX_UNITS = 10_000
"""Boxes are told in these parts of the picture's width and height."""


def scenes(record: Tracks) -> dict[str, Any]:
    """What no correction changes: every frame's time, and every track's boxes on its frames.

    Args:
        record: of one frame at least.
    """
    width, height = record.header.width, record.header.height
    tracks: dict[int, dict[str, Any]] = {}
    for frame in record.frames:
        for face in frame.faces:
            own = tracks.setdefault(face.track, {"track": face.track, "frames": [], "boxes": []})
            own["frames"].append(frame.index)
            x1, y1, x2, y2 = face.box.tolist()
            own["boxes"] += [round(BOX_UNITS * share) for share in (x1 / width, y1 / height, x2 / width, y2 / height)]
    return {
        "width": width,
        "height": height,
        "units": BOX_UNITS,
        "times": [round(frame.time, 6) for frame in record.frames],
        "end": float(Ruler.of(record).end(len(record.frames) - 1)),
        "tracks": list(tracks.values()),
    }


def state(corrections: Corrections) -> dict[str, Any]:
    """What corrections change: who everybody is and when, and what can be undone and done again."""
    record, where = corrections.record, corrections.where()
    found = overview(record, where)
    return {
        "undo": _step(corrections.latest),
        "redo": _step(corrections.undone),
        "people": list(corrections.people),
        "groups": _groups(corrections, found, where),
        "timeline": _timeline(record, found, where),
    }


def _step(made: Correction | None) -> dict[str, Any] | None:
    if made is None:
        return None
    tracks = f"Track {made.tracks[0]}" if len(made.tracks) == 1 else f"{len(made.tracks)} tracks"
    learned = f", {count(len(made.looks), 'look')} to learn" if made.looks else ""
    return {"number": made.number, "words": f"{tracks}: {made.name or 'unknown'}{learned}"}


def _groups(corrections: Corrections, found: Overview, where: Whereabouts) -> list[dict[str, Any]]:
    """Everybody, those with a name first, longest on screen first."""
    people = cast(corrections.record, where.known)
    tracks = {(group.known, group.label): group.tracks for group in corrections.groups()}
    similarity = {verdict.track: verdict.similarity for verdict in corrections.record.tracks}
    return [
        {
            "label": person.name,
            "name": person.name if known else None,
            "seconds": person.seconds,
            "share": person.share,
            "colour": _hex(colour_of(person.name, people) if known else STRANGER),
            "tracks": list(tracks[known, person.name]),
            "likeness": [similarity[track] for track in tracks[known, person.name]],
        }
        for known, persons in ((True, found.people), (False, found.strangers))
        for person in persons
    ]


def _timeline(record: Tracks, found: Overview, where: Whereabouts) -> dict[str, Any]:
    drawn = timeline(record, found, where)

    def lane(of: Lane) -> dict[str, Any]:
        return {
            "name": of.name,
            "numbers": of.numbers,
            "known": of.known,
            "spans": [[round(span.start, 3), round(span.end, 3), span.title, _hex(span.colour)] for span in of.spans],
        }

    return {
        "start": drawn.start,
        "end": drawn.end,
        "subtitle": drawn.subtitle,
        "marks": list(drawn.marks),
        "lanes": [lane(each) for each in drawn.lanes],
        "shots": lane(drawn.shots),
    }


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
