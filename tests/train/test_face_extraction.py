"""Faces cut out of photos: where they come from, what is skipped, and that a second run changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from engine.detector import Detector
from engine.errors import InputError, OutputError
from engine.images import load_image
from tests.networks import PEOPLE, scene
from tools.train_faces import faces
from train.face_extraction import (
    RECORD,
    SHEET,
    CropSettings,
    PhotoResult,
    contact_sheet,
    cut_faces,
    extract_faces,
)

BOXES = [[100, 80, 180, 170], [400, 100, 460, 170]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """ann has two photos, ben one of both; there is a photo of nobody, a broken one, and a text."""
    folder = tmp_path / "photos"
    for person, name, shown in (
        ("ann", "one.png", [(BOXES[0], PEOPLE["ann"])]),
        ("ann", "one.jpg", [(BOXES[1], PEOPLE["ann"])]),
        ("ben", "both.png", [(BOXES[0], PEOPLE["ben"]), (BOXES[1], PEOPLE["ann"])]),
        ("ben", "nobody.png", []),
    ):
        (folder / person).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(640, 384, shown)).save(folder / person / name, quality=95)
    (folder / "ben" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "ben" / "notes.txt").write_text("no photo", "utf-8")
    return folder


def settings(detector: Detector, **more: float | None) -> CropSettings:
    return CropSettings(detector.sha256, **more)  # type: ignore[arg-type]


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_people_keep_their_folders_and_faces_their_place(photos: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = extract_faces(photos, out, detector, settings(detector))
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.jpg")) == [
        "ann/one.jpg-1.jpg",
        "ann/one.png-1.jpg",
        "ben/both.png-1.jpg",
        "ben/both.png-2.jpg",
    ]
    assert report.people == {"ann": 2, "ben": 2}
    reasons = {r.photo: r.skipped for r in report.skipped}
    assert list(reasons) == ["ben/broken.jpg", "ben/nobody.png"]
    assert reasons["ben/nobody.png"] == "no face found"
    assert reasons["ben/broken.jpg"].startswith(("damaged", "not a picture")), "the reason, without the path again"
    both = next(r for r in report.results if r.photo == "ben/both.png")
    for crop, box in zip(both.crops, both.boxes, strict=True):
        face = load_image(out / crop)
        assert face.shape == (112, 112, 3)
        wanted = PEOPLE["ben"] if abs(box[0] - BOXES[0][0]) < 2 else PEOPLE["ann"]
        assert np.abs(face[56, 56].astype(int) - wanted).max() < 12, "the crop shows the face that the record names"


def test_a_margin_moves_the_template(detector: Detector) -> None:
    rgb = scene(640, 384, [(BOXES[0], PEOPLE["ann"])])
    found = detector.detect([rgb])[0]
    (tight,) = cut_faces(rgb, found, settings(detector))
    (wide,) = cut_faces(rgb, found, settings(detector, side=128))
    assert wide.shape == (128, 128, 3)
    assert np.abs(wide[8:120, 8:120].astype(int) - tight).max() <= 2


def test_loose_boxes_are_cut_as_they_are(detector: Detector) -> None:
    rgb = scene(640, 384, [([0, 0, 80, 90], PEOPLE["ann"]), (BOXES[1], PEOPLE["ann"])])
    found = detector.detect([rgb])[0]
    for crop, box in zip(cut_faces(rgb, found, settings(detector, loose=1.5)), found.boxes, strict=True):
        width, height = (box[2:] - box[:2]).tolist()
        if box[0] < 5:  # cut off at the corner of the photo
            assert crop.shape[1] == pytest.approx(1.25 * width, abs=2)
            assert crop.shape[0] == pytest.approx(1.25 * height, abs=2)
        else:
            assert crop.shape[1] == pytest.approx(1.5 * width, abs=2)
            x1, y1 = int(box[0] - 0.25 * width), int(box[1] - 0.25 * height)
            assert np.array_equal(crop, rgb[y1 : y1 + crop.shape[0], x1 : x1 + crop.shape[1]])


def test_a_second_run_changes_nothing(photos: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_faces(photos, out, detector, settings(detector))
    before = everything(out)
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")}
    again = extract_faces(photos, out, detector, settings(detector))
    assert again.kept == len(again.results) == 5
    assert everything(out) == before
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")} == stamps


def test_an_interrupted_run_goes_on(photos: Path, detector: Detector, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    extract_faces(photos, whole, detector, settings(detector))

    def stop(done: int, total: int, result: PhotoResult) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_faces(photos, out, detector, settings(detector), progress=stop)
    with (out / RECORD).open("a") as file:
        file.write('{"photo": "ben/nob')  # the line that was being written
    report = extract_faces(photos, out, detector, settings(detector))
    assert report.kept == 3
    assert everything(out) == everything(whole)


def test_a_changed_photo_and_a_lost_crop_are_done_again(photos: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_faces(photos, out, detector, settings(detector))
    (out / "ann" / "one.jpg-1.jpg").unlink()
    Image.fromarray(scene(640, 384, [(BOXES[1], PEOPLE["ben"])])).save(photos / "ann" / "one.png")
    report = extract_faces(photos, out, detector, settings(detector))
    assert report.kept == 3
    assert (out / "ann" / "one.jpg-1.jpg").is_file()
    assert np.abs(load_image(out / "ann" / "one.png-1.jpg")[56, 56].astype(int) - PEOPLE["ben"]).max() < 12


def test_nothing_foreign_is_replaced(photos: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "ann").mkdir(parents=True)
    mine = out / "ann" / "one.png-1.jpg"
    mine.write_text("mine", "utf-8")
    with pytest.raises(OutputError, match=r"one\.png-1\.jpg.*--overwrite"):
        extract_faces(photos, out, detector, settings(detector))
    assert mine.read_text("utf-8") == "mine"
    extract_faces(photos, out, detector, settings(detector), overwrite=True)
    assert load_image(mine).shape == (112, 112, 3)


def test_two_kinds_of_crops_do_not_mix(photos: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_faces(photos, out, detector, settings(detector))
    with pytest.raises(OutputError, match=r"other settings \(loose\)"):
        extract_faces(photos, out, detector, settings(detector, loose=1.3))
    (out / RECORD).write_text("something else\n", "utf-8")
    with pytest.raises(OutputError, match="no record of crops"):
        extract_faces(photos, out, detector, settings(detector))


def test_what_holds_no_faces_is_an_error(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        extract_faces(tmp_path / "gone", tmp_path / "out", detector, settings(detector))
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(InputError, match="is a file"):
        extract_faces(tmp_path / "file", tmp_path / "out", detector, settings(detector))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photos"):
        extract_faces(tmp_path / "empty", tmp_path / "out", detector, settings(detector))
    cv2.imwrite(str(tmp_path / "empty" / "ground.png"), scene(64, 64)[..., ::-1])
    with pytest.raises(InputError, match=r"no face on any of 1 photos \(ground\.png: no face found\)"):
        extract_faces(tmp_path / "empty", tmp_path / "out", detector, settings(detector))
    with pytest.raises(OutputError, match="file"):
        extract_faces(tmp_path / "empty", tmp_path / "file" / "out", detector, settings(detector))


def test_crops_beside_the_photos_are_no_photos(photos: Path, detector: Detector) -> None:
    """The output may lie inside the folder of photos."""
    first = extract_faces(photos, photos / "crops", detector, settings(detector))
    again = extract_faces(photos, photos / "crops", detector, settings(detector))
    assert len(first.results) == len(again.results) == 5


def test_the_command_tells_and_draws(photos: Path, detector_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [str(photos), "--out", str(out), "--detector", str(detector_file), "--threads", "1"]
    result = CliRunner().invoke(faces, [*options, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["crops"], told["photos"], told["done_before"]) == (4, 5, 0)
    assert [entry["photo"] for entry in told["skipped"]] == ["ben/broken.jpg", "ben/nobody.png"]
    sheet = load_image(out / SHEET)
    assert sheet.shape == (96, 12 * 96, 3)
    assert (sheet[:, : 4 * 96].reshape(96, 4, 96, 3).max(axis=(0, 2, 3)) > 200).all(), "each crop has its tile"
    spoken = CliRunner().invoke(faces, options)
    assert spoken.exit_code == 0
    assert "4 faces of 5 photos, 5 of them done before" in spoken.stdout
    assert "Skipped: ben/nobody.png: no face found" in spoken.stdout


def test_a_sheet_of_many_shows_a_choice(photos: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = extract_faces(photos, out, detector, settings(detector))
    sheet = load_image(contact_sheet(out, report, columns=2, most=2, side=32))
    assert sheet.shape == (32, 64, 3)
