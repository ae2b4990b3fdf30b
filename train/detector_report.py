"""The table of a detector and its rivals, as JSON and as Markdown: what `iznet train eval-detector` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.errors import OutputError
from engine.types import Detections
from train.data.boxes import LoadReport, load_box_set, split_dev
from train.data.face_teachers import FaceTeacher
from train.data.pseudo_labels import add_landmarks
from train.detector_eval import (
    MINIMUM,
    Detect,
    Judgement,
    close_up_recall,
    close_ups,
    draw_sheet,
    judge,
    landmark_error,
)

LOWEST = 0.02
"""Score down to which curves are followed."""
DEV_PICTURES = 60
RIVALS = (
    ("yunet_n.onnx", FaceTeacher.yunet),
    ("centerface.onnx", FaceTeacher.centerface),
    ("scrfd_2.5g.onnx", FaceTeacher.scrfd),
)


@dataclass(slots=True)
class Report:
    """What was measured."""

    data: str
    pictures: int
    detector: str
    sha256: str
    threshold: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {
            "data": self.data,
            "pictures": self.pictures,
            "detector": self.detector,
            "sha256": self.sha256,
            "threshold": self.threshold,
            "table": self.rows,
            "facts": self.facts,
            "problems": self.problems,
        }

    def as_markdown(self) -> str:
        """The table and the facts."""
        head = ["detector", "longer side", *(f"AP ≥ {m} px" for m in MINIMUM)]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for row in self.rows:
            cells = [str(row["detector"]), str(row["size"])]
            for m in MINIMUM:
                interval = row.get(f"ap{m}_interval")
                spread = f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else ""
                cells.append(f"{row[f'ap{m}']:.3f}{spread}")
            lines.append("| " + " | ".join(cells) + " |")
        faces = self.rows[0]["faces"] if self.rows else {}
        counted = ", ".join(f"{faces.get(str(m), 0)} of ≥ {m} px" for m in MINIMUM)
        text = [
            "# Face detection",
            "",
            f"Average precision at IoU 0.5 on {self.data} ({self.pictures} pictures; faces: {counted}, shorter side, "
            "with the longer side of the picture at the size in the table; ignored faces, and faces "
            "and finds that are smaller, neither hit nor miss). In brackets: 95 % bootstrap interval over pictures.",
            "",
            *lines,
            "",
            f"{self.detector}, sha256 `{self.sha256[:16]}…`, default threshold {self.threshold:g}:",
            "",
            *(f"- {name}: {value:.4g}" for name, value in self.facts.items()),
            "",
        ]
        return "\n".join(text)

    def write_markdown(self, path: Path) -> None:
        """Write the table to a file.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            path.write_text(self.as_markdown())
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def engine_detect(detector: Detector) -> Detect:
    """The engine's detector in the form that the measurements take."""

    def detect(rgb: NDArray[np.uint8], size: int) -> Detections:
        return detector.detect([rgb], threshold=LOWEST, size=size)[0]

    return detect


def evaluate(
    data: Path,
    model: Path | None,
    teachers: Path | None,
    *,
    sizes: Sequence[int] = (640,),
    dev: bool = False,
    sheet: Path | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Measure a detector, and what lies in `teachers`, on a box set.

    Landmark errors are against the mean of YuNet and CenterFace where these agree, on faces of 32 px and more; so they
    need `teachers`. Close-ups are crops of the same pictures with a face of 0.5 to 1.1
    times the frame's height.

    Raises:
        InputError: the data or a network cannot be used.
        OutputError: the sheet cannot be written.
    """
    problems = LoadReport()
    pictures = load_box_set(data, problems)
    if dev:
        pictures = split_dev(pictures, DEV_PICTURES)[1]
    detector = Detector.open(model, threads=1)
    ours = engine_detect(detector)
    name = f"{data.name}, dev part" if dev else data.name
    report = Report(name, len(pictures), detector.name, detector.sha256, detector.threshold)
    report.problems = problems.counts()
    judgements: list[Judgement] = []
    for size in sizes:
        say(f"{detector.name} at {size}")
        judgements.append(judge(detector.name, ours, pictures, size))
        report.rows.append(judgements[-1].row())
    main = judgements[0]
    for m in MINIMUM:
        precision, recall = main.curves[m].at(detector.threshold)
        report.facts[f"precision at the default threshold, faces ≥ {m} px"] = round(precision, 4)
        report.facts[f"recall at the default threshold, faces ≥ {m} px"] = round(recall, 4)
    crops = close_ups(pictures)
    report.facts["close-ups"] = len(crops)
    report.facts["close-up recall at the default threshold"] = round(
        close_up_recall(ours, crops, detector.threshold), 4
    )
    rivals = [(file, make) for file, make in RIVALS if teachers is not None and (teachers / file).is_file()]
    seen: dict[str, list[Detections]] = {}
    for file, make in rivals:
        assert teachers is not None
        rival = make(teachers / file)
        for size in sizes:
            if file.startswith("scrfd") and size != 640:
                continue
            say(f"{rival.name} at {size}")

            def detect(rgb: NDArray[np.uint8], side: int, rival: FaceTeacher = rival) -> Detections:
                return rival.detect(rgb, side, LOWEST)

            judged = judge(rival.name, detect, pictures, size)
            report.rows.append(judged.row())
            if size == sizes[0]:
                seen[file] = judged.found
                recall = close_up_recall(detect, crops, 0.5)
                report.facts[f"close-up recall of {rival.name} at 0.5"] = round(recall, 4)
    if "yunet_n.onnx" in seen and "centerface.onnx" in seen:
        factors = [p.rgb.shape for p in pictures]
        marked = []
        for k, picture in enumerate(pictures):
            factor = max(factors[k][:2]) / main.size
            pair = [seen[f][k] for f in ("yunet_n.onnx", "centerface.onnx")]
            a, b = (Detections(d.boxes * factor, d.scores, d.landmarks * factor) for d in pair)
            marked.append(add_landmarks(picture, a, b, both=True))
        error = landmark_error(main.found, marked, main.size)
        report.facts["landmark error against the teachers' agreement, in eye distances"] = round(error, 4)
    if sheet is not None:
        image = draw_sheet(pictures, main, detector.threshold)
        if not cv2.imwrite(str(sheet), image[..., ::-1]):
            raise OutputError(f"{sheet}: cannot be written; give a .png in a folder that exists")
    return report
