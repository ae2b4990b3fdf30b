"""OpenTimelineIO (`.otio`): a track of clips, one a shot, with a marker for each take.

OTIO's own adapters lead on from here to AAF, Premiere XML and the rest.
"""

from __future__ import annotations

from pathlib import Path

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

from stream.glyphs import clean
from stream.takes import Ruler, Take, cast, placed_shots, takes
from stream.tracks import Tracks

_COLOURS = ("RED", "BLUE", "GREEN", "ORANGE", "PURPLE", "CYAN", "YELLOW", "PINK", "MAGENTA", "WHITE")


def encode(record: Tracks, video: Path) -> bytes:
    """UTF-8 JSON. Times are whole frames at the nominal rate."""
    ruler = Ruler.of(record)
    rate = float(ruler.rate)
    people = cast(record)
    found = takes(record.frames)

    def span(start: int, end: int) -> TimeRange:
        return TimeRange(RationalTime(start, rate), RationalTime(end - start, rate))

    def marker(take: Take, start: int, end: int) -> otio.schema.Marker:
        first, last = ruler.place(take.first), ruler.place_after(take.last)
        return otio.schema.Marker(
            name=take.name,
            marked_range=span(max(first, start), min(last, end)),
            color=_COLOURS[people.index(take.name) % len(_COLOURS)],
            metadata={"iznet": {"tracks": list(take.tracks)}},
        )

    track = otio.schema.Track(name="Shots", kind=otio.schema.TrackKind.Video)
    for shot, start, end in placed_shots(record, ruler):
        media = otio.schema.ExternalReference(target_url=video.as_uri(), available_range=span(0, ruler.length))
        here = [take for take in found if take.shot == shot.number and start <= ruler.place(take.first) < end]
        track.append(
            otio.schema.Clip(
                name=f"{clean(video.stem)} {shot.number}",
                media_reference=media,
                source_range=span(start, end),
                markers=[marker(take, start, end) for take in here],
                metadata={"iznet": {"shot": shot.number}},
            )
        )
    timeline = otio.schema.Timeline(name=clean(video.stem), global_start_time=RationalTime(0, rate))
    timeline.metadata["iznet"] = {"people": list(people), "size": [record.header.width, record.header.height]}
    timeline.tracks.append(track)
    text: str = otio.adapters.write_to_string(timeline, "otio_json")
    return text.encode()
