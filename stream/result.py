"""What came of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stream.presence import Presence


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What came of labelling or rendering a video or a photo."""

    video: Path | None
    """The labelled copy; None if only the record was asked for."""
    tracks: Path
    frames: int
    fps: float
    """Frames a second over the whole run, files opened and joined included."""
    people: tuple[Presence, ...]
    """Everybody who was named, longest on screen first."""
    seconds: float
    """Wall time of the run."""
    notes: tuple[str, ...] = ()
    """What was decided on the way and the user should know; none begins with a file's name, so that a capital may."""
    damage: Mapping[str, int] = field(default_factory=dict)
    """What was wrong with the source, counted by kind."""
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Calls, CPU-ms of the calling thread, wall-ms and their percentiles, and when the first call ended, for each part
    of the work."""
    queues: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """How full each queue between two threads was, and how long either side waited."""
    latency: Mapping[str, float] = field(default_factory=dict)
    """Percentiles of the time from a frame's decoding to its line in the record, look-ahead included."""
    networks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Inferences of each network, and the pictures or faces in them; the detector's coarse looks stand apart."""
