"""How right a record is, against truth: names by panels, tracks by boxes.

Two kinds of truth. *Panels* say who stands where on the screen (a montage, a grid of interviews): every name drawn
is judged by the panel its face lies in. *Boxes* say where every face is and which track it belongs to: whole tracks
are judged by IDF1 (Ristani et al., ECCV-W 2016) and HOTA (Luiten et al., IJCV 2020, arXiv 2009.07736).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from engine.errors import InputError
from engine.metrics import box_iou
from stream.tracks import Tracks


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the screen that shows one person."""

    left: float
    """Pixels as displayed."""
    top: float
    width: float
    height: float
    person: str
    known: bool
    """Whether this person is enrolled; nobody else may be named."""

    def holds(self, box: NDArray[np.float32]) -> bool:
        """Whether the middle of `box` `[4]` xyxy lies in the panel."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return bool(self.left <= x < self.left + self.width and self.top <= y < self.top + self.height)


@dataclass(frozen=True, slots=True)
class PanelShot:
    """One shot: frames `first` to `last`, and its panels."""

    first: int
    last: int
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class NameAccuracy:
    """Names against panels; every count is of visible face-frames (a panel on one frame) unless said otherwise."""

    visible: int
    known: int
    """Of them, those that show somebody enrolled."""
    right: int
    """Known ones with the right name."""
    wrong: int
    """Names in a known person's panel that are somebody else's."""
    strangers: int
    """Names in a stranger's panel."""
    stray: int
    """Names outside every panel."""
    unseen: int
    """Panels without any face."""
    switches: int
    """Times a panel's name changed to another one inside a shot."""
    across_cuts: int
    """Tracks (not frames) that are on both sides of a cut."""

    @property
    def precision(self) -> float:
        """Right names of all names; 1 where none was given."""
        named = self.right + self.wrong + self.strangers + self.stray
        return self.right / named if named else 1.0

    @property
    def recall(self) -> float:
        """Right names of all known face-frames; 1 where there are none."""
        return self.right / self.known if self.known else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def as_json(self) -> dict[str, float | int]:
        """All counts and rates."""
        counts = {name: int(getattr(self, name)) for name in self.__dataclass_fields__}
        rates = {name: round(float(getattr(self, name)), 6) for name in ("precision", "recall", "f1")}
        return {
            **rates,
            **counts,
            "wrong_rate": round(self.wrong / max(1, self.visible), 6),
            "stranger_rate": round(self.strangers / max(1, self.visible), 6),
        }


