"""The lines of a record as value objects, and their JSON: what `tracks.schema.json` describes, in code."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stream.frames import Face, Rotation, TrackVerdict, VideoInfo
from stream.live.timeline import TICK
from stream.presence import Presence

SCHEMA = "iznet.tracks/1.2"
SCHEMA_FILE = Path(__file__).with_name("tracks.schema.json")
_MAJOR = 1
MOST_PIXELS = 1e6
"""Nothing in a record lies further from the picture's corner."""
MOST = 1e15
"""No other number is larger."""
SILENCE = 1
"""Seconds without a picture, and another shot after them, from which a live source was silent."""
TIME_SLACK = 1e-5
"""Seconds by which a frame's time may differ from its ticks: it is rounded."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which network was used."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a record is about."""

    path: str
    """The source, as it was given."""
    width: int
    """Pixels as displayed."""
    height: int
    """Pixels as displayed."""
    rotation: Rotation
    """Degrees clockwise that a player turns the stored picture by."""
    time_base: Fraction
    """Seconds a tick."""
    duration: float | None
    """Seconds, where the source says."""
    detector: Model | None = None
    embedder: Model | None = None
    gallery: str | None = None
    """SHA-256 of the gallery, None where there was none."""
    people: tuple[str, ...] = ()
    """Everyone in the gallery."""
    version: str = ""
    """Of the program that wrote the record."""
    schema: str = SCHEMA
    every_frame: bool | None = None
    """Whether faces were looked for on every frame; None where the record does not say."""

    @property
    def may_be_live(self) -> bool:
        """Whether the source had no length and times as `iznet live` counts them. A file is like this very rarely."""
        return self.duration is None and self.time_base == TICK

    @property
    def longest_silence(self) -> Fraction | None:
        """Ticks from one shot to the next over which somebody may still have been there; None for any number: the last
        picture of a file's shot stands until the next begins."""
        return SILENCE / self.time_base if self.may_be_live else None

    @classmethod
    def of(cls, info: VideoInfo, **rest: Any) -> Header:
        """The header for a video; `rest` are the fields from `detector` on."""
        return cls(info.path, info.width, info.height, info.rotation, info.time_base, info.duration, **rest)


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame line."""

    index: int
    pts: int
    time: float
    """Seconds: pts × time base."""
    shot: int
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The last line."""

    frames: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Frames that were not labelled, counted by cause."""
    damage: Mapping[str, int] = field(default_factory=dict)
    """What was broken in the source, counted by kind."""
    people: tuple[Presence, ...] = ()


Line = Header | RecordedFrame | TrackVerdict | Summary


def encode(line: Line) -> dict[str, Any]:
    """The JSON object of a line. Boxes and landmarks are rounded to 0.1 px, scores and cosines to 0.001."""
    match line:
        case RecordedFrame():
            return {
                "type": "frame",
                "index": line.index,
                "pts": line.pts,
                "time": round(line.time, 6),
                "shot": line.shot,
                "faces": [_face_line(face) for face in line.faces],
            }
        case TrackVerdict():
            stranger = {} if line.stranger is None else {"stranger": line.stranger}
            return {
                "type": "track",
                "track": line.track,
                "shot": line.shot,
                "verdict": line.verdict,
                "name": line.name,
                "similarity": _rounded(line.similarity, 3),
                "first": line.first,
                "last": line.last,
                "frames": line.frames,
                **stranger,
            }
        case Header():
            return _header_line(line)
        case Summary():
            return _summary_line(line)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits) + 0.0


def _face_line(face: Face) -> dict[str, Any]:
    # "+ 0.0" turns -0.0 into 0.0
    return {
        "track": face.track,
        "box": [round(v, 1) + 0.0 for v in face.box.tolist()],
        "score": _rounded(face.score, 3),
        "name": face.name,
        "similarity": _rounded(face.similarity, 3),
        "landmarks": [[round(x, 1) + 0.0, round(y, 1) + 0.0] for x, y in face.landmarks.tolist()],
    }


def _header_line(header: Header) -> dict[str, Any]:
    def model(of: Model | None) -> dict[str, str] | None:
        return None if of is None else {"name": of.name, "sha256": of.sha256}

    return {
        "type": "header",
        "schema": header.schema,
        "source": {
            "path": header.path,
            "width": header.width,
            "height": header.height,
            "rotation": header.rotation,
            "time_base": f"{header.time_base.numerator}/{header.time_base.denominator}",
            "duration": _rounded(header.duration, 6),
        },
        "models": {"detector": model(header.detector), "embedder": model(header.embedder)},
        "gallery": None if header.gallery is None else {"sha256": header.gallery, "people": list(header.people)},
        **({} if header.every_frame is None else {"every_frame": header.every_frame}),
        "iznet": header.version,
    }


def _summary_line(summary: Summary) -> dict[str, Any]:
    line: dict[str, Any] = {"type": "summary", "frames": summary.frames, "dropped": dict(summary.dropped)}
    if summary.damage:
        line["damage"] = dict(summary.damage)
    line["people"] = [
        {"name": p.name, "seconds": p.seconds, "appearances": [list(a) for a in p.appearances]} for p in summary.people
    ]
    return line


def decode(data: Any) -> Line | None:
    """The value object of a JSON object; None for a kind of line that a newer minor version may have added.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError: it makes no sense as a line.
    """
    match data["type"]:
        case "header":
            return _read_header(data)
        case "frame":
            return _read_frame(data)
        case "track":
            return _read_verdict(data)
        case "summary":
            return Summary(
                _count(data["frames"]),
                {str(k): _count(v) for k, v in data["dropped"].items()},
                {str(k): _count(v) for k, v in data.get("damage", {}).items()},
                tuple(
                    Presence(
                        _text(p["name"]),
                        _number(p["seconds"]),
                        tuple((_number(start), _number(end)) for start, end in p["appearances"]),
                    )
                    for p in data["people"]
                ),
            )
        case str():
            return None
        case other:
            raise ValueError(f"type {other!r}")


def contradiction(
    header: Header, frames: Sequence[RecordedFrame], verdicts: Sequence[TrackVerdict], *, complete: bool
) -> str | None:
    """What lines that make sense by themselves say against each other, in words; None if nothing.

    Args:
        header: of the record.
        frames: all frame lines, in order.
        verdicts: all track lines.
        complete: whether every track should have its line by now.
    """
    numerator, denominator = header.time_base.as_integer_ratio()
    for frame in frames:
        if abs(frame.time - frame.pts * numerator / denominator) > TIME_SLACK:
            return f"frame {frame.index} has time {frame.time:g} where its pts and the time base say otherwise"
    for before, frame in pairwise(frames):
        if frame.pts <= before.pts or frame.shot < before.shot:
            return f"frame {frame.index} is not later than the one before, or of an earlier shot"
    judged = Counter(verdict.track for verdict in verdicts)
    for track, count in judged.items():
        if count > 1:
            return f"track {track} has {count} verdicts"
    if complete:
        for frame in frames:
            for face in frame.faces:
                if face.track not in judged:
                    return f"track {face.track}, on frame {frame.index}, has no verdict"
    return None


def _read_header(data: Any) -> Header:
    name, _, version = _text(data["schema"]).partition("/")
    major = version.partition(".")[0]
    if name != SCHEMA.partition("/")[0] or not major.isdecimal():
        raise ValueError(f"schema {data['schema']!r}")
    if int(major) > _MAJOR:
        raise ValueError(f"written by a newer version, {data['schema']}; this one reads up to {SCHEMA}: upgrade iznet")
    source, models, gallery = data["source"], data["models"], data["gallery"]
    if source["rotation"] not in (0, 90, 180, 270):
        raise ValueError(f"rotation {source['rotation']!r}")
    time_base = Fraction(_text(source["time_base"]))
    if time_base <= 0:
        raise ValueError(f"time base {time_base}")

    def model(of: Any) -> Model | None:
        return None if of is None else Model(_text(of["name"]), _text(of["sha256"]))

    return Header(
        path=_path(source["path"]),
        width=_count(source["width"], 1),
        height=_count(source["height"], 1),
        rotation=source["rotation"],
        time_base=time_base,
        duration=_number_or_none(source["duration"]),
        detector=model(models["detector"]),
        embedder=model(models["embedder"]),
        gallery=None if gallery is None else _text(gallery["sha256"]),
        people=() if gallery is None else tuple(_text(p) for p in gallery["people"]),
        every_frame=_flag_or_none(data.get("every_frame")),
        version=_text(data["iznet"]),
        schema=data["schema"],
    )


def _read_frame(data: Any) -> RecordedFrame:
    faces = tuple(_read_face(face) for face in data["faces"])
    if len({face.track for face in faces}) < len(faces):
        raise ValueError("a track is there twice")
    return RecordedFrame(_count(data["index"]), _ticks(data["pts"]), _number(data["time"]), _count(data["shot"]), faces)


def _read_face(data: Any) -> Face:
    box = np.array([_pixels(v) for v in data["box"]], np.float32)
    landmarks = np.array([[_pixels(v) for v in point] for point in data["landmarks"]], np.float32)
    if box.shape != (4,) or landmarks.shape != (5, 2):
        raise ValueError(f"{box.shape = }, {landmarks.shape = }")
    if box[2] < box[0] or box[3] < box[1]:
        raise ValueError(f"box {data['box']} ends before it begins")
    return Face(
        _count(data["track"]),
        box,
        _number(data["score"]),
        landmarks,
        _name(data["name"]),
        _number_or_none(data["similarity"]),
    )


def _read_verdict(data: Any) -> TrackVerdict:
    verdict, name = data["verdict"], _name(data["name"])
    if verdict not in ("named", "unknown", "conflict"):
        raise ValueError(f"verdict {verdict!r}")
    if (verdict == "named") != (name is not None):
        raise ValueError(f"verdict {verdict!r} with the name {name!r}")
    return TrackVerdict(
        _count(data["track"]),
        _count(data["shot"]),
        verdict,
        name,
        _number_or_none(data["similarity"]),
        _ticks(data["first"]),
        _ticks(data["last"]),
        _count(data["frames"], 1),
        None if data.get("stranger") is None else _count(data["stranger"], 1),
    )


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value


def _flag_or_none(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _count(value: Any, least: int = 0) -> int:
    return _whole(value, least, 2**31 - 1)


def _ticks(value: Any) -> int:
    return _whole(value, -(2**62), 2**62)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is not a number")
    if not abs(value) <= MOST:
        raise ValueError(f"{value!r} is too large")
    return float(value)


def _pixels(value: Any) -> float:
    if abs(_number(value)) > MOST_PIXELS:
        raise ValueError(f"{value!r} is far outside of any picture")
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a text")
    value.encode()  # half surrogates are no characters
    return value


def _path(value: Any) -> str:
    """A path may hold bytes that are no text, as Python spells them."""
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a text")
    os.fsencode(value)
    return value


def _name(value: Any) -> str | None:
    if value is not None and not _text(value).strip():
        raise ValueError("a name without a letter")
    return value if value is None else str(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)
