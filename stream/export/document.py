"""One JSON document (`.json`): the record's lines as they are, gathered under `header`, `frames`, `tracks`, `summary`.

Each of them follows `tracks.schema.json`; on a face stands the final verdict on its track.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stream.tracklines import encode as line
from stream.tracks import Tracks, line_bytes


def encode(record: Tracks, video: Path) -> bytes:
    """The record as UTF-8 JSON; a value of an inner list stands on a line of its own, so that it can be compared."""
    parts = [
        f'"header":{_json(line(record.header))}',
        f'"frames":[{_lines([line(frame) for frame in record.frames])}]',
        f'"tracks":[{_lines([line(verdict) for verdict in record.tracks])}]',
        f'"summary":{"null" if record.summary is None else _json(line(record.summary))}',
    ]
    return ("{" + ",\n".join(parts) + "}\n").encode()


def _lines(values: list[dict[str, object]]) -> str:
    return ",".join(f"\n{_json(value)}" for value in values)


def _json(value: Mapping[str, object]) -> str:
    return line_bytes(value).decode().rstrip("\n")
