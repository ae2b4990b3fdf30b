"""CMX3600 edit decision list (`.edl`): an event a shot, which together make the video again, and a locator wherever
somebody comes into view.

    001  MV       V     C        00:00:00;00 00:00:05;00 01:00:00;00 01:00:05;00
    * FROM CLIP NAME: mv.mp4
    * LOC: 01:00:01;10 RED     Yuri

The record side begins at one hour, as timelines do; locators stand in its time. Timecode is drop-frame, and written
with a semicolon, where the rate calls for it. Names stay UTF-8, which today's editors read.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import InputError
from stream.glyphs import clean
from stream.takes import Ruler, cast, placed_shots, takes
from stream.timecode import is_drop_frame, timecode
from stream.tracks import Tracks

COLOURS = ("RED", "GREEN", "BLUE", "CYAN", "MAGENTA", "YELLOW", "WHITE", "BLACK")
"""The locators' colours; a person's is the one at its place in `cast`."""
MOST_EVENTS = 999
FASTEST = 60


def encode(record: Tracks, video: Path) -> bytes:
    """UTF-8 text.

    Raises:
        InputError: more shots than the format can number, or a rate that its timecode cannot count.
    """
    ruler = Ruler.of(record)
    rate = ruler.rate
    if rate > FASTEST:
        raise InputError(
            f"{video.name} has {float(rate):g} frames a second and CMX3600 counts up to {FASTEST}; "
            "write .otio or .fcpxml instead"
        )
    events = placed_shots(record, ruler)
    if len(events) > MOST_EVENTS:
        raise InputError(
            f"{video.name} has {len(events)} shots and a CMX3600 list holds {MOST_EVENTS}; "
            "write .otio or .fcpxml instead"
        )
    hour = 3600 * round(rate) if not is_drop_frame(rate) else 107_892 * round(rate) // 30
    people = cast(record)
    reel = re.sub(r"[^A-Z0-9]", "", video.stem.upper())[:8] or "AX"
    lines = [f"TITLE: {clean(video.stem)}", f"FCM: {'' if is_drop_frame(rate) else 'NON-'}DROP FRAME"]
    found = takes(record.frames)
    for number, (_, start, end) in enumerate(events, 1):
        times = " ".join(timecode(frame, rate) for frame in (start, end, hour + start, hour + end))
        lines += ["", f"{number:03}  {reel:8} V     C        {times}", f"* FROM CLIP NAME: {clean(video.name)}"]
        for take in found:
            place = ruler.place(take.first)
            if start <= place < end:
                colour = COLOURS[people.index(take.name) % len(COLOURS)]
                lines.append(f"* LOC: {timecode(hour + place, rate)} {colour:7} {clean(take.name)}")
    return ("\r\n".join(lines) + "\r\n").encode()
