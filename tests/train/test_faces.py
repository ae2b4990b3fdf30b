"""Reading, dividing and augmenting face crops."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.faces import FaceSet, kept_aside, read_faces, read_pairs, split_faces
from train.data.views import Strength, ViewMaker, degrade, scene

NONE = Strength(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def picture(seed: int, side: int = 128) -> NDArray[np.uint8]:
    """Smooth, so that JPEG keeps it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def archive(path: Path, table: str, text: str, members: dict[str, NDArray[np.uint8]]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(table, text)
        for name, rgb in members.items():
            file.writestr(name, cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes())
    return path


def test_an_archive_comes_back_as_rgb_with_its_table(tmp_path: Path) -> None:
    red = np.zeros((128, 128, 3), np.uint8)
    red[..., 0] = 200
    path = archive(
        tmp_path / "f.zip", "people.csv", "file,set,person,split,score\na.jpg,celeb,ann,train,0.9\nb.jpg,other,,,\n",
        {"a.jpg": red, "b.jpg": picture(1)},
    )  # fmt: skip
    faces = read_faces(path)
    assert (faces.people, faces.sets, faces.splits) == (("ann", ""), ("celeb", "other"), ("train", ""))
    assert np.abs(faces.pictures[0].mean((0, 1)) - [200, 0, 0]).max() < 3
    assert faces.centre().shape == (2, 112, 112, 3)
    np.testing.assert_array_equal(faces.centre()[1], faces.pictures[1, 8:120, 8:120])


def test_pairs_keep_the_order_of_the_folds(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "p.zip", "pairs.csv", "a,b,same\nx.jpg,y.jpg,1\ny.jpg,z.jpg,0\n",
        {f"lfw/{n}.jpg": picture(i, 112) for i, n in enumerate("xyz")},
    )  # fmt: skip
    pairs = read_pairs(path)
    assert pairs.same.tolist() == [True, False]
    unit = np.eye(3, dtype=np.float32)
    unit[1] = unit[0]
    np.testing.assert_allclose(pairs.similarities(unit), [1, 0])


def test_bad_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.zip is not there"):
        read_faces(tmp_path / "absent.zip")
    (tmp_path / "text.zip").write_text("hello", "utf-8")
    with pytest.raises(InputError, match=r"text\.zip"):
        read_faces(tmp_path / "text.zip")
    small = archive(tmp_path / "s.zip", "people.csv", "file,set,person,split\na.jpg,,,\n", {"a.jpg": picture(0, 64)})
    with pytest.raises(InputError, match=r"a\.jpg is no 128×128 picture"):
        read_faces(small)


def people(count: int = 300) -> FaceSet:
    n = 3 * count
    sets = ["celeb"] * (n - 12) + ["group4"] * 12
    names = [f"c{i // 3}" for i in range(n)]
    splits = ["train"] * (n - 12) + ["train", "dev", "test"] * 4
    pictures = np.zeros((n, 2, 2, 3), np.uint8)
    return FaceSet(pictures, tuple(f"{i}.jpg" for i in range(n)), tuple(sets), tuple(names), tuple(splits))


def test_nothing_that_is_measured_on_is_learned_from() -> None:
    split = split_faces(people(), frozenset({"c0"}))
    parts = [split.learn, split.dev, split.group_dev, split.group_test]
    assert sum(len(p) for p in parts) == 900
    assert len({f for p in parts for f in p.files}) == 900
    celeb = {p for p, s in zip(split.learn.people, split.learn.sets, strict=True) if s == "celeb"}
    assert not celeb & set(split.dev.people)
    assert "c0" in split.dev.people
    assert set(split.group_test.splits) == {"test"}
    assert 0.03 < len(split.dev) / 900 < 0.15


def test_who_is_kept_aside_does_not_hang_on_order_or_company() -> None:
    names = [f"p{i}" for i in range(500)] + [""]
    first = dict(zip(names, kept_aside(names, frozenset()), strict=True))
    again = dict(zip(names[::-1], kept_aside(names[::-1], frozenset()), strict=True))
    assert first == again
    assert not first[""]


def test_views_without_any_change_show_the_same_face() -> None:
    """Geometry and light always act a little; with everything else off the picture must still be recognisable."""
    face = picture(3)
    rng = np.random.default_rng(0)
    for _ in range(20):
        view = scene(rng, face, picture(4), NONE)
        assert view.shape == (112, 112, 3)
        straight, mirrored = (
            np.corrcoef(view.mean(2).ravel(), f.mean(2).ravel())[0, 1]
            for f in (face[8:120, 8:120], face[8:120, 119:7:-1])
        )
        assert max(straight, mirrored) > 0.7


def test_splicing_brings_the_other_face_in() -> None:
    black, white = np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 255, np.uint8)
    only = Strength(0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    spread = [int(np.ptp(scene(np.random.default_rng(i), black, white, only))) for i in range(30)]
    assert np.mean(np.array(spread) > 100) > 0.8
    assert all(np.ptp(scene(np.random.default_rng(i), black, black, only)) < 30 for i in range(10))


def test_degrading_loses_detail_and_nothing_else() -> None:
    sharp = np.asarray(cv2.resize(np.random.default_rng(0).integers(60, 196, (56, 56, 3), dtype=np.uint8), (112, 112)))
    detail, brightness = [], []
    for seed in range(40):
        view = degrade(np.random.default_rng(seed), sharp, Strength(shrink=1, blur=0, noise=0, jpeg=0))
        detail.append(cv2.Laplacian(view, cv2.CV_32F).std() / cv2.Laplacian(sharp, cv2.CV_32F).std())
        brightness.append(float(view.mean()) - float(sharp.mean()))
    assert np.max(detail) < 1.2
    assert np.median(detail) < 0.7
    assert np.abs(brightness).max() < 3


def maker(path: Path, **changes: object) -> ViewMaker:
    np.save(path, np.stack([picture(i) for i in range(6)]))
    return replace(ViewMaker(path, np.ones(6), batch=8, seed=7), **changes)  # type: ignore[arg-type]


def test_views_depend_on_step_and_seed_alone(tmp_path: Path) -> None:
    views = maker(tmp_path / "faces.npy")
    first = views(1)
    views(0)
    again = pickle.loads(pickle.dumps(views))(1)
    np.testing.assert_array_equal(first.scenes, again.scenes)
    np.testing.assert_array_equal(first.faces, again.faces)
    assert first.scenes.shape == first.faces.shape == (8, 112, 112, 3)
    assert not np.array_equal(first.scenes, views(2).scenes)
    assert not np.array_equal(first.scenes, replace(views, seed=8)(1).scenes)


def test_the_student_sees_what_the_teachers_see_degraded(tmp_path: Path) -> None:
    views = maker(tmp_path / "faces.npy", batch=64)(0)
    assert not np.array_equal(views.scenes, views.faces)
    for scene_, face in zip(views.scenes, views.faces, strict=True):
        likeness = [np.corrcoef(scene_.mean(2).ravel(), f.mean(2).ravel())[0, 1] for f in (face, face[:, ::-1])]
        assert max(likeness) > 0.6


def test_faces_are_drawn_as_often_as_their_weights_say(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.stack([np.full((128, 128, 3), v, np.uint8) for v in (0, 255)]))
    views = ViewMaker(tmp_path / "faces.npy", np.array([3.0, 1.0]), batch=400, seed=1, plain=1.0)(0)
    dark = (views.scenes.mean((1, 2, 3)) < 100).mean()
    assert dark == pytest.approx(0.75, abs=0.08)


def test_plain_views_are_never_mixed(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.stack([np.full((128, 128, 3), v, np.uint8) for v in (0, 255)]))
    mixed = [
        np.ptp(ViewMaker(tmp_path / "faces.npy", np.ones(2), 60, 1, Strength(splice=1.0), plain)(0).scenes, (1, 2, 3))
        for plain in (1.0, 0.0)
    ]
    assert (mixed[0] > 100).mean() == 0
    assert (mixed[1] > 100).mean() > 0.25


def test_a_file_of_pictures_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "faces.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"faces\.npy"):
        ViewMaker(tmp_path / "faces.npy", np.ones(2), 2, 1)(0)
