"""Frames, the faces on them, and the time they stand at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

Rotation = Literal[0, 90, 180, 270]
Verdict = Literal["named", "unknown", "conflict"]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before its first frame is decoded."""

    path: str
    coded_width: int
    """Pixels as stored, before rotation."""
    coded_height: int
    rotation: Rotation
    """Degrees clockwise that a player turns the stored picture by."""
    time_base: Fraction
    """Seconds a tick of every `pts`."""
    duration: float | None
    """Seconds, where the file says."""
    average_rate: Fraction | None
    """Frames a second, on average; the true rate may vary from frame to frame."""
    pixel_format: str
    """FFmpeg's name, for example `yuv420p10le`."""
    interlaced: bool = False
    coded_pixel_aspect: Fraction = Fraction(1)
    """Width of a stored pixel over its height, as a player shows it: not 1 in anamorphic video, such as a DVD's."""
    frames: int | None = None
    """How many frames the container promises; a hint for the progress bar only."""

    @property
    def width(self) -> int:
        """Pixels as displayed (rotation applied, pixel aspect not)."""
        return self.coded_height if self.rotation in (90, 270) else self.coded_width

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel as displayed over its height."""
        return 1 / self.coded_pixel_aspect if self.rotation in (90, 270) else self.coded_pixel_aspect

    @property
    def height(self) -> int:
        """Pixels as displayed."""
        return self.coded_width if self.rotation in (90, 270) else self.coded_height


@dataclass(slots=True)
class Frame:
    """One decoded picture. Seconds are derived from `pts`, never stored alone."""

    picture: av.VideoFrame
    index: int
    """0, 1, 2 … in presentation order."""
    pts: int
    time_base: Fraction
    shot: int = 0

    @property
    def time(self) -> float:
        """Seconds from the file's own zero."""
        base = self.time_base
        return self.pts * base.numerator / base.denominator  # a Fraction's product takes ten times as long


@dataclass(frozen=True, slots=True)
class Face:
    """One face on one frame, in pixels as displayed."""

    track: int
    box: NDArray[np.float32]
    """`[4]` x1, y1, x2, y2, inside the frame."""
    score: float
    landmarks: NDArray[np.float32]
    """`[5,2]`."""
    name: str | None = None
    """What is drawn: None for someone unknown."""
    similarity: float | None = None
    """Cosine to the nearest prototype, None where no embedding was trusted."""


@dataclass(slots=True)
class LabelledFrame:
    """A frame and everyone on it.

    `frame.picture` is the untouched decoded picture; `rgb()` gives it as displayed.
    """

    frame: Frame
    rotation: Rotation
    faces: list[Face] = field(default_factory=list)

    def rgb(self) -> NDArray[np.uint8]:
        """The picture as uint8 `[H,W,3]` RGB, rotation applied."""
        rgb = self.frame.picture.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(rgb, -(self.rotation // 90)))


def sightings(track: int, frames: Iterable[LabelledFrame]) -> list[tuple[Frame, Face]]:
    """Where a track is on these frames."""
    return [(each.frame, face) for each in frames for face in each.faces if face.track == track]


@dataclass(frozen=True, slots=True)
class TrackVerdict:
    """What is known of a track once all of it has been seen."""

    track: int
    shot: int
    verdict: Verdict
    name: str | None
    similarity: float | None
    first: int
    """pts of the first frame the track is on."""
    last: int
    frames: int
    stranger: int | None = None
    """For someone unknown whose face was seen: a number, the same for the same person over the whole video."""
