"""Who comes and who goes: what a feed shows, told to machines as events."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from stream.frames import Face, TrackVerdict
from stream.live.outbox import Outbox
from stream.live.outputs import Seen

SURE = 0.5
"""Seconds somebody has to be seen before that is told: a name that flickers up for a moment is none."""
GAP = 3.0
"""Seconds somebody may be missed before they have left."""


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody came or went."""

    kind: Literal["appeared", "left"]
    camera: str
    name: str | None
    """None for somebody nobody knows."""
    track: int
    """The latest track of theirs."""
    at: datetime
    """When they were seen first, or last; UTC."""
    seconds: float
    """The same since the run began."""
    stayed: float | None
    """Seconds between the two, where they have left."""
    similarity: float | None
    picture: bytes | None = field(default=None, repr=False)
    """Their face, JPEG."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells an event that is sent again from another one."""

    def to_json(self) -> dict[str, Any]:
        """As it is sent; the picture in base64."""
        return {
            "id": self.id,
            "event": self.kind,
            "camera": self.camera,
            "name": self.name,
            "track": self.track,
            "time": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "seconds": round(self.seconds, 3),
            "stayed": None if self.stayed is None else round(self.stayed, 3),
            "similarity": None if self.similarity is None else round(self.similarity, 3),
            "thumbnail": None if self.picture is None else base64.b64encode(self.picture).decode("ascii"),
        }


Key = str | tuple[int, int]
"""A person by name, or a stranger by epoch and track."""


@dataclass(slots=True)
class Stay:
    """Somebody who is there."""

    face: Face
    """The latest look."""
    epoch: int
    first: float
    last: float
    told: bool = False


class Appearances:
    """Tells who has come and who has gone. Pure: times are those of the frames, seconds.

    Args:
        strangers: whether people without a name count.

    Example:
        >>> appearances = Appearances()
        >>> [appearances.see([face], 1, at) for at in (0.0, 0.3, 0.6)]      # doctest: +SKIP
        [[], [], [('appeared', Stay(…))]]
        >>> appearances.missed(9.0)                                         # doctest: +SKIP
        [('left', Stay(…))]
    """

    def __init__(self, *, strangers: bool = False) -> None:
        self._strangers = strangers
        self._stays: dict[Key, Stay] = {}

    def see(self, faces: Sequence[Face], epoch: int, now: float) -> list[tuple[Literal["appeared", "left"], Stay]]:
        """These people are on the frame at `now`."""
        changes = self.missed(now)
        for face in faces:
            if face.name is None and not self._strangers:
                continue
            key: Key = face.name if face.name is not None else (epoch, face.track)
            stay = self._stays.get(key)
            if stay is None:
                stay = self._stays[key] = Stay(face, epoch, now, now)
            stay.face, stay.epoch, stay.last = face, epoch, now
            if not stay.told and now - stay.first >= SURE:
                stay.told = True
                changes.append(("appeared", stay))
        return changes

    def missed(self, now: float) -> list[tuple[Literal["appeared", "left"], Stay]]:
        """Those who have been gone for long enough at `now`."""
        gone = [key for key, stay in self._stays.items() if now - stay.last > GAP]
        stays = [self._stays.pop(key) for key in gone]
        return [("left", stay) for stay in stays if stay.told]

    def all_gone(self) -> list[tuple[Literal["appeared", "left"], Stay]]:
        """Nobody is watched any more."""
        return self.missed(float("inf"))


class Events:
    """Puts who comes and goes on one feed into an outbox.

    Args:
        camera: its name.
        outbox: closed with the run.
        picture: the face of an epoch's track, JPEG; None where there is none.
        strangers: whether people without a name are told of.
    """

    draws = False

    def __init__(
        self,
        camera: str,
        outbox: Outbox[Event],
        picture: Callable[[int, int], bytes | None] = lambda epoch, track: None,
        *,
        strangers: bool = False,
    ) -> None:
        self.health = outbox.health
        self.outbox = outbox
        self._camera = camera
        self._picture = picture
        self._appearances = Appearances(strangers=strangers)
        self._lock = threading.Lock()
        self._began: float | None = None
        """When the frames' time began, seconds of the monotonic clock; None before the first frame."""
        self._wall = 0.0
        """The same in seconds of the epoch."""
        outbox.start(self._look_round)

    def frame(self, seen: Seen) -> None:
        now = seen.labelled.frame.time
        with self._lock:
            if self._began is None:
                self._began, self._wall = time.monotonic() - now, time.time() - now
            self._tell(self._appearances.see(seen.labelled.faces, seen.epoch, now))

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        return  # who has left is told when they are not seen again

    def close(self, dropped: Mapping[str, int]) -> None:
        with self._lock:
            self._tell(self._appearances.all_gone())
        self.outbox.close()

    def _look_round(self) -> None:
        """Where no frames come any more, people leave all the same."""
        with self._lock:
            if self._began is not None:
                self._tell(self._appearances.missed(time.monotonic() - self._began))

    def _tell(self, changes: Sequence[tuple[Literal["appeared", "left"], Stay]]) -> None:
        for kind, stay in changes:
            moment = stay.first if kind == "appeared" else stay.last
            self.outbox.put(
                Event(
                    kind=kind,
                    camera=self._camera,
                    name=stay.face.name,
                    track=stay.face.track,
                    at=datetime.fromtimestamp(self._wall + moment, UTC),
                    seconds=moment,
                    stayed=stay.last - stay.first if kind == "left" else None,
                    similarity=None if stay.face.similarity is None else float(stay.face.similarity),
                    picture=self._picture(stay.epoch, stay.face.track),
                )
            )
