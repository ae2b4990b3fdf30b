"""Precision on clips: what teachers confirm, what eyes decide, and what nobody has looked at."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import InputError
from engine.types import Detections
from tests.train.faces import blank, detections, seer
from train.clip_eval import (
    Find,
    clip_frames,
    confirming_scores,
    judge_clips,
    merged,
    read_verdicts,
    sure_boxes,
    verdict_lines,
)
from train.teacher_views import Sightings

FACE, HAND, LOGO = [100, 100, 200, 220], [400, 100, 480, 190], [20, 300, 80, 360]
NOTHING = detections([], [])


def judged(
    found: Detections, teachers: tuple[Detections, Detections, Detections], verdicts: tuple[Find, ...] = ()
) -> dict[str, object]:
    seen = Sightings([teachers[0]], [teachers[1]], [teachers[2]])
    return judge_clips(seer(lambda rgb, size: found), [blank("clip#7")], seen, verdicts).figures()


def test_one_sure_teacher_or_two_weak_ones_confirm() -> None:
    finds = detections([FACE, HAND, LOGO], [0.9, 0.8, 0.7])
    figures = judged(
        finds,
        (detections([FACE, HAND, LOGO], [0.6, 0.3, 0.3]), detections([LOGO], [0.25]), NOTHING),
    )
    assert (figures["finds"], figures["confirmed_by_teachers"], figures["not_looked_at"]) == (3, 2, 1)
    assert figures["precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert judged(detections([FACE], [0.4]), (NOTHING,) * 3)["finds"] == 0, "under the default threshold"
    assert judged(NOTHING, (NOTHING,) * 3)["precision"] is None


def test_a_second_box_on_a_face_is_not_confirmed() -> None:
    teacher = detections([FACE], [0.9])
    double = detections([FACE, [105, 100, 205, 225]], [0.8, 0.9])
    assert confirming_scores(double, teacher).tolist() == pytest.approx([0.0, 0.9]), "the better one takes it"
    assert judged(double, (teacher, teacher, teacher))["confirmed_by_teachers"] == 1


def test_verdicts_decide_what_teachers_do_not() -> None:
    finds = detections([FACE, HAND, LOGO], [0.9, 0.8, 0.7])
    verdicts = (
        Find("clip#7", (102, 100, 202, 220), 0.5, True),
        Find("clip#7", (400, 100, 480, 190), 0.5, False, "hand"),
        Find("clip#8", (20, 300, 80, 360), 0.5, True, "another frame"),
    )
    figures = judged(finds, (NOTHING,) * 3, verdicts)
    assert (figures["faces_by_eye"], figures["wrong"], figures["not_looked_at"]) == (1, 1, 1)
    assert figures["precision"] == pytest.approx(1 / 3, abs=1e-4)


def test_faces_that_two_are_sure_of_count_as_missed() -> None:
    teachers = (detections([FACE, HAND], [0.9, 0.9]), detections([[104, 100, 204, 220]], [0.8]), NOTHING)
    assert sure_boxes(teachers, 24).tolist() == [FACE]
    assert sure_boxes(teachers, 110).tolist() == []
    figures = judged(NOTHING, teachers)
    assert (figures["sure_faces"], figures["missed"]) == (1, 1)
    assert judged(detections([FACE], [0.9]), teachers)["missed"] == 0


def test_verdicts_are_kept_when_new_finds_come() -> None:
    old = [Find("a#1", (0, 0, 10, 10), 0.7, False, "hand"), Find("a#9", (0, 0, 10, 10), 0.7)]
    new = [Find("a#1", (0, 1, 10, 11), 0.8), Find("b#1", (5, 5, 20, 20), 0.9)]
    assert merged(old, new) == [old[0], new[1]], "undecided old finds go, decided ones stay"


def test_verdicts_go_through_a_file(tmp_path: Path) -> None:
    finds = [Find("a#1", (0.5, 0, 10, 10), 0.7, False, "hand"), Find("b#2", (1, 2, 3, 4), 0.9)]
    path = tmp_path / "verdicts.json"
    path.write_text(verdict_lines(finds), "utf-8")
    assert read_verdicts(path) == finds
    assert len(path.read_text("utf-8").splitlines()) == 4, "a line a find"
    assert read_verdicts(None) == []
    assert json.loads(verdict_lines([])) == []
    path.write_text('[{"picture": "a#1", "box": [1, 2], "score": 1, "face": null}]', "utf-8")
    with pytest.raises(InputError, match="no file of verdicts"):
        read_verdicts(path)
    path.write_text('[{"picture": "a#1", "box": [1, 2, 3, 4], "score": 1, "face": "yes"}]', "utf-8")
    with pytest.raises(InputError, match="true, false or null"):
        read_verdicts(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_verdicts(tmp_path / "gone.json")


def test_frames_are_taken_every_half_second(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with av.open(str(tmp_path / "sub" / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height = 64, 48
        for k in range(20):
            picture = np.full((48, 64, 3), 10 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    frames = clip_frames(tmp_path)
    assert [frame.name for frame in frames] == ["clip#2", "clip#7", "clip#12", "clip#17"]
    assert [round(float(frame.rgb.mean()) / 10) for frame in frames] == [2, 7, 12, 17]
    (tmp_path / "sub" / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"clip\.mp4: cannot be decoded"):
        clip_frames(tmp_path)
    with pytest.raises(InputError, match="holds no clip"):
        clip_frames(tmp_path / "sub" / "none")