def read_panels(path: Path) -> tuple[PanelShot, ...]:
    """Panel truth from JSON: `shots`, each with `first`, `last` (frames) and `panels` of `rect`
    `[left, top, width, height]`, `person` and `known`.

    Raises:
        InputError: no such file, or not panel truth.
    """
    data = _json(path)
    try:
        return tuple(
            PanelShot(
                int(shot["first"]),
                int(shot["last"]),
                tuple(_panel(p) for p in shot["panels"]),
            )
            for shot in data["shots"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no panel truth ({type(error).__name__}: {error}); it needs shots with first, last and panels"
        ) from None


def _panel(data: Any) -> Panel:
    left, top, width, height = (float(v) for v in data["rect"])
    return Panel(left, top, width, height, str(data["person"]), bool(data["known"]))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None


def name_accuracy(record: Tracks, shots: Sequence[PanelShot]) -> NameAccuracy:
    """Judge the names of a record; read it with `drawn=True` for what was drawn, without for the final verdicts.

    Raises:
        InputError: the truth speaks of frames that the record does not have.
    """
    if shots:
        _check_length(record, shots[-1].last)
    count: dict[str, int] = defaultdict(int)
    sides: dict[int, set[int]] = defaultdict(set)
    for number, shot in enumerate(shots):
        latest: dict[int, str] = {}
        for frame in record.frames[shot.first : shot.last + 1]:
            for face in frame.faces:
                sides[face.track].add(number)
                if face.name is not None and not any(panel.holds(face.box) for panel in shot.panels):
                    count["stray"] += 1
            for place, panel in enumerate(shot.panels):
                inside = [face for face in frame.faces if panel.holds(face.box)]
                names = [face.name for face in inside if face.name is not None]
                count["visible"] += 1
                count["unseen"] += not inside
                count["known"] += panel.known
                if panel.known:
                    right = panel.person in names
                    count["right"] += right
                    # A second face with the right name in one panel is wrong: nobody is there twice.
                    count["wrong"] += len(names) - right
                else:
                    count["strangers"] += len(names)
                if names:
                    count["switches"] += latest.get(place, names[0]) != names[0]
                    latest[place] = names[0]
    return NameAccuracy(
        **{name: count[name] for name in NameAccuracy.__dataclass_fields__ if name != "across_cuts"},
        across_cuts=sum(len(shots_of) > 1 for shots_of in sides.values()),
    )


def _check_length(record: Tracks, last: int) -> None:
    frames = len(record.frames)
    if last >= frames:
        raise InputError(f"the truth goes to frame {last}, the record has {frames} frames: another video's?")


Boxes = Mapping[int, tuple[NDArray[np.intp], NDArray[np.float32]]]
"""Frame number (from 0) → ids `[N]` and boxes `[N,4]` xyxy in pixels."""


def record_boxes(record: Tracks, minimum: float = 0.0) -> Boxes:
    """Tracks and boxes of every frame with a face; those whose shorter side is under `minimum` pixels are left out."""
    boxes = {}
    for frame in record.frames:
        faces = [f for f in frame.faces if min(f.box[2] - f.box[0], f.box[3] - f.box[1]) >= minimum]
        if faces:
            boxes[frame.index] = (np.array([f.track for f in faces], np.intp), np.stack([f.box for f in faces]))
    return boxes


def read_mot(path: Path) -> Boxes:
    """Box truth in MOT Challenge format: `frame,id,left,top,width,height,…`; frames and pixels are counted from 1, as
    the export to `.txt` writes them.

    Lines whose seventh column is 0 are not to be judged and are left out.

    Raises:
        InputError: no such file, a line that is none of these, or one id twice on one frame.
    """
    rows: dict[int, list[tuple[int, list[float]]]] = defaultdict(list)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            when, who, left, top, width, height, *rest = (float(v) for v in line.split(","))
            frame, track = int(when), int(who)
        except (ValueError, OverflowError):
            raise InputError(f"{path}, line {number}: not frame,id,left,top,width,height") from None
        if rest and rest[0] == 0:
            continue
        if any(track == other for other, _ in rows[frame - 1]):
            raise InputError(f"{path}, line {number}: track {track} is on frame {frame} twice")
        rows[frame - 1].append((track, [left - 1, top - 1, left - 1 + width, top - 1 + height]))
    return {
        frame: (np.array([r[0] for r in here], np.intp), np.array([r[1] for r in here], np.float32))
        for frame, here in sorted(rows.items())
    }


@dataclass(frozen=True, slots=True)
class TrackAccuracy:
    """Tracks against boxes, all 0…1."""

    idf1: float
    """Faces with the right identity, at IoU 0.5 and the best one-to-one match of whole tracks."""
    hota: float
    """Mean over IoU 0.05 … 0.95 of the root of detection times association."""
    detection: float
    """DetA of HOTA."""
    association: float
    """AssA of HOTA."""
    localisation: float
    """Mean IoU of matched boxes (LocA)."""

    def as_json(self) -> dict[str, float]:
        """All of them."""
        return {name: round(float(getattr(self, name)), 6) for name in self.__dataclass_fields__}


def box_accuracy(record: Tracks, truth: Boxes, minimum: float = 0.0) -> TrackAccuracy:
    """The tracks of a record, without faces under `minimum` pixels, against boxes.

    Raises:
        InputError: the truth speaks of frames that the record does not have.
    """
    _check_length(record, max(truth, default=-1))
    return track_accuracy(record_boxes(record, minimum), truth)


def track_accuracy(found: Boxes, truth: Boxes) -> TrackAccuracy:
    """IDF1 and HOTA of `found` against `truth`; frames that the truth does not mention count as empty there.

    Example:
        >>> one = {0: (np.array([7]), np.array([[0, 0, 10, 10]], np.float32))}
        >>> track_accuracy(one, one).hota
        1.0
    """
    frames = sorted(set(found) | set(truth))
    nothing = (np.zeros(0, np.intp), np.zeros((0, 4), np.float32))
    true_ids, found_ids = _numbered(truth), _numbered(found)
    steps = []
    for frame in frames:
        (a, true_boxes), (b, found_boxes) = truth.get(frame, nothing), found.get(frame, nothing)
        rows, columns = (np.array([ids[int(i)] for i in v], np.intp) for ids, v in ((true_ids, a), (found_ids, b)))
        steps.append((rows, columns, box_iou(true_boxes, found_boxes)))
    idf1 = _idf1(steps, len(true_ids), len(found_ids))
    return TrackAccuracy(idf1, *_hota(steps, len(true_ids), len(found_ids)))


Steps = Sequence[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]]
"""Per frame: numbers of true tracks `[T]` and found tracks `[F]`, IoU `[T,F]`."""


