"""Which frames are looked at, and which faces are there.

Every frame is compared with its neighbours to find the cuts; faces are looked for on as few frames as `Cadence` allows,
always on the first and the last of a shot. What is found decides alone, in frame order: not what becomes of it, so that
looking may be ahead of the rest, in a thread of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.types import Detections
from stream.between import astray
from stream.cadence import EVERY_FRAME, Cadence
from stream.eyes import Eyes, HostEyes, letterboxed
from stream.frames import Frame, VideoInfo
from stream.shots import Glance, ShotDetector, difference, glance
from stream.stages import StageClock

MARGIN = 0.05
"""How much surer than its threshold the detector has to be of a face whose coming and going is followed to the frame:
one on the brink comes and goes all the time."""
FILLING = 0.4
"""Height of a face, in parts of the picture's shorter side, that may soon fill it."""
STILL = 0.15
"""How unlike the picture of the latest look (see `difference`) a frame may be that lies in a gap wider than usual: who
comes and goes again within a gap is missed, so the picture has to stay what it was."""
MISLED = 8
"""After how many gaps at the latest the pictures are asked again whether a face strayed, where the light moves and they
are always wrong."""
WEAK = 0.4
"""Part of the detector's threshold from which a detection counts as a weak one."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames of one shot that follow the latest look, up to the next one that is always looked at."""

    frames: Sequence[Frame]
    found: Mapping[int, Detections]
    """The faces of those that were looked at, weak ones too, by their place in `frames`."""
    cut: bool
    """Whether a shot begins with the first of them."""


