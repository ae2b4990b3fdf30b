"""Final Cut Pro XML 1.10 (`.fcpxml`): the video as one clip with a marker wherever somebody comes into view, and a
keyword range for each of their takes.

Times are exact: whole frames of the rate as rational seconds, such as `5005/30000s`.

Source: Apple, FCPXML Reference; FCPXML 1.10 Document Type Definition.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

from engine.errors import InputError
from stream.glyphs import clean
from stream.probe import probe
from stream.takes import Ruler, Take, takes
from stream.timecode import is_drop_frame, timecode
from stream.tracks import Tracks

VERSION = "1.10"


def encode(record: Tracks, video: Path) -> bytes:
    """UTF-8 XML. Whether the video has sound is looked up in it, if it is there."""
    ruler = Ruler.of(record)
    duration = _seconds(ruler.length, ruler.rate)
    root = ET.Element("fcpxml", version=VERSION)
    resources = ET.SubElement(root, "resources")
    ET.SubElement(
        resources,
        "format",
        id="r1",
        frameDuration=_seconds(1, ruler.rate),
        width=str(record.header.width),
        height=str(record.header.height),
    )
    asset = ET.SubElement(
        resources,
        "asset",
        {"id": "r2", "name": clean(video.stem), "start": "0s", "duration": duration, "hasVideo": "1", "format": "r1"}
        | _sound(video),
    )
    ET.SubElement(asset, "media-rep", kind="original-media", src=video.as_uri())
    event = ET.SubElement(root, "event", name=clean(video.stem))
    project = ET.SubElement(event, "project", name=clean(video.stem))
    counting = "DF" if is_drop_frame(ruler.rate) else "NDF"
    sequence = ET.SubElement(project, "sequence", format="r1", duration=duration, tcStart="0s", tcFormat=counting)
    spine = ET.SubElement(sequence, "spine")
    if record.frames:
        clip = ET.SubElement(
            spine,
            "asset-clip",
            {
                "ref": "r2",
                "name": clean(video.stem),
                "offset": "0s",
                "start": "0s",
                "duration": duration,
                "format": "r1",
            },
            tcFormat=counting,
        )
        _annotate(clip, takes(record.frames), ruler)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n'.encode()


def _annotate(clip: ET.Element, found: list[Take], ruler: Ruler) -> None:
    """Markers and keyword ranges. A clip has one marker at a place, so those who come together share it."""
    coming: defaultdict[int, list[Take]] = defaultdict(list)
    for take in found:
        coming[ruler.place(take.first)].append(take)
    frame = _seconds(1, ruler.rate)
    for place, together in coming.items():
        names = ", ".join(dict.fromkeys(clean(take.name) for take in together))
        until = timecode(max(ruler.place_after(take.last) for take in together), ruler.rate)
        start = _seconds(place, ruler.rate)
        ET.SubElement(clip, "marker", start=start, duration=frame, value=names, note=f"until {until}")
    for take in found:
        first, after = ruler.place(take.first), ruler.place_after(take.last)
        ET.SubElement(
            clip,
            "keyword",
            start=_seconds(first, ruler.rate),
            duration=_seconds(after - first, ruler.rate),
            value=clean(take.name),
        )


def _sound(video: Path) -> dict[str, str]:
    """What the asset says of its sound; nothing where the video is not there to be asked."""
    try:
        tracks = [track for track in probe(video).tracks if track.kind == "audio"]
    except InputError:
        return {}
    return {"hasAudio": "1", "audioSources": str(len(tracks))} if tracks else {"hasAudio": "0"}


def _seconds(frames: int, rate: Fraction) -> str:
    """So many frames as a time of FCPXML.

    Example:
        >>> _seconds(5, Fraction(30000, 1001)), _seconds(50, Fraction(25))
        ('5005/30000s', '2s')
    """
    seconds = frames / rate
    if seconds.denominator == 1:
        return f"{seconds.numerator}s"
    scale = rate.numerator // seconds.denominator if rate.numerator % seconds.denominator == 0 else 1
    return f"{seconds.numerator * scale}/{seconds.denominator * scale}s"