def _numbered(boxes: Boxes) -> dict[int, int]:
    """Ids → 0, 1, 2 …"""
    return {int(i): number for number, i in enumerate(sorted({int(i) for ids, _ in boxes.values() for i in ids}))}


def _idf1(steps: Steps, true_tracks: int, found_tracks: int) -> float:
    """Twice the frames on which matched tracks overlap, over all true and all found boxes."""
    together = np.zeros((true_tracks, found_tracks))
    total = 0
    for rows, columns, iou in steps:
        total += len(rows) + len(columns)
        i, j = np.nonzero(iou >= 0.5)
        np.add.at(together, (rows[i], columns[j]), 1)
    if not total:
        return 1.0
    best = linear_sum_assignment(-together)
    return float(2 * together[best].sum() / total)


def _hota(steps: Steps, true_tracks: int, found_tracks: int) -> tuple[float, float, float, float]:
    """HOTA, DetA, AssA, LocA: the paper's equations 1 to 6, matched on each frame as its section 4.3 says."""
    true_count, found_count = np.zeros(true_tracks), np.zeros(found_tracks)
    potential = np.zeros((true_tracks, found_tracks))
    for rows, columns, iou in steps:
        np.add.at(true_count, rows, 1)
        np.add.at(found_count, columns, 1)
        union = iou.sum(0, keepdims=True) + iou.sum(1, keepdims=True) - iou
        share = np.divide(iou, union, out=np.zeros_like(union), where=union > 1e-9)
        potential[np.ix_(rows, columns)] += share
    if not true_count.sum() + found_count.sum():
        return 1.0, 1.0, 1.0, 1.0
    # How well two whole tracks go together decides between boxes that fit equally well on one frame.
    alignment = potential / np.maximum(1e-9, true_count[:, None] + found_count[None] - potential)
    levels = np.arange(0.05, 0.99, 0.05)
    matches = np.zeros((len(levels), true_tracks, found_tracks))
    overlap = np.zeros(len(levels))
    for rows, columns, iou in steps:
        if not iou.size:
            continue
        i, j = linear_sum_assignment(-(alignment[np.ix_(rows, columns)] * iou))
        for level, least in enumerate(levels):
            kept = iou[i, j] >= least - 1e-9
            matches[level, rows[i[kept]], columns[j[kept]]] += 1
            overlap[level] += iou[i[kept], j[kept]].sum()
    hit = matches.sum((1, 2))
    detection = hit / np.maximum(1.0, true_count.sum() + found_count.sum() - hit)
    union = np.maximum(1.0, true_count[None, :, None] + found_count[None, None] - matches)
    association = (matches * matches / union).sum((1, 2)) / np.maximum(1.0, hit)
    localisation = np.maximum(1e-9, overlap) / np.maximum(1e-9, hit)
    hota = np.sqrt(detection * association)
    return float(hota.mean()), float(detection.mean()), float(association.mean()), float(localisation.mean())
