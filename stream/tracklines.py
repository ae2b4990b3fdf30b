"""The lines of a record as value objects, and their JSON: what `tracks.schema.json` describes, in code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stream.frames import Face, Rotation, TrackVerdict, VideoInfo
from stream.presence import Presence

SCHEMA = "iznet.tracks/1.1"
SCHEMA_FILE = Path(__file__).with_name("tracks.schema.json")
_MAJOR = 1


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
            return RecordedFrame(
                _whole(data["index"]),
                _whole(data["pts"]),
                _number(data["time"]),
                _whole(data["shot"]),
                tuple(_read_face(face) for face in data["faces"]),
            )
        case "track":
            if data["verdict"] not in ("named", "unknown", "conflict"):
                raise ValueError(f"verdict {data['verdict']!r}")
            return TrackVerdict(
                _whole(data["track"]),
                _whole(data["shot"]),
                data["verdict"],
                _text_or_none(data["name"]),
                _number_or_none(data["similarity"]),
                _whole(data["first"]),
                _whole(data["last"]),
                _whole(data["frames"]),
                None if data.get("stranger") is None else _whole(data["stranger"]),
            )
        case "summary":
            return Summary(
                _whole(data["frames"]),
                {str(k): _whole(v) for k, v in data["dropped"].items()},
                {str(k): _whole(v) for k, v in data.get("damage", {}).items()},
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

    def model(of: Any) -> Model | None:
        return None if of is None else Model(_text(of["name"]), _text(of["sha256"]))

    return Header(
        path=_text(source["path"]),
        width=_whole(source["width"]),
        height=_whole(source["height"]),
        rotation=source["rotation"],
        time_base=Fraction(_text(source["time_base"])),
        duration=_number_or_none(source["duration"]),
        detector=model(models["detector"]),
        embedder=model(models["embedder"]),
        gallery=None if gallery is None else _text(gallery["sha256"]),
        people=() if gallery is None else tuple(_text(p) for p in gallery["people"]),
        version=_text(data["iznet"]),
        schema=data["schema"],
    )


def _read_face(data: Any) -> Face:
    box = np.array([_number(v) for v in data["box"]], np.float32)
    landmarks = np.array([[_number(v) for v in point] for point in data["landmarks"]], np.float32)
    if box.shape != (4,) or landmarks.shape != (5, 2):
        raise ValueError(f"{box.shape = }, {landmarks.shape = }")
    return Face(
        _whole(data["track"]),
        box,
        _number(data["score"]),
        landmarks,
        _text_or_none(data["name"]),
        _number_or_none(data["similarity"]),
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a text")
    return value


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)