class Looker:
    """Finds the cuts and the faces of one video, frame after frame.

    Args:
        info: the video's geometry.
        detector: finds the faces.
        ready: returns when the detector can be used.
        longest: seconds between two looks at the most; None leaves it to the cadence.
        clock: where the time of each stage is added up.
        eyes: looks at the pictures; None for the CPU.
    """

    def __init__(
        self,
        info: VideoInfo,
        detector: Detector,
        ready: Callable[[], None],
        *,
        longest: float | None = None,
        clock: StageClock | None = None,
        eyes: Eyes | None = None,
    ) -> None:
        self.box = detector.letterbox(info.width, info.height, pixel_aspect=info.pixel_aspect)
        """How pictures lie in what the detector is given."""
        self._info = info
        self._detector = detector
        self._ready = ready
        self._clock = clock or StageClock()
        self._eyes = eyes or HostEyes(info, detector, clock=self._clock)
        confident = detector.threshold + MARGIN
        self._cadence = Cadence(confident) if longest is None else Cadence(confident, longest)
        self._gap_width = self._cadence.width()
        self._shots = ShotDetector()
        self._waiting: deque[tuple[Frame, Glance]] = deque()
        """Frames after the latest that was looked at."""
        self._cuts: deque[bool] = deque()
        """Whether a shot starts there, for the first of them."""
        self._before: tuple[float, Detections] | None = None
        """When the latest look of this shot was, seconds, and what it found."""
        self._picture: Glance | None = None
        """What the frame of the latest look was like."""
        self._misled = 0
        """So often in a row the pictures were wrong that a face had strayed."""
        self._unasked = 0
        """So many gaps they are not asked about."""
        self._looks_without_coarse = 0

    def prepare(self, most: int = 1) -> None:
        """Make the detector ready for pictures of this size, one and up to so `most` at a time."""
        for count in range(1, most + 1):
            self._detector.prepare(count, self.box.padded_height, self.box.padded_width)

    def rehearse(self, most: int = 1) -> None:
        """Run the detector once on nothing, after `prepare`, taking all for faces: the first time takes long."""
        for count in range(1, most + 1):
            job = self._detector.job(count, self.box.padded_height, self.box.padded_width)
            job.pixels[...] = 0
            job.start([self.box] * count, threshold=0.0).result()

    def glance(self, frame: Frame) -> Glance:
        """What cuts are found by. May be asked in any thread: whoever has just decoded the picture has it at hand."""
        with self._clock("shots"):
            return glance(self._eyes.cells(frame))

    def push(self, frame: Frame, seen: Glance | None = None) -> list[Gap]:
        """Take the next frame, and its `glance` if that has been asked; return what has been looked at, in order."""
        seen = seen or self.glance(frame)
        self._cuts.extend(self._shots.push(seen))
        self._waiting.append((frame, seen))
        return self._gaps(ended=False)

    def finish(self) -> list[Gap]:
        """The gaps that are left after the last frame was pushed."""
        self._cuts.extend(self._shots.flush())
        return self._gaps(ended=True)

    def break_off(self) -> None:
        """The next frame does not go on what came before."""
        self._before = None
        self._gap_width = self._cadence.width()
        self._misled = self._unasked = 0

    def _gaps(self, ended: bool) -> list[Gap]:
        """Look as far as shots are known."""
        gaps = []
        while (count := self._next(ended)) > 0:
            cut = self._cuts[0]
            for _ in range(count):
                self._cuts.popleft()
            frames, pictures = zip(*(self._waiting.popleft() for _ in range(count)), strict=True)
            gaps.append(Gap(frames, self._found(frames, pictures), cut))
            self._picture = pictures[-1]
        return gaps

    def _next(self, ended: bool) -> int:
        """How many frames the next gap takes; 0 while that is not known."""
        if not self._cuts:
            return 0
        if self._cuts[0]:
            self.break_off()
        if self._before is None:
            return 1
        known = len(self._cuts)
        same_shot = next((i for i in range(1, known) if self._cuts[i]), known)
        start, times = self._before[0], [self._waiting[i][0].time for i in range(same_shot)]
        count = self._cadence.gap(self._gap_width, start, times)
        usual = self._cadence.gap(self._cadence.width(), start, times)
        count = next((i for i in range(usual, count) if self._differs(self._waiting[i][1])), count)
        # The frame after it may be a cut, or belong to the gap.
        return 0 if count == known and not ended else count

    def _differs(self, picture: Glance) -> bool:
        """Whether the picture is no longer that of the latest look."""
        return self._picture is None or difference(self._picture, picture) > STILL

    def _found(self, frames: Sequence[Frame], pictures: Sequence[Glance]) -> dict[int, Detections]:
        before = None if self._before is None else self._before[1]
        seen = [self._picture or pictures[0], *pictures]

        def doubt(first: int, last: int, boxes: NDArray[np.float32]) -> int | None:
            if self._unasked:
                return None
            with self._clock("shots"):
                inside = astray(seen[first + 1 : last + 2], boxes, self._info)
            return None if inside is None else first + inside

        looked = self._cadence.looks(len(frames), before, lambda i: self._detect(frames[i]), doubt)
        if looked.misled is not None:
            self._misled = self._misled + 1 if looked.misled and looked.motion <= self._cadence.calm else 0
            self._unasked = min(2**self._misled // 2, MISLED)
        self._unasked = max(0, self._unasked - 1)
        self._before = frames[-1].time, looked.found[len(frames) - 1]
        if before is not None:
            self._gap_width = self._cadence.width(self._gap_width, looked.motion)
        return looked.found

    def _detect(self, frame: Frame) -> Detections:
        self._ready()
        least = weakest(self._detector)
        if self._cadence.longest == EVERY_FRAME and self._waiting:
            self._eyes.expect(self._waiting[0][0], least)
        return self._eyes.faces(frame, least, self._wants_coarse())

    def _fill(self, frame: Frame, pixels: NDArray[np.uint8]) -> None:
        """Draw a frame into what the detector is given."""
        with self._clock("scale"):
            letterboxed(frame.picture, self._info, self.box, pixels)

    def _wants_coarse(self) -> bool:
        """Whether the next frame is looked at again for faces that fill it; asked once for each."""
        coarse = self._may_be_filled()
        self._looks_without_coarse = 0 if coarse else self._looks_without_coarse + 1
        return coarse

    def _may_be_filled(self) -> bool:
        """Whether a face may fill the picture: at a shot's start, where a face was large or none was found, and every
        now and then.
        """
        if self._before is None or self._looks_without_coarse >= 3:
            return True
        before = self._before[1]
        boxes = before.boxes[before.scores >= self._detector.threshold]
        tall = FILLING * min(self._info.width, self._info.height)
        return not len(boxes) or bool((boxes[:, 3] - boxes[:, 1]).max() >= tall)


def weakest(detector: Detector) -> float:
    """The least score of what is looked for, weak detections too."""
    return WEAK * detector.threshold


def find_together(looks: Sequence[tuple[Looker, Frame]]) -> list[Detections]:
    """The faces of a frame of each of several videos, weak ones too; from now on each is the latest of its video that
    was looked at. Those whose small pictures are of one size are looked at in one inference.

    Args:
        looks: of different videos with the same detector, which is ready for so many.
    """
    detector, clock = looks[0][0]._detector, looks[0][0]._clock
    groups: dict[tuple[int, int], list[int]] = {}
    for number, (looker, _) in enumerate(looks):
        groups.setdefault(looker.box.padded, []).append(number)
    jobs = []
    for (width, height), members in groups.items():
        job = detector.job(len(members), height, width)
        for number, pixels in zip(members, job.pixels, strict=True):
            looker, frame = looks[number]
            looker._fill(frame, pixels)
        jobs.append((job, members))
    for looker, _ in looks:
        looker._ready()
    found: dict[int, Detections] = {}
    coarse = [looker._wants_coarse() for looker, _ in looks]
    with clock("detect"):
        for job, members in jobs:
            boxes = [looks[number][0].box for number in members]
            job.start(boxes, weakest(detector), coarse=[coarse[number] for number in members])
        for job, members in jobs:
            found.update(zip(members, job.result(), strict=True))
    for number, (looker, frame) in enumerate(looks):
        looker._before = frame.time, found[number]
    return [found[number] for number in range(len(looks))]
