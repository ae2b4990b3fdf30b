"""Where the picture of a followed face changes all at once, as it does where another face takes its place.

The faces of frames that were looked at are compared with those of the look before; only where they differ, so are those
of all frames in between, each with its neighbour: whoever talks or turns differs from look to look, but not from one
frame to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.eyes import Eyes
from stream.frames import Face, Frame, LabelledFrame, sightings
from stream.patches import BROKEN, alike, is_broken, parting

AWAY = 2.0
"""Seconds unseen after which a face's picture is of no use: longer than any track waits for its face."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A face's picture on the latest frame that was looked at."""

    time: float
    """Seconds."""
    patch: NDArray[np.float32]


class Continuity:
    """The pictures of the faces of one video.

    Args:
        eyes: look at them.
    """

    def __init__(self, eyes: Eyes) -> None:
        self._eyes = eyes
        self._seen: dict[int, _Seen] = {}
        self._known: dict[int, _Seen] = {}
        """The same of the latest frame on which it was certain whose face that is."""

    def changes(self, frame: Frame, faces: Sequence[Face], held: Iterable[LabelledFrame]) -> dict[int, float]:
        """Of the faces of the next frame that was looked at, those whose picture has changed all at once since the look
        before: their tracks, and the seconds of that look.

        `held` are frames up to this one, in order, at best all of them since that look.
        """
        if not faces:
            return {}
        patches = self._eyes.patches(frame, np.stack([face.box for face in faces]))
        changes = {}
        for face, patch in zip(faces, patches, strict=True):
            before = self._seen.get(face.track)
            if before is not None and not patch.any():
                patch = before.patch  # in the dark, or in a flash, there is nothing to be seen
            if before is not None and alike(before.patch, patch) < BROKEN:
                there = [each for each in sightings(face.track, held) if before.time < each[0].time < frame.time]
                if is_broken([before.patch, *(self._patch(*each) for each in there), patch]):
                    changes[face.track] = before.time
            self._seen[face.track] = _Seen(frame.time, patch)
        self.forget([track for track, seen in self._seen.items() if frame.time - seen.time > AWAY])
        return changes

    def likeness(self, track: int) -> float | None:
        """How like the face on the latest frame that was looked at is to the one that `know` was told of: its picture
        may have become another one little by little. None where there is nothing to compare."""
        return alike(self._known[track].patch, self._seen[track].patch) if track in self._known else None

    def know(self, track: int) -> None:
        """It is certain whose the face on the latest frame is that was looked at."""
        self._known[track] = self._seen[track]

    def parting(self, track: int, sight: Sequence[tuple[Frame, Face]], after: float) -> int:
        """The first of these sightings of a track that shows another face than the track's, if the last one does, and
        those up to `after` seconds do not."""
        patches = [self._patch(*each) for each in sight]
        if sight[0][0].time <= after:
            return parting(patches)
        return parting([self._known[track].patch, *patches]) - 1

    def call(self, track: int, other: int) -> None:
        """The face that was followed as `track` is followed as `other` from now on."""
        for seen in (self._seen, self._known):
            if track in seen:
                seen[other] = seen.pop(track)

    def forget(self, tracks: Iterable[int] | None = None) -> None:
        """Nothing will be asked about these again, or about any so far."""
        for track in list(self._seen if tracks is None else tracks):
            self._seen.pop(track, None)
            self._known.pop(track, None)

    def _patch(self, frame: Frame, face: Face) -> NDArray[np.float32]:
        return np.asarray(self._eyes.patches(frame, face.box[None])[0])
