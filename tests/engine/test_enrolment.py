"""Enrolling folders of photos, good and bad."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import Detections, Detector, Embedder, Gallery, enroll
from engine.enrolment import EnrolmentReport, Progress, assemble, look
from engine.errors import InputError
from engine.photofaces import distinct, find_faces
from tests.networks import GROUND, PEOPLE, scene

BIG = (150, 100, 250, 220)


def shade(name: str, n: int) -> tuple[int, ...]:
    """A person's colour, a little different on every photo."""
    r, g, b = PEOPLE[name]
    return r, g + (7 * n % 20) * (1 if g < 128 else -1), b + (5 * n % 20) * (1 if b < 128 else -1)


def take(path: Path, faces: Sequence[tuple[Sequence[int], Sequence[int]]], size: tuple[int, int] = (500, 400)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(*size, faces)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people with three good photos each."""
    for name in ("ann", "ben", "대현"):
        for n in range(3):
            take(tmp_path / "people" / name / f"{n}.png", [((150 + 9 * n, 100, 250, 220), shade(name, n))])
    return tmp_path / "people"


@pytest.fixture
def run(detector: Detector, embedder: Embedder, folder: Path) -> Runner:
    return Runner(detector, embedder, folder)


class Runner:
    def __init__(self, detector: Detector, embedder: Embedder, folder: Path) -> None:
        self.detector, self.embedder, self.folder = detector, embedder, folder

    def __call__(self) -> EnrolmentReport:
        return enroll(self.folder, self.detector, self.embedder)


def skipped(report: EnrolmentReport) -> dict[str, str]:
    return {s.file: s.reason for s in report.skipped}


def test_good_photos(run: Runner, tmp_path: Path) -> None:
    report = run()
    assert [(p.name, p.photos) for p in report.people] == [("ann", 3), ("ben", 3), ("대현", 3)]
    assert [*report.skipped, *report.notes, *report.left_out, *report.duplicates] == []
    assert report.warnings == []
    assert [p.nearest for p in report.people] == ["ben", "대현", "ben"]
    gallery = report.gallery
    assert gallery.embedder_sha256 == run.embedder.sha256
    assert gallery.threshold == run.embedder.threshold
    assert gallery.persons[2].photos == ("대현/0.png", "대현/1.png", "대현/2.png")
    for n, person in enumerate(report.people):
        mine = gallery.of(n).astype(np.float64)
        distances = np.linalg.norm(mine[:, None] - mine[None], axis=2)
        medoid = int(np.argmin(distances.sum(1).round(6)))
        assert person.medoid == gallery.persons[n].photos[medoid]
        assert person.spread == pytest.approx(float(np.median(np.delete(distances[medoid], medoid))), abs=1e-6)
        others = np.delete(gallery.prototypes, n, axis=0).astype(np.float64)
        assert person.distance == pytest.approx(
            float(np.linalg.norm(others - gallery.prototypes[n], axis=1).min()), abs=1e-6
        )
    gallery.save(tmp_path / "g.gallery")
    assert Gallery.load(tmp_path / "g.gallery", run.embedder).identify(gallery.embeddings).names == [
        name for name in ("ann", "ben", "대현") for _ in range(3)
    ]


def test_the_same_photos_give_the_same_gallery(run: Runner) -> None:
    assert run().gallery.sha256 == run().gallery.sha256


def test_photos_as_people_have_them(run: Runner) -> None:
    ann = run.folder / "ann"
    take(ann / "nobody.png", [])
    take(ann / "tiny.png", [((10, 10, 24, 26), PEOPLE["ann"])], (200, 150))
    take(ann / "two.png", [((50, 100, 150, 220), PEOPLE["ben"]), ((350, 100, 450, 220), PEOPLE["ann"])])
    take(ann / "strangers.png", [((50, 100, 150, 220), PEOPLE["ben"]), ((350, 100, 450, 220), PEOPLE["대현"])])
    sideways = scene(500, 400, [((300, 100, 420, 200), shade("ann", 1))])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(sideways).save(ann / "sideways.jpg", quality=95, exif=exif)
    (ann / "cut.jpg").write_bytes((ann / "sideways.jpg").read_bytes()[:600])  # within its first tables
    (ann / "empty.jpg").touch()
    (ann / "notes.txt").write_text("call her", "utf-8")
    (ann / ".DS_Store").write_bytes(b"\x00")
    (ann / "Thumbs.db").write_bytes(b"\x00")
    (ann / "older").mkdir()
    report = run()
    reasons = skipped(report)
    assert {name: why[:30] for name, why in reasons.items()} == {
        "ann/nobody.png": "no face found",
        "ann/tiny.png": "the face is only 15 pixels lar",
        "ann/strangers.png": "none of its 2 faces is like th",
        "ann/cut.jpg": "damaged or cut off (Truncated ",
        "ann/empty.jpg": "is empty (0 bytes); copy it ag",
        "ann/notes.txt": "not a picture that can be read",
        "ann/older": "a folder inside a person's fol",
    }
    assert [n.file for n in report.notes] == ["ann/two.png"]
    assert report.gallery.persons[0].photos == (
        "ann/0.png",
        "ann/1.png",
        "ann/2.png",
        "ann/sideways.jpg",
        "ann/two.png",
    )
    assert report.gallery.identify(report.gallery.of(0)).names == ["ann"] * 5


@pytest.mark.parametrize("scale", [1, 4])
def test_a_face_that_fills_the_frame(run: Runner, scale: int) -> None:
    """The synthetic detector finds no face larger than 384 in a 640 frame; with a margin around it, it does."""
    box = np.array([20, 20, 385, 380]) * scale
    close_up = scene(400 * scale, 400 * scale, [(box.tolist(), PEOPLE["ann"])])
    assert len(run.detector.detect([close_up])[0]) == 0
    faces = find_faces(close_up, run.detector)
    assert len(faces) == 1
    np.testing.assert_allclose(faces.boxes[0], box, atol=5 * scale)
    x, y = faces.landmarks[0].mean(0)
    assert abs(x - box[[0, 2]].mean()) < 3 * scale
    assert abs(y - box[[1, 3]].mean()) < 20 * scale


def test_a_small_face_on_a_large_photo(run: Runner) -> None:
    wide = scene(1600, 900, [((900, 300, 913, 315), PEOPLE["ann"])])
    assert len(run.detector.detect([wide])[0]) == 0
    np.testing.assert_allclose(find_faces(wide, run.detector).boxes, [[900, 300, 913, 315]], atol=2)


def test_further_looks_only_where_the_first_finds_nothing(run: Runner) -> None:
    before = run.detector.session.work.inferences
    find_faces(scene(500, 400, [(BIG, PEOPLE["ann"])]), run.detector)
    assert run.detector.session.work.inferences - before == 1
    find_faces(scene(500, 400), run.detector)
    assert run.detector.session.work.inferences - before == 3
    find_faces(scene(1000, 800), run.detector)
    assert run.detector.session.work.inferences - before == 6


def test_parts_of_a_better_face_are_no_faces() -> None:
    boxes = [[100, 100, 400, 460], [160, 250, 370, 500], [380, 120, 600, 380], [150, 200, 200, 260], [0, 0, 90, 90]]
    array = np.array(boxes, np.float32)
    faces = Detections(array, np.linspace(0.9, 0.5, 5, dtype=np.float32), np.zeros((5, 5, 2), np.float32))
    np.testing.assert_array_equal(distinct(faces).boxes, array[[0, 2, 4]])
    backwards = faces.select(np.arange(5)[::-1])
    np.testing.assert_array_equal(distinct(backwards).boxes, array[[4, 3, 2, 1]])  # none of these lies in a better one
    assert len(distinct(Detections.empty())) == 0


def test_faces_in_the_background_do_not_count(run: Runner) -> None:
    take(
        run.folder / "ann" / "street.png", [((140, 60, 240, 180), shade("ann", 4)), ((400, 30, 430, 62), PEOPLE["ben"])]
    )
    report = run()
    assert report.notes == ()
    assert "ann/street.png" in report.gallery.persons[0].photos


def test_the_same_picture_twice(run: Runner) -> None:
    shutil.copy(run.folder / "ann" / "0.png", run.folder / "ann" / "copy.png")
    shutil.copy(run.folder / "ann" / "1.png", run.folder / "ben" / "wrong.png")
    group = take(
        run.folder / "ann" / "group.png",
        [((50, 100, 150, 220), shade("ben", 3)), ((350, 100, 450, 220), shade("ann", 3))],
    )
    shutil.copy(group, run.folder / "ben" / "group.png")
    report = run()
    reasons = skipped(report)
    assert reasons["ann/copy.png"] == "the same picture as ann/0.png"
    assert reasons["ann/1.png"].startswith("the same picture as ben/wrong.png, and its one face cannot be")
    assert reasons["ben/wrong.png"].startswith("the same picture as ann/1.png")
    assert report.duplicates == (("ann/1.png", "ben/wrong.png"), ("ann/group.png", "ben/group.png"))
    assert sum("several people's folders" in w for w in report.warnings) == 2
    # The group photo shows both, and each gets the face that is theirs.
    ann, ben = (report.gallery.of(n)[list(report.gallery.persons[n].photos).index(f"{who}/group.png")]
                for n, who in enumerate(("ann", "ben")))  # fmt: skip
    assert report.gallery.identify(np.stack([ann, ben])).names == ["ann", "ben"]


def test_people_who_are_too_alike(run: Runner) -> None:
    # One photo, so no spread of its own: it is ann's that counts.
    take(run.folder / "ann's twin" / "0.png", [((140, 90, 250, 220), (230, 30, 28))])
    report = run()
    close = {p.name: (p.too_close, p.nearest) for p in report.people}
    assert close["ann"] == (True, "ann's twin")
    assert close["ann's twin"] == (True, "ann")
    assert close["ben"][0] is False
    spreads = {p.name: p.spread for p in report.people}
    for p in report.people:
        assert p.nearest is not None
        assert p.distance is not None
        assert p.too_close == (p.distance <= max(p.spread, spreads[p.nearest]))
    assert len(report.warnings) == 1
    assert "ann and ann's twin are 0." in report.warnings[0]


def test_a_folder_of_two_people_is_warned_of(run: Runner) -> None:
    for n, name in enumerate(("cho", "대현")):
        take(run.folder / "mixed" / f"{n}.png", [((140, 90, 250, 220), PEOPLE[name])])
    report = run()
    (warning,) = (w for w in report.warnings if "several people" in w)
    assert "none of mixed's 2 photos" in warning
    assert {p.name: p.accept for p in report.people}["mixed"] == 0


def test_somebody_without_a_usable_photo_is_left_out(run: Runner) -> None:
    take(run.folder / "cho" / "dark.png", [])
    (run.folder / "nobody").mkdir()
    report = run()
    assert report.left_out == ("cho", "nobody")
    assert "cho" not in report.gallery.people
    assert report.warnings == ["cho is left out: no usable photo", "nobody is left out: no usable photo"]


def test_one_person_with_one_photo(detector: Detector, embedder: Embedder, tmp_path: Path) -> None:
    take(tmp_path / "ann" / "0.png", [(BIG, PEOPLE["ann"])])
    report = enroll(tmp_path, detector, embedder)
    (ann,) = report.people
    assert (ann.photos, ann.spread, ann.nearest, ann.distance, ann.too_close) == (1, 0.0, None, None, False)


def test_who_gets_no_new_photo_keeps_all_when_others_are_added(run: Runner, tmp_path: Path) -> None:
    """A photo that a folder would not have got in may have been put there by a review, or by an older rule."""
    earlier = tmp_path / "earlier"
    for n, who in enumerate(["ann"] * 5 + ["cho"]):
        take(earlier / "old" / f"{n}.png", [(BIG, shade(who, n))])
    seen = [photo.faces.embeddings[0] for photo in look(earlier, run.detector, run.embedder).photos]
    base = Gallery.build({"old": np.stack(seen)}, run.embedder.sha256, 0.5, embedder=run.embedder.name)
    report = assemble(look(run.folder, run.detector, run.embedder), run.embedder, base)
    assert report.gallery.people == ("ann", "ben", "old", "대현")
    assert len(report.gallery.of(report.gallery.people.index("old"))) == 6
    take(run.folder / "old" / "new.png", [((60, 80, 180, 220), shade("ann", 7))])
    report = assemble(look(run.folder, run.detector, run.embedder), run.embedder, base)
    old = report.gallery.persons[report.gallery.people.index("old")]
    assert len(old.photos) == 6, "of seven that are judged one is wrong"
    assert "old/new.png" in old.photos
    assert [s.person for s in report.skipped if "probably somebody else" in s.reason] == ["old"]


def test_progress_names_every_file(run: Runner) -> None:
    take(run.folder / "ann" / "nobody.png", [])
    seen: list[Progress] = []
    enroll(run.folder, run.detector, run.embedder, seen.append)
    assert [p.done for p in seen] == list(range(1, 11))
    assert {p.total for p in seen} == {10}
    assert {p.file: p.outcome for p in seen}["ann/nobody.png"] == "no face found"
    assert {p.file: p.outcome for p in seen}["ann/0.png"] == "1 face"


def test_the_report_as_json(run: Runner) -> None:
    take(run.folder / "ann" / "nobody.png", [])
    report = json.loads(json.dumps(run().to_dict()))
    assert [p["name"] for p in report["people"]] == ["ann", "ben", "대현"]
    keys = "name photos prototypes medoid spread nearest distance too_close accept"
    assert set(report["people"][0]) == set(keys.split())
    assert report["skipped"] == [{"person": "ann", "file": "ann/nobody.png", "reason": "no face found"}]


def test_folders_that_hold_no_people(detector: Detector, embedder: Embedder, tmp_path: Path) -> None:
    def attempt(folder: Path, message: str) -> None:
        with pytest.raises(InputError, match=message) as caught:
            enroll(folder, detector, embedder)
        assert str(caught.value).startswith(str(folder))

    attempt(tmp_path / "none", "no such folder")
    attempt(tmp_path, "holds no sub-folders; make one folder for each person")
    photo = take(tmp_path / "1.png", [(BIG, PEOPLE["ann"])])
    attempt(photo, "is a file")
    attempt(tmp_path, "holds 1 picture but no sub-folders; .*/yuri/1.jpg")
    photo.unlink()
    (tmp_path / "ann").mkdir()
    attempt(tmp_path, "no usable photo of anybody; the people's folders are empty")
    take(tmp_path / "ann" / "0.png", [])
    attempt(tmp_path, r"no usable photo of anybody \(ann/0\.png: no face found\)")
    (tmp_path / " ann").mkdir()
    attempt(tmp_path, "are the same name; put them together")
    (tmp_path / " ann").rmdir()
    for strangers in ("unknown", "Unknown 3"):
        (tmp_path / strangers).mkdir()
        attempt(tmp_path, rf"folder '{strangers}': .* is what people without a name are called; choose another name")
        (tmp_path / strangers).rmdir()
    (tmp_path / "\u3000").mkdir()
    attempt(tmp_path, "is no name")
    (tmp_path / "\u3000").rmdir()
    (tmp_path / "Ann\u202eneB").mkdir()
    attempt(tmp_path, r"folder 'Ann\\u202eneB': the name holds an unseen character .* \(U\+202E\); write it without")


def test_the_ground_is_no_face() -> None:
    assert GROUND[0] < 100  # what the synthetic detector looks at


def test_odd_names_of_folders_and_files(detector: Detector, embedder: Embedder, tmp_path: Path) -> None:
    odd = "김민주 (본명) – \N{FIRE} [x]"
    take(tmp_path / odd / "사진 1.png", [(BIG, PEOPLE["ann"])])
    take(tmp_path / ("B" * 200) / f"{'n' * 200}.png", [(BIG, PEOPLE["ben"])])
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / odd / "gone.png").symlink_to(tmp_path / "nowhere.png")
    report = enroll(tmp_path, detector, embedder)
    assert report.gallery.people == ("B" * 200, odd)
    assert skipped(report) == {f"{odd}/gone.png": "a link that leads nowhere; point it to a picture"}


def test_what_lies_beside_the_folders_is_named(run: Runner) -> None:
    take(run.folder / "loose.png", [(BIG, PEOPLE["ann"])])
    (run.folder / "notes.txt").write_text("ann is on the left", "utf-8")
    (run.folder / "cho").symlink_to(run.folder / "unplugged" / "cho")
    report = run()
    assert skipped(report) == {
        "cho": "a link that leads nowhere; point it to a folder of photos",
        "loose.png": "lies beside the people's folders; move it into one of them",
    }
    assert len(report.people) == 3
