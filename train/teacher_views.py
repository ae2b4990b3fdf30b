"""What the pretrained teachers see on pictures that a detector is measured on, kept in a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from engine.types import Detections
from train.data.boxes import Picture
from train.data.face_teachers import FaceTeacher
from train.data.pseudo_labels import View, cached_views

YUNET_VIEWS = (View(640), View(960))
CENTERFACE_VIEWS = (View(416), View(640))
SCRFD_VIEWS = (View(640),)
"""Its file has one size."""
LOW = 0.2
"""Score from which a sighting counts as one."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """A list for each teacher, one entry a picture, in pixels of the picture."""

    yunet: list[Detections]
    centerface: list[Detections]
    scrfd: list[Detections]
    """Empty where it was not asked for."""


class Teachers:
    """The three pretrained networks of a folder.

    Raises:
        InputError: one of the files is missing.
    """

    def __init__(self, folder: Path, cache: Path, say: Callable[[str], None]) -> None:
        self._yunet = FaceTeacher.yunet(folder / "yunet_n.onnx")
        self._centerface = FaceTeacher.centerface(folder / "centerface.onnx")
        scrfd = folder / "scrfd_2.5g.onnx"
        self._scrfd = FaceTeacher.scrfd(scrfd) if scrfd.is_file() else None
        self._folder, self._cache, self._say = folder, cache, say

    def look(self, pictures: Sequence[Picture], title: str, *, all_three: bool = False) -> Sightings:
        """What they see on the pictures, down to a score of `LOW`; SCRFD only where `all_three` are asked for.

        Raises:
            InputError: all three are asked for, and SCRFD is missing.
        """
        if all_three and self._scrfd is None:
            missing = self._folder / "scrfd_2.5g.onnx"
            raise InputError(f"{missing}: no such file; the clips are judged by three teachers")

        def seen(teacher: FaceTeacher, views: Sequence[View]) -> list[Detections]:
            def told(done: int, total: int) -> None:
                if done % 50 == 0 or done == total:
                    self._say(f"{title}: {teacher.name} {done} of {total}")

            return cached_views(pictures, teacher, views, self._cache, threshold=LOW, progress=told)

        if not pictures:
            return Sightings([], [], [])
        third = seen(self._scrfd, SCRFD_VIEWS) if all_three and self._scrfd is not None else []
        return Sightings(seen(self._yunet, YUNET_VIEWS), seen(self._centerface, CENTERFACE_VIEWS), third)
