"""Precision on video clips without labels, repeatable: teachers confirm most finds, eyes decide the rest.

On frames taken every half second, each find of at least the default threshold is held against three teachers, at
two sizes each where their files allow it. It is *confirmed* where one teacher is sure of a face there (score 0.5), or
two see one (0.2), with IoU 0.4; each of a teacher's faces confirms one find at most, so that a second box on a face is
none. Whatever is left is *doubtful*: it is drawn on a sheet, and a file of verdicts says what somebody saw there. A
doubtful find without a verdict counts as wrong, so that the figure can only rise when somebody looks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.metrics import box_iou
from engine.types import Detections
from train.contenders import Contender
from train.data.boxes import Picture, unknown_landmarks
from train.teacher_views import LOW, Sightings

EVERY = 0.5
"""Seconds between two frames."""
SURE = 0.5
OVERLAP = 0.4
CLIPS = (".mp4", ".mov", ".mkv", ".webm")


@dataclass(frozen=True, slots=True)
class Find:
    """A doubtful find, and what somebody said about it."""

    picture: str
    """Clip and frame, `NAME#INDEX`."""
    box: tuple[float, float, float, float]
    """Pixels of the frame."""
    score: float
    face: bool | None = None
    """None: nobody has looked."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What became of the finds."""

    frames: int
    finds: int
    confirmed: int
    doubtful: list[Find]
    missed: int
    """Faces that at least two teachers are sure of, of 24 px and more with the longer side at 640, without a find."""
    sure: int
    """How many such faces there are."""

    def figures(self) -> dict[str, Any]:
        """As JSON takes them."""
        right = self.confirmed + sum(find.face is True for find in self.doubtful)
        return {
            "frames": self.frames,
            "finds": self.finds,
            "confirmed_by_teachers": self.confirmed,
            "faces_by_eye": right - self.confirmed,
            "wrong": sum(find.face is False for find in self.doubtful),
            "not_looked_at": sum(find.face is None for find in self.doubtful),
            "precision": round(right / self.finds, 4) if self.finds else None,
            "sure_faces": self.sure,
            "missed": self.missed,
        }


def clip_frames(folder: Path, every: float = EVERY) -> list[Picture]:
    """A frame of every clip in `folder` (and its subfolders) each `every` seconds, named `CLIP#INDEX`, without boxes.

    Raises:
        InputError: there is no clip, or one cannot be decoded.
    """
    import av

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in CLIPS)
    if not paths:
        raise InputError(f"{folder}: holds no clip ({', '.join(CLIPS)})")
    frames = []
    for path in paths:
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                step = max(1, round(every * float(stream.average_rate or 25)))
                for index, frame in enumerate(container.decode(stream)):
                    if index % step == step // 2:
                        rgb = np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)
                        name = f"{path.stem}#{index}"
                        nothing = np.zeros((0, 4), np.float32)
                        frames.append(Picture(name, rgb, nothing, np.zeros(0, bool), unknown_landmarks(0), path.stem))
        except (av.error.FFmpegError, IndexError) as error:
            raise InputError(f"{path}: cannot be decoded ({error}); take it out of the folder") from None
    return frames


def judge_clips(
    contender: Contender, frames: Sequence[Picture], seen: Sightings, verdicts: Sequence[Find] = (), size: int = 640
) -> ClipResult:
    """Hold the finds on the frames against the teachers, and the doubtful ones against the verdicts."""
    finds = confirmed = missed = sure_faces = 0
    doubtful = []
    for number, frame in enumerate(frames):
        found = contender.detect(frame.rgb, size)
        found = found.select(found.scores >= contender.threshold)
        teachers = (seen.yunet[number], seen.centerface[number], seen.scrfd[number])
        votes = np.stack([confirming_scores(found, teacher) for teacher in teachers])
        good = (votes >= SURE).any(axis=0) | ((votes >= LOW).sum(axis=0) >= 2)
        finds += len(found)
        confirmed += int(good.sum())
        for k in np.flatnonzero(~good):
            x1, y1, x2, y2 = (round(float(v), 1) for v in found.boxes[k])
            doubtful.append(_judged(Find(frame.name, (x1, y1, x2, y2), round(float(found.scores[k]), 3)), verdicts))
        faces = sure_boxes(teachers, 24 * max(frame.rgb.shape[:2]) / 640)
        met = box_iou(faces, found.boxes).max(axis=1, initial=0.0) >= OVERLAP
        sure_faces += len(faces)
        missed += int((~met).sum())
    return ClipResult(len(frames), finds, confirmed, doubtful, missed, sure_faces)


