"""Advanced SubStation Alpha (`.ass`): boxes and names as subtitles, which players such as mpv and VLC draw.

The format counts hundredths of a second; times are rounded down, so that what belongs to a frame is there when the
frame is shown, at up to 100 frames a second.
"""

from __future__ import annotations

from pathlib import Path

import pysubs2

from engine.errors import InputError
from stream.glyphs import clean
from stream.soft_boxes import events, script
from stream.styles import Style, usual_unknown
from stream.tracks import Tracks
from stream.wording import clock

LATEST = 36_000
"""Seconds that its times cannot tell: the hours have one digit."""


def encode(record: Tracks, video: Path) -> bytes:
    """UTF-8 text: a red box and a name for everybody known; grey boxes in a record made without a gallery.

    Raises:
        InputError: somebody is shown later than the format can tell.
    """
    style = Style()
    file = script(record, style)
    file.info["Title"] = clean(video.stem)
    for event in events(record, style, usual_unknown(record.header.gallery)):
        if event.end >= LATEST:
            raise InputError(
                f"{video.name} shows somebody at {clock(float(event.end))} and ASS ends before {clock(LATEST)}; "
                "write .vtt or .metadata.vtt instead"
            )
        start, end = (max(0, int(100 * time)) * 10 for time in (event.start, event.end))
        if end > start:
            file.append(pysubs2.SSAEvent(start, end, event.text, layer=event.layer, style=event.style, name=event.name))
    return file.to_string("ass", header_notice="").encode()
