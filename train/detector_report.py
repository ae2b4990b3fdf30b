"""One run that measures a detector and its rivals: what `iznet train eval-detector` does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.detector import Detector
from engine.errors import InputError
from engine.types import Detections
from train import close_up_eval, landmark_eval
from train.clip_eval import clip_frames, judge_clips, merged, read_verdicts, verdict_lines
from train.contenders import YUNET, Contender, also, of_detector, rivals
from train.data.boxes import LoadReport, Picture, load_box_set, load_pictures, split_dev
from train.detector_cost import Cost, cost_of, onnxruntime_runner, openvino_runner, time_in_turns
from train.detector_eval import MAIN, Judgement, judge, thinned
from train.detector_sheets import (
    close_up_sheet,
    doubtful_sheet,
    draw_curves,
    false_sheet,
    miss_sheet,
    picture_sheet,
    write_png,
)
from train.output import write_whole
from train.teacher_views import Sightings, Teachers

Say = Callable[[str], None]
DEV_PICTURES = 60
SIZES = (640, 320, 416, 512, 960, 1280)
BFLOAT16, INT8 = "bf16", "INT8"
PHOTOS = 150
"""Photos without labels that close-ups are taken from, evenly spread: the teachers have to look at each."""
MASKED = "mask"
"""Sources whose name starts like this show people with masks: no landmarks are measured there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured; whatever is None or empty is left out."""

    data: Path
    """Box set."""
    model: Path | None = None
    """None takes the shipped detector."""
    teachers: Path | None = None
    also: tuple[str, ...] = ()
    """`NAME=FILE.onnx` or `NAME=FILE.onnx@416` each."""
    sizes: tuple[int, ...] = SIZES
    """Longer sides; the first is the one that single figures are given for."""
    dev: bool = False
    """Only what training kept aside."""
    every: int = 1
    """Only each n-th picture and frame, for a quick look."""
    photos: Path | None = None
    """Pictures to take close-ups from, beside those of the box set."""
    clips: Path | None = None
    verdicts: Path | None = None
    calibration: Path | None = None
    """Box set of which the part that is not kept aside calibrates INT8; also asks for bfloat16."""
    close_ups: int = 300
    rounds: int = 0
    """Of timing; 0 for none."""
    bootstrap: int = 300
    sheets: Path | None = None
    cache: Path | None = None


@dataclass(slots=True)
class Report:
    """What was measured, as JSON takes it."""

    values: dict[str, Any]
    judgements: list[Judgement] = field(default_factory=list)

    def curves(self, path: Path) -> None:
        """Draw the precision–recall curves of all detectors at the first size."""
        size = self.values["table"][0]["size"]
        shown = [j for j in self.judgements if j.size == size or j.name != self.judgements[0].name]
        heading = f"{self.values['data']}, faces of {MAIN} px and more, IoU 0.5"
        draw_curves(path, shown, MAIN, heading)


def evaluate(plan: Plan, say: Say = print) -> Report:
    """Measure a detector, and what else the plan names, on the same pictures.

    Raises:
        InputError: the data or a network cannot be used.
        UsageError: a further detector is not given as `NAME=FILE.onnx`.
        OutputError: a sheet cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="iznet-eval-") as scratch:
        return _Run(plan, Path(scratch), say).all()


