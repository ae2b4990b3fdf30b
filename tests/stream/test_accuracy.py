"""Records against truth: every count by hand, IDF1 and HOTA by their definitions and by known cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InputError
from engine.metrics import box_iou
from stream.accuracy import (
    Boxes,
    Panel,
    PanelShot,
    name_accuracy,
    read_mot,
    read_panels,
    record_boxes,
    track_accuracy,
)
from stream.export import mot
from stream.frames import Face
from stream.tracklines import Header, RecordedFrame
from stream.tracks import Tracks
from tests.stream.export import records

LEFT = Panel(0, 0, 50, 100, "ann", True)
RIGHT = Panel(50, 0, 50, 100, "stranger", False)


def record(frames: Sequence[Sequence[tuple[int, float, str | None]]]) -> Tracks:
    """Faces as (track, x of the middle, name)."""
    header = Header("a.mp4", 100, 100, 0, Fraction(1, 25), None)
    points = np.zeros((5, 2), np.float32)
    return Tracks(
        header,
        tuple(
            RecordedFrame(i, i, i / 25, 0, tuple(
                Face(track, np.array([x - 10, 40, x + 10, 60], np.float32), 0.9, points, name)
                for track, x, name in faces
            ))
            for i, faces in enumerate(frames)
        ),
        (),
        None,
    )  # fmt: skip


def test_every_kind_of_name_is_counted() -> None:
    shots = (PanelShot(0, 3, (LEFT, RIGHT)), PanelShot(4, 4, (LEFT,)))
    frames: list[list[tuple[int, float, str | None]]] = [
        [(0, 20, "ann"), (1, 70, None)],  # right, and a stranger left alone
        [(0, 20, "bea"), (1, 70, "bea")],  # wrong, a switch; a stranger named
        [(0, 20, "ann"), (2, 25, "ann")],  # a switch back; a second ann is wrong; the stranger unseen
        [(0, 20, None)],  # missed
        [(0, 20, "ann"), (5, 80, "ann")],  # another shot: track 0 is on both sides of the cut; a stray name
    ]
    got = name_accuracy(record(frames), shots)
    assert (got.visible, got.known, got.right, got.wrong) == (9, 5, 3, 2)
    assert (got.strangers, got.stray, got.unseen, got.switches, got.across_cuts) == (1, 1, 2, 2, 1)
    assert got.precision == pytest.approx(3 / 7)
    assert got.recall == pytest.approx(3 / 5)
    assert got.f1 == pytest.approx(2 * (3 / 7) * 0.6 / (3 / 7 + 0.6))
    assert got.as_json()["wrong_rate"] == pytest.approx(2 / 9, abs=1e-6)


def test_a_record_that_is_shorter_than_its_truth_is_another_videos() -> None:
    with pytest.raises(InputError, match="another video"):
        name_accuracy(record([[]]), (PanelShot(0, 5, ()),))


def test_panel_truth_is_read_and_nonsense_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    panel = {"rect": [0, 0, 50, 100], "person": "ann", "known": True}
    path.write_text(json.dumps({"shots": [{"first": 0, "last": 3, "panels": [panel]}]}), "utf-8")
    assert read_panels(path) == (PanelShot(0, 3, (LEFT,)),)
    for nonsense in ("[]", "{", '{"shots": [{"first": 0}]}'):
        path.write_text(nonsense, "utf-8")
        with pytest.raises(InputError, match=r"truth\.json"):
            read_panels(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_panels(tmp_path / "none.json")


def boxes(rows: Sequence[tuple[int, int, float]]) -> Boxes:
    """(frame, id, x) of boxes of 10×10."""
    out: dict[int, tuple[NDArray[np.intp], NDArray[np.float32]]] = {}
    for frame in sorted({f for f, _, _ in rows}):
        here = [(i, x) for f, i, x in rows if f == frame]
        out[frame] = (
            np.array([i for i, _ in here], np.intp),
            np.array([[x, 0, x + 10, 10] for _, x in here], np.float32),
        )
    return out


def test_mot_lines_are_read_from_one_and_bad_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,7,10,20,30,40,1,-1,-1\n2,7,11,20,30,40,0\n\n3,8,1,2,3,4\n", "utf-8")
    truth = read_mot(path)
    assert sorted(truth) == [0, 2]
    assert truth[0][0].tolist() == [7]
    assert truth[0][1].tolist() == [[9, 19, 39, 59]]
    path.write_text("1,7,10,20,30,40\n1,7,10,20,30,40\n", "utf-8")
    with pytest.raises(InputError, match="line 2: track 7 is on frame 1 twice"):
        read_mot(path)
    for line in ("1,7,ten", "1,nan,1,1,2,2", "inf,7,1,1,2,2"):
        path.write_text(f"{line}\n", "utf-8")
        with pytest.raises(InputError, match="line 1"):
            read_mot(path)


def test_an_exported_record_is_its_own_perfect_truth(tmp_path: Path) -> None:
    found = records.stage_record(tmp_path)
    path = tmp_path / "mv.txt"
    path.write_bytes(mot.encode(found, Path("mv.mp4")))
    score = track_accuracy(record_boxes(found), read_mot(path))
    assert (score.hota, score.idf1) == (1.0, 1.0)
    assert score.localisation == pytest.approx(1.0, abs=1e-4)


def test_perfect_tracks_score_one_and_no_tracks_nothing() -> None:
    truth = boxes([(f, i, 40.0 * i) for f in range(5) for i in (1, 2)])
    assert track_accuracy(truth, truth).as_json() == {
        "idf1": 1.0, "hota": 1.0, "detection": 1.0, "association": 1.0, "localisation": 1.0
    }  # fmt: skip
    nothing = track_accuracy({}, truth)
    assert (nothing.idf1, nothing.hota) == (0.0, 0.0)


def test_a_track_broken_in_the_middle_keeps_detection_and_halves_association() -> None:
    truth = boxes([(f, 1, 0.0) for f in range(10)])
    broken = boxes([(f, 5 if f < 5 else 6, 0.0) for f in range(10)])
    got = track_accuracy(broken, truth)
    assert got.detection == 1.0
    assert got.association == pytest.approx(0.5)  # for each of 10 matches 5 of 10 frames are associated
    assert got.hota == pytest.approx(np.sqrt(0.5))
    assert got.idf1 == pytest.approx(0.5)


def test_names_exchanged_half_way_through() -> None:
    truth = boxes([(f, i, 40.0 * i) for f in range(8) for i in (0, 1)])
    swapped = boxes([(f, i if f < 6 else 1 - i, 40.0 * i) for f in range(8) for i in (0, 1)])
    got = track_accuracy(swapped, truth)
    assert got.idf1 == pytest.approx(6 / 8)
    # 12 matches associated over 6 of 10 frames of the union, 4 over 2 of 14.
    assert got.association == pytest.approx((12 * 6 / 10 + 4 * 2 / 14) / 16)


@pytest.mark.parametrize("seed", range(5))
def test_idf1_is_the_best_of_all_one_to_one_matches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = boxes([(f, i, 12.0 * i) for f in range(12) for i in range(3) if rng.random() < 0.8])
    found = boxes([
        (f, int(rng.integers(0, 4)) * 4 + i, 12.0 * i + float(rng.normal(0, 2)))
        for f in range(12) for i in range(3) if rng.random() < 0.8
    ])  # fmt: skip
    true_ids = sorted({int(i) for ids, _ in truth.values() for i in ids})
    found_ids = sorted({int(i) for ids, _ in found.values() for i in ids})

    def hits(a: int, b: int) -> int:
        count = 0
        for frame in truth:
            if frame in found:
                (ia, ba), (ib, bb) = truth[frame], found[frame]
                count += bool((box_iou(ba[ia == a], bb[ib == b]) >= 0.5).any())
        return count

    table = {(a, b): hits(a, b) for a in true_ids for b in found_ids}
    best = max(sum(table[a, b] for a, b in zip(true_ids, p, strict=False)) for p in permutations(found_ids, 3))
    total = sum(len(ids) for ids, _ in truth.values()) + sum(len(ids) for ids, _ in found.values())
    assert track_accuracy(found, truth).idf1 == pytest.approx(2 * best / total)


@pytest.mark.parametrize("seed", range(5))
def test_idf1_is_that_of_motmetrics(seed: int) -> None:
    motmetrics = pytest.importorskip("motmetrics")
    rng = np.random.default_rng(seed)
    truth = boxes([(f, i, 12.0 * i) for f in range(12) for i in range(3) if rng.random() < 0.8])
    found = boxes([
        (f, int(rng.integers(0, 4)) * 4 + i, 12.0 * i + float(rng.normal(0, 2)))
        for f in range(12) for i in range(3) if rng.random() < 0.8
    ])  # fmt: skip
    counted = motmetrics.MOTAccumulator(auto_id=True)
    nobody = np.zeros(0, np.intp), np.zeros((0, 4), np.float32)
    for frame in range(12):
        (true_ids, true_boxes), (found_ids, found_boxes) = truth.get(frame, nobody), found.get(frame, nobody)
        overlap = box_iou(true_boxes, found_boxes)
        counted.update(true_ids.tolist(), found_ids.tolist(), np.where(overlap >= 0.5, 1 - overlap, np.nan))
    theirs = motmetrics.metrics.create().compute(counted, metrics=["idf1"], return_dataframe=False)["idf1"]
    assert track_accuracy(found, truth).idf1 == pytest.approx(theirs)


def test_small_faces_can_be_left_out_of_a_record() -> None:
    tracks = record([[(0, 20, None)], []])
    assert list(record_boxes(tracks)) == [0]
    assert record_boxes(tracks, minimum=30) == {}
