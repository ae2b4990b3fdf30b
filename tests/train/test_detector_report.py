"""The whole measurement, with the detector of rectangles as ours and as its own teachers; page, curves and sheets."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from engine.detector import Detector
from engine.errors import InputError, OutputError, UsageError
from engine.images import load_image
from engine.types import Detections
from tests.networks import PEOPLE, scene
from tests.train.faces import FACES, write_rectangles
from tools.train_eval_detector import eval_detector
from train import contenders, teacher_views
from train.detector_report import Plan, evaluate
from train.detector_text import page, replaced, summary


def silent(_: str) -> None:
    pass


class Rectangles:
    """A "teacher" that sees rectangles, on pictures at any size; one of them is unsure of those on the right."""

    def __init__(self, name: str, unsure: bool = False) -> None:
        self.name, self._unsure = name, unsure
        self._detector = Detector.open(self.file, threads=1)

    file: Path

    def detect(self, rgb: np.ndarray, size: int, threshold: float) -> Detections:
        assert size == 640 or not self.name.startswith("SCRFD"), "its file takes one size"
        found = self._detector.detect([rgb], threshold=threshold, size=size)[0]
        right = found.boxes[:, 0] > rgb.shape[1] / 2
        scores = np.where(right & self._unsure, 0.3, found.scores).astype(np.float32)
        return Detections(found.boxes, scores, found.landmarks)


@pytest.fixture
def teachers(detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three networks, whose decoding is that of the rectangles."""
    folder = tmp_path / "teachers"
    folder.mkdir()
    Rectangles.file = detector_file
    made = {"yunet_n": ("YuNet-n", False), "centerface": ("CenterFace", True), "scrfd_2.5g": ("SCRFD-2.5G", False)}
    for name in made:
        shutil.copy(detector_file, folder / f"{name}.onnx")

    class Fake:
        yunet = staticmethod(lambda path: Rectangles(*made["yunet_n"]))
        centerface = staticmethod(lambda path: Rectangles(*made["centerface"]))
        scrfd = staticmethod(lambda path: Rectangles(*made["scrfd_2.5g"]))

    monkeypatch.setattr(teacher_views, "FaceTeacher", Fake)
    rivals = [("yunet_n.onnx", Fake.yunet), ("centerface.onnx", Fake.centerface), ("scrfd_2.5g.onnx", Fake.scrfd)]
    monkeypatch.setattr(contenders, "RIVALS", rivals)
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One second in which a face stands on the left, and from the middle on another one on the right."""
    folder = tmp_path / "clips"
    folder.mkdir()
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10), options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 640, 384, "yuv444p"
        for k in range(10):
            shown = [(box, PEOPLE["ann"]) for box in (FACES[:1] if k < 5 else FACES[:2])]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(640, 384, shown), "rgb24")))
        container.mux(stream.encode())
    return folder


def test_everything_at_once(
    detector_file: Path, teachers: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.detector_report.DEV_PICTURES", 1)
    data, sheets = write_rectangles(tmp_path / "set.zip"), tmp_path / "sheets"
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), scene(400, 300, [([150, 80, 250, 200], PEOPLE["ben"])])[..., ::-1])
    plan = Plan(
        data=data,
        model=detector_file,
        teachers=teachers,
        also=(f"other={detector_file}@256",),
        sizes=(320, 192),
        photos=photos,
        clips=clips,
        calibration=data,
        close_ups=3,
        bootstrap=5,
        sheets=sheets,
    )
    report = evaluate(plan, silent)
    values = json.loads(json.dumps(report.values))
    rows = [(row["detector"], row["size"]) for row in values["table"]]
    assert rows[:2] == [("rectangles", 320), ("rectangles", 192)]
    assert ("rectangles INT8", 320) in rows
    assert rows[-4:] == [("other", 256), ("YuNet-n", 640), ("CenterFace", 640), ("SCRFD-2.5G", 640)]
    assert values["table"][0]["ap"]["16"] == 0.875
    assert values["table"][0]["gflop"] == values["table"][-1]["gflop"] > 0
    assert values["problems"] == {"image missing": 1}
    ours = values["close_ups"]["rectangles"]
    assert {"all", "photos", "clips", "labelled pictures"} <= set(ours)
    assert set(values["close_ups"]) == {"rectangles", "other", "YuNet-n", "CenterFace", "SCRFD-2.5G"}
    assert values["landmarks"]["rectangles"]["clean"]["mean"] < 0.02
    # Two frames, three faces; one teacher is unsure of the one on the right, two others see it.
    clip = values["clips"]
    assert (clip["frames"], clip["finds"], clip["confirmed_by_teachers"], clip["precision"]) == (2, 3, 3, 1.0)
    for name in ("pictures", "misses", "false_finds", "close_ups", "doubtful"):
        assert cv2.imread(str(sheets / f"{name}.png")) is not None, name
    assert json.loads((sheets / "verdicts.json").read_text("utf-8")) == []
    report.curves(tmp_path / "curves.png")
    assert load_image(tmp_path / "curves.png").std() > 5
    text = page(values)
    for words in ("| rectangles | 320 | 0.875 (", "rectangles INT8", "**Close-ups**", "3 finds on 2"):
        assert words in text
    table = text[text.index("| detector |") :].split("\n\n")[0].splitlines()
    assert len(table) == 2 + len(rows)
    assert len({line.count("|") for line in table}) == 1, "every line has all columns"


def test_without_teachers_there_is_the_table(detector_file: Path, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    data = write_rectangles(tmp_path / "set.zip")
    report = evaluate(Plan(data, detector_file, sizes=(640,), bootstrap=0, sheets=sheets), silent)
    assert set(report.values) >= {"table", "curves", "sha256", "threshold"}
    assert not {"close_ups", "landmarks", "clips", "time"} & set(report.values)
    image = load_image(sheets / "pictures.png").astype(int)
    green, yellow = (np.abs(image - colour).max(2) < 40 for colour in ((0, 220, 0), (255, 220, 0)))
    assert green.sum() > 100
    assert yellow.sum() > 20, "the label that nothing answers to is drawn as missed"
    missed = load_image(sheets / "misses.png").astype(int)
    assert (np.abs(missed - (255, 220, 0)).max(2) < 40).sum() > 50
    assert evaluate(Plan(data, detector_file, sizes=(640,), bootstrap=0, every=3), silent).values["pictures"] == 1


def test_figures_are_those_of_32_bits_whatever_the_cpu_would_take(
    detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    plain = Detector.open

    def noted(*args: Any, **options: Any) -> Detector:
        opened.append(options.get("precision"))
        return plain(*args, **options)

    monkeypatch.setattr(Detector, "open", noted)
    plan = Plan(
        write_rectangles(tmp_path / "set.zip"),
        detector_file,
        also=(f"other={detector_file}",),
        sizes=(640,),
        bootstrap=0,
    )
    evaluate(plan, silent)
    assert opened == ["f32", "f32"]


def test_the_command_prints_and_writes(detector_file: Path, tmp_path: Path) -> None:
    data = write_rectangles(tmp_path / "set.zip")
    options = ["--data", str(data), "--detector", str(detector_file), "--size", "640", "--write", str(tmp_path / "out")]
    result = CliRunner().invoke(eval_detector, [*options, "--json"])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer == json.loads((tmp_path / "out" / "detector.json").read_text("utf-8"))
    assert answer["table"][0]["ap"]["16"] == 0.875
    assert result.stderr == ""
    assert (tmp_path / "out" / "detector.md").read_text("utf-8") == page(answer)
    assert (tmp_path / "out" / "detector.png").is_file()


def test_places_that_cannot_be_used_are_named(detector_file: Path, tmp_path: Path) -> None:
    data = write_rectangles(tmp_path / "set.zip")
    with pytest.raises(InputError, match=r"nowhere\.zip"):
        evaluate(Plan(tmp_path / "nowhere.zip", detector_file), silent)
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(OutputError, match=r"pictures\.png"):
        evaluate(Plan(data, detector_file, sizes=(64,), bootstrap=0, sheets=tmp_path / "file"), silent)
    with pytest.raises(InputError, match=r"yunet_n\.onnx"):
        evaluate(Plan(data, detector_file, teachers=tmp_path), silent)
    options = ["--data", str(data), "--detector", str(detector_file), "--size", "64"]
    result = CliRunner().invoke(eval_detector, [*options, "--clips", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(eval_detector, [*options, "--write", str(tmp_path / "file" / "x")])
    assert isinstance(result.exception, OutputError)


def test_the_summary_names_our_figures_and_yunets() -> None:
    def row(name: str, ap: float) -> dict[str, Any]:
        return {"detector": name, "size": 640, "ap": {"8": ap - 0.1, "16": ap, "32": ap + 0.05, "wide": ap}}

    values = {
        "data": "val.zip",
        "detector": "ours",
        "table": [row("ours", 0.8), row("YuNet-n", 0.7)],
        "close_ups": {"ours": {"all": {"crops": 3, "recall": 0.987}}},
    }
    text = summary(values)
    for figure in ("0.800", "0.700", "0.850", "YuNet-n", "recall 0.987"):
        assert figure in text


def test_marks_are_asked_for_once() -> None:
    text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb"
    assert replaced(text, "x", "\nnew\n", "page") == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb"
    for broken in ("", text + text, "<!-- x: end --><!-- x: begin -->"):
        with pytest.raises(InputError, match=r"page: lacks the marks <!-- x: begin -->"):
            replaced(broken, "x", "new", "page")