class _Run:
    """The steps of one measurement, which share pictures, networks and a scratch folder."""

    def __init__(self, plan: Plan, scratch: Path, say: Say) -> None:
        self.plan, self.scratch, self.say = plan, scratch, say
        problems = LoadReport()
        pictures = load_box_set(plan.data, problems)
        if plan.dev:
            pictures = split_dev(pictures, DEV_PICTURES)[1]
        self.pictures = pictures[:: plan.every]
        self.detector = Detector.open(plan.model, threads=1, precision="f32")
        self.ours = of_detector(self.detector)
        self.others = [*also(plan.also), *rivals(plan.teachers)]
        self.teachers = Teachers(plan.teachers, plan.cache or scratch, say) if plan.teachers is not None else None
        self.frames: list[Picture] = []
        self.seen_frames: Sightings | None = None
        self.report = Report(
            {
                "data": plan.data.name + (", dev part" if plan.dev else ""),
                "pictures": len(self.pictures),
                "detector": self.detector.name,
                "sha256": self.detector.sha256,
                "threshold": round(self.detector.threshold, 4),
                "problems": problems.counts(),
            }
        )

    def all(self) -> Report:
        """Every step that the plan asks for."""
        values = self.report.values
        reduced = self.reduced()
        values["table"] = self.table(reduced)
        values["curves"] = {
            f"{j.name} at {j.size}": thinned(j.curves[str(MAIN)])
            for j in self.report.judgements
            if j.size == self.plan.sizes[0] or j.name != self.ours.name
        }
        if self.plan.clips is not None:
            self.frames = clip_frames(self.plan.clips)[:: self.plan.every]
        if self.plan.close_ups and self.teachers is not None:
            values["close_ups"] = self.close_ups()
        if self.teachers is not None:
            values["landmarks"] = self.landmarks()
        if self.frames:
            values["clips"] = self.clips()
        if self.plan.rounds:
            values["time"] = self.time(reduced)
        if self.plan.sheets is not None:
            main = self.report.judgements[0]
            write_png(self.plan.sheets / "pictures.png", picture_sheet(self.pictures, main))
            write_png(self.plan.sheets / "misses.png", miss_sheet(self.pictures, main))
            write_png(self.plan.sheets / "false_finds.png", false_sheet(self.pictures, main))
        return self.report

    def reduced(self) -> list[Contender]:
        """The same network in bfloat16 and in INT8."""
        if self.plan.calibration is None:
            return []
        from train.detector_precision import bfloat16_detector, quantize_detector

        made = []
        bfloat16 = bfloat16_detector(self.ours.file)
        if bfloat16 is not None:
            self.report.values["bf16_simulated"] = not bfloat16[1]
            made.append(of_detector(bfloat16[0], f"{self.ours.name} {BFLOAT16}"))
        self.say(f"{self.ours.name}: quantising")
        learnt = split_dev(load_box_set(self.plan.calibration), DEV_PICTURES)[0]
        target = self.scratch / "int8.onnx"
        quantize_detector(self.ours.file, learnt, target, size=self.plan.sizes[0])
        made.append(of_detector(Detector.open(target, threads=1), f"{self.ours.name} {INT8}"))
        return made

    def table(self, reduced: Sequence[Contender]) -> list[dict[str, Any]]:
        """A row for every detector and size."""
        rows = []
        own = cost_of(self.ours.file)
        main = self.plan.sizes[0]
        turns: list[tuple[Contender, Cost, tuple[int, ...]]] = [(self.ours, own, self.plan.sizes)]
        turns += [(contender, own, (main,)) for contender in reduced]
        turns += [(c, cost_of(c.file), c.sizes or (main,)) for c in self.others]
        for contender, cost, sizes in turns:
            for size in sizes:
                self.say(f"{contender.name} at {size}: {len(self.pictures)} pictures")
                judged = judge(contender, self.pictures, size, self.plan.bootstrap)
                self.report.judgements.append(judged)
                rows.append(judged.row() | cost.row())
        return rows

    def close_ups(self) -> dict[str, Any]:
        """Recall of all detectors on crops of the pictures, the photos and the clips."""
        assert self.teachers is not None
        sources: dict[str, Sequence[Picture]] = {"labelled pictures": self.pictures}
        if self.plan.photos is not None:
            photos = load_pictures(self.plan.photos)
            photos = photos[:: max(1, len(photos) * self.plan.every // PHOTOS)]
            sources["photos"] = close_up_eval.agreed(photos, self.teachers.look(photos, "photos"))
        if self.frames:
            sources["clips"] = close_up_eval.agreed(self.frames, self._look_at_frames())
        crops = close_up_eval.gather(sources, self.plan.close_ups)
        figures = {}
        for contender in (self.ours, *self.others):
            self.say(f"{contender.name}: {len(crops)} close-ups")
            met = close_up_eval.hits(contender, crops, contender.at(self.plan.sizes[0]))
            figures[contender.name] = close_up_eval.by_kind(crops, met)
            if contender is self.ours and self.plan.sheets is not None:
                write_png(self.plan.sheets / "close_ups.png", close_up_sheet(crops, met, contender))
        return figures

    def landmarks(self) -> dict[str, Any]:
        """Error against the teachers' agreement on the unmasked pictures of the box set, and on the clips."""
        assert self.teachers is not None
        size = self.plan.sizes[0]
        chosen = [k for k, p in enumerate(self.pictures) if not p.source.startswith(MASKED)]
        pictures = [self.pictures[k] for k in chosen]
        figures: dict[str, dict[str, Any]] = {}
        shown = [self.ours, *(c for c in self.others if c.landmarks and c.name.startswith("SCRFD"))]
        for contender in shown:
            results = []
            for group, seen in (
                (pictures, self.teachers.look(pictures, "unmasked pictures")),
                *(((self.frames, self._look_at_frames()),) if self.frames else ()),
            ):
                known = landmark_eval.known_faces(group, seen)

                def detect(
                    number: int, group: Sequence[Picture] = group, contender: Contender = contender
                ) -> Detections:
                    return contender.detect(group[number].rgb, contender.at(size))

                results += landmark_eval.errors(detect, known, min(contender.threshold, 0.3))
            figures[contender.name] = landmark_eval.by_kind(results)
        return figures

    def clips(self) -> dict[str, Any]:
        """Precision of the finds on the clips."""
        verdicts = read_verdicts(self.plan.verdicts)
        result = judge_clips(self.ours, self.frames, self._look_at_frames(), verdicts, self.plan.sizes[0])
        if self.plan.sheets is not None:
            write_png(self.plan.sheets / "doubtful.png", doubtful_sheet(self.frames, result.doubtful))
            write_whole(self.plan.sheets / "verdicts.json", verdict_lines(merged(verdicts, result.doubtful)))
        return result.figures()

    def time(self, reduced: Sequence[Contender]) -> dict[str, Any]:
        """Milliseconds of CPU for one picture of 640 × 384, all in one run, as ratios to YuNet-n."""
        from train.scrfd_shape import write_scrfd_500m

        files = {self.ours.name: self.ours.file}
        files |= {c.name: c.file for c in reduced if c.name.endswith(INT8)}
        files |= {c.name: c.file for c in self.others}
        files["SCRFD-500M's shape"] = write_scrfd_500m(self.scratch / "scrfd_500m.onnx")
        base = YUNET if YUNET in files else self.ours.name
        figures: dict[str, Any] = {"base": base, "rounds": self.plan.rounds}
        for backend, runner in (("openvino", openvino_runner), ("onnxruntime", onnxruntime_runner)):
            runners = {}
            for name, file in files.items():
                try:
                    runners[name] = runner(file)
                except InputError as error:
                    self.say(f"not timed: {error}")
            self.say(f"timing {len(runners)} networks on {backend}, {self.plan.rounds} rounds")
            figures[backend] = time_in_turns(runners, base, self.plan.rounds)
        return figures

    def _look_at_frames(self) -> Sightings:
        """What the three teachers see on the clips' frames, once."""
        if self.seen_frames is None:
            assert self.teachers is not None
            self.seen_frames = self.teachers.look(self.frames, "clips", all_three=True)
        return self.seen_frames
