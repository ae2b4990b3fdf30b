"""WebVTT metadata (`.metadata.vtt`): a cue a frame with faces, holding JSON for the script of a web page.

    {"frame":12,"shot":0,"faces":[{"track":3,"name":"Yuri","score":0.93,"box":[0.1,0.2,0.15,0.3]}]}

`box` is left, top, width and height as parts of the picture, so that it fits a player of any size.
"""

from __future__ import annotations

import json
from pathlib import Path

from stream.export import webvtt
from stream.frames import Face
from stream.takes import Ruler
from stream.tracks import Tracks


def encode(record: Tracks, video: Path) -> bytes:
    """Frames without a face have no cue."""
    ruler = Ruler.of(record)
    size = record.header.width, record.header.height
    cues = []
    for frame in record.frames:
        if frame.faces:
            data = {"frame": frame.index, "shot": frame.shot, "faces": [_face(face, *size) for face in frame.faces]}
            # An arrow would end the cue; JSON may spell any character by its number.
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace(">", "\\u003e")
            cues.append((ruler.start(frame.index), ruler.end(frame.index), text))
    return webvtt.file(cues)


def _face(face: Face, width: int, height: int) -> dict[str, object]:
    x1, y1, x2, y2 = face.box.tolist()
    box = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    return {
        "track": face.track,
        "name": face.name,
        "score": round(face.score, 3),
        "box": [round(v, 5) for v in box],
    }