def confirming_scores(found: Detections, teacher: Detections) -> NDArray[np.float64]:
    """`[len(found)]`: the score of the teacher's face that each find is matched with, 0 for none; best find first."""
    scores = np.zeros(len(found))
    overlaps = box_iou(found.boxes, teacher.boxes)
    for k in np.argsort(-found.scores, kind="stable"):
        if not len(teacher):
            break
        best = int(overlaps[k].argmax())
        if overlaps[k, best] >= OVERLAP:
            scores[k] = teacher.scores[best]
            overlaps[:, best] = -1.0
    return scores


def sure_boxes(teachers: Sequence[Detections], smallest: float) -> NDArray[np.float32]:
    """`[N,4]`: boxes of the first teacher's or the second's sure faces that another one is sure of too."""
    boxes: list[NDArray[np.float32]] = []
    for number, teacher in enumerate(teachers):
        for box in teacher.boxes[teacher.scores >= SURE]:
            agreeing = any(
                len(other) and box_iou(box[None], other.boxes[other.scores >= SURE]).max(initial=0.0) >= OVERLAP
                for other in teachers[number + 1 :]
            )
            known = bool(boxes) and box_iou(box[None], np.stack(boxes)).max() >= OVERLAP
            if agreeing and not known and (box[2:] - box[:2]).min() >= smallest:
                boxes.append(box)
    return np.stack(boxes).astype(np.float32) if boxes else np.zeros((0, 4), np.float32)


def _judged(find: Find, verdicts: Sequence[Find]) -> Find:
    """The find with the verdict of a stored one on the same frame at the same place (IoU 0.5)."""
    here = [v for v in verdicts if v.picture == find.picture]
    if not here:
        return find
    overlaps = box_iou(np.array([find.box]), np.array([v.box for v in here]))[0]
    best = here[int(overlaps.argmax())]
    return Find(find.picture, find.box, find.score, best.face, best.note) if overlaps.max() >= 0.5 else find


def read_verdicts(path: Path | None) -> list[Find]:
    """The verdicts of a file that `verdict_lines` made and somebody filled in; none where `path` is None.

    Raises:
        InputError: it is missing or something else.
    """
    if path is None:
        return []
    try:
        entries = json.loads(path.read_text("utf-8"))
        finds = [
            Find(
                str(e["picture"]),
                (float(e["box"][0]), float(e["box"][1]), float(e["box"][2]), float(e["box"][3])),
                float(e["score"]),
                e["face"],
                str(e.get("note", "")),
            )
            for e in entries
        ]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); leave --verdicts out to start afresh") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: is no file of verdicts ({type(error).__name__}: {error})") from None
    if any(find.face not in (True, False, None) for find in finds):
        raise InputError(f"{path}: `face` is true, false or null in every entry")
    return finds


def verdict_lines(finds: Sequence[Find]) -> str:
    """The finds as JSON, one a line, for somebody to fill in `face`."""
    lines = ",\n".join(" " + json.dumps(asdict(find), ensure_ascii=False) for find in finds)
    return f"[\n{lines}\n]\n" if finds else "[]\n"


def merged(old: Sequence[Find], new: Sequence[Find]) -> list[Find]:
    """Old verdicts and new doubtful finds, each place once; in the order of the pictures' names and the boxes."""
    kept = [find for find in old if find.face is not None]
    for find in new:
        if _judged(find, kept).face is None:
            kept.append(find)
    return sorted(kept, key=lambda find: (find.picture, find.box))
