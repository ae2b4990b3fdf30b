"""Pictures of a feed that were not looked at, kept until it is known who must have been on them. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import av
import numpy as np

from stream.frames import Face
from stream.live.reader import Fresh

MOST = 64
"""Pictures; older ones are given up, so that a machine that does not keep up does not fill its memory."""
MOST_BYTES = 256 << 20


def most_of(picture: av.VideoFrame) -> int:
    """How many pictures like this one may be kept."""
    return min(MOST, max(8, MOST_BYTES // (3 * picture.width * picture.height)))


class Held:
    """Keeps the latest pictures in order.

    Example:
        >>> held = Held()
        >>> held.add(first); held.add(second); held.add(third)              # doctest: +SKIP
        >>> held.until(third) == [first, second]                            # doctest: +SKIP
        True
    """

    def __init__(self) -> None:
        self.given_up = 0
        """How many never came out."""
        self._pictures: deque[Fresh] = deque()

    def add(self, fresh: Fresh) -> None:
        """Another picture has come."""
        while len(self._pictures) >= most_of(fresh.picture):
            self._pictures.popleft()
            self.given_up += 1
        self._pictures.append(fresh)

    def until(self, looked_at: Fresh | None) -> list[Fresh]:
        """Those before the one that was looked at, which is let go too; all where there is none."""
        before: list[Fresh] = []
        while self._pictures and (looked_at is None or self._pictures[0].pts <= looked_at.pts):
            fresh = self._pictures.popleft()
            if fresh is not looked_at:
                before.append(fresh)
        return before


Look = tuple[Fresh, Sequence[Face]]
"""A picture that was looked at, and who was on it."""


def faces_between(before: Look | None, fresh: Fresh, after: Look | None) -> list[Face]:
    """Who must have been on a picture between two that were looked at: who is on both moves evenly from one place to
    the other, who is on one of them is on the pictures that are nearer to it. Nobody crosses a cut or a gap.
    """
    earlier, later = _within(before, fresh), _within(after, fresh)
    if before is None or earlier is None:
        return list((later or {}).values())
    if after is None or later is None:
        return list(earlier.values())
    share = (fresh.pts - before[0].pts) / max(1, after[0].pts - before[0].pts)
    nearer = earlier if share < 0.5 else later
    moving = {track: _moved(face, later[track], share) for track, face in earlier.items() if track in later}
    return list((nearer | moving).values())


def _within(look: Look | None, fresh: Fresh) -> dict[int, Face] | None:
    """Who was on it, if it belongs together with the picture."""
    if look is None or look[0].segment != fresh.segment:
        return None
    return {face.track: face for face in look[1]}


def _moved(one: Face, other: Face, share: float) -> Face:
    part = np.float32(share)
    return replace(
        other,
        box=one.box + part * (other.box - one.box),
        landmarks=one.landmarks + part * (other.landmarks - one.landmarks),
    )
