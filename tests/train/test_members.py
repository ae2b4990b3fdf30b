"""Fine-tuning on made-up members."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine import Embedder, Gallery
from engine.cohort import Cohort
from engine.embedder import unit
from engine.errors import InputError, OutputError
from tests.networks import PEOPLE, scene
from train import members
from train.members import (
    ASIDE,
    DevFigures,
    Faces,
    MemberRecipe,
    MembersResult,
    changed_view,
    check_out,
    dev_figures,
    fit_layer,
    kept_aside,
    mapped_cohort,
    same_rate_threshold,
    train_members,
    with_layer,
)
from train.onnx_file import write_onnx

D = 16
FACTS = {"iznet.kind": "embedder", "iznet.threshold": "0.3"}
QUICK = MemberRecipe(steps=150, batch=64, rate=5e-3, keep=2.0)


def sphere(sha256: str = "", dimension: int = D, name: str = "colours") -> Cohort:
    eye = np.eye(dimension) / dimension
    nothing = np.zeros((4, dimension), np.float32)
    return Cohort(nothing, np.ones(4) / 4, np.ones(4), eye, 1.0, 99, 99, 99, name, sha256)


def look_alikes(seed: int, photos: int = 24) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Three people who differ in three directions, under noise that is strong in three others."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(3), photos)
    x = np.full((len(label), D), 0.3) + 0.4 * np.eye(D)[label] + 0.05 * rng.normal(size=(len(label), D))
    x[:, 8:11] += 0.6 * rng.normal(size=(len(label), 3))
    return unit(x.astype(np.float32)), label


def test_the_layer_learns_what_tells_people_apart_and_leaves_strangers_alone() -> None:
    x, label = look_alikes(0)
    fresh, truth = look_alikes(1)
    strangers = sphere().draw(2000)
    matrix = fit_layer(x, label, strangers, QUICK)
    people, aside = [str(n) for n in [*label, *truth]], np.arange(2 * len(x)) >= len(x)
    both = np.concatenate([x, fresh])
    before = dev_figures(both, people, aside, sphere(), 0.01)
    after = dev_figures(unit(both @ matrix), people, aside, mapped_cohort(sphere(), matrix, "", ""), 0.01)
    assert after.rank1 > before.rank1 + 0.1
    assert after.named > before.named + 0.1
    stayed = np.einsum("nd,nd->n", strangers, unit(strangers @ matrix)).mean()
    loose = fit_layer(x, label, strangers, MemberRecipe(steps=150, batch=64, rate=5e-3, keep=0.0))
    assert stayed > np.einsum("nd,nd->n", strangers, unit(strangers @ loose)).mean() + 0.02
    np.testing.assert_allclose(fit_layer(x, label, strangers, QUICK), matrix, atol=1e-5)


def test_a_changed_view_shows_the_same_face_otherwise() -> None:
    y, x = np.mgrid[-1:1:112j, -1:1:112j]
    rings = np.cos(3 * np.hypot(x, y))[..., None] * np.ones(3)
    face, other = ((128 + sign * 90 * rings).astype(np.uint8) for sign in (1, -1))
    likeness = []
    for seed in range(30):
        view = changed_view(np.random.default_rng(seed), face, other)
        again = changed_view(np.random.default_rng(seed), face, other)
        assert view.shape == face.shape
        assert view.dtype == np.uint8
        np.testing.assert_array_equal(view, again)
        assert (view != face).any()
        likeness.append(float(np.corrcoef(view.mean(axis=2).ravel(), rings[..., 0].ravel())[0, 1]))
    assert min(likeness) > 0.2  # a piece of the other face may cover some of it, never most
    assert np.median(likeness) > 0.8


def test_a_mapped_cohort_draws_what_the_layer_makes_of_strangers() -> None:
    rng = np.random.default_rng(0)
    matrix = (np.eye(D) + 0.3 * rng.normal(size=(D, D))).astype(np.float32)
    centres = (0.7 * unit(rng.normal(size=(4, D)).astype(np.float32))).astype(np.float32)
    eye = 0.5 * np.eye(D) / D
    cohort = Cohort(centres, np.array([0.1, 0.2, 0.3, 0.4]), np.ones(4), eye, 1.0, 99, 99, 99, "", "")
    expected = unit(cohort.draw(20_000) @ matrix)
    drawn = mapped_cohort(cohort, matrix, "n", "s").draw(20_000)
    np.testing.assert_allclose(drawn.mean(0), expected.mean(0), atol=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(expected.T), atol=0.02)
    assert same_rate_threshold(cohort, np.eye(D, dtype=np.float32), 0.3) == pytest.approx(0.3, abs=1e-3)


def test_the_layer_is_added_to_the_network(tmp_path: Path, embedder_file: Path) -> None:
    matrix = (np.eye(128) + 0.2 * np.random.default_rng(0).normal(size=(128, 128))).astype(np.float32)
    write_onnx(with_layer(embedder_file, matrix), tmp_path / "tuned.onnx", FACTS)
    original = Embedder.open(embedder_file, threads=1, precision="f32")
    tuned = Embedder.open(tmp_path / "tuned.onnx", threads=1, precision="f32")
    faces = np.random.default_rng(1).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    np.testing.assert_allclose(tuned.embed(faces), unit(original.embed(faces) @ matrix), atol=1e-4)
    session = ort.InferenceSession(tmp_path / "tuned.onnx", providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["embeddings"]


def test_a_layer_is_added_to_a_network_that_has_one(tmp_path: Path, embedder_file: Path) -> None:
    rng = np.random.default_rng(3)
    first, second = (np.eye(128) + 0.1 * rng.normal(size=(2, 128, 128))).astype(np.float32)
    for source, layer, name in ((embedder_file, first, "once"), (tmp_path / "once.onnx", second, "twice")):
        write_onnx(with_layer(source, layer), tmp_path / f"{name}.onnx", FACTS)
    original, twice = (
        Embedder.open(file, threads=1, precision="f32") for file in (embedder_file, tmp_path / "twice.onnx")
    )
    faces = np.random.default_rng(1).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    expected = unit(unit(original.embed(faces) @ first) @ second)
    np.testing.assert_allclose(twice.embed(faces), expected, atol=1e-4)


def test_who_is_kept_aside() -> None:
    people = ["a"] * 20 + ["b"] * 6 + ["c"] * 5
    files = [f"{p}/{n}.jpg" for n, p in enumerate(people)]
    aside = kept_aside(people, files)
    assert [int(aside[[p == who for p in people]].sum()) for who in "abc"] == [6, 2, 0]
    assert ASIDE == 0.3
    order = np.random.default_rng(0).permutation(31)
    shuffled = kept_aside([people[n] for n in order], [files[n] for n in order])
    np.testing.assert_array_equal(shuffled, aside[order])


def test_too_few_photos_and_a_foreign_cohort(embedder: Embedder) -> None:
    crops = np.zeros((8, 112, 112, 3), np.uint8)
    few = Faces(crops, ("a",) * 7 + ("b",), tuple(map(str, range(8))))
    with pytest.raises(InputError, match="fewer than two people have 6 usable photos"):
        train_members(few, embedder, sphere(embedder.sha256, 128))
    with pytest.raises(InputError, match="make a cohort for that one"):
        train_members(few, embedder, sphere("f" * 64, 128))


@pytest.mark.parametrize("helps", [True, False])
def test_what_is_kept_has_learned_from_all_photos(
    helps: bool, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    people = ("ann",) * 8 + ("ben",) * 8
    colours = np.array([PEOPLE[name] for name in people])[:, None, None] + rng.integers(-20, 20, (16, 1, 1, 3))
    crops = np.broadcast_to(np.clip(colours, 0, 255), (16, 112, 112, 3)).astype(np.uint8)
    cohort, recipe = sphere(embedder.sha256, 128), MemberRecipe(steps=20, batch=32, views=0)
    figures = iter([DevFigures(0.9, 0.5, 0.3, 4), DevFigures(0.9, 0.6 if helps else 0.5, 0.3, 4)])
    monkeypatch.setattr(members, "dev_figures", lambda *_: next(figures))
    said = []
    faces = Faces(crops, people, tuple(map(str, range(16))))
    result = train_members(faces, embedder, cohort, recipe, progress=lambda what, done, of: said.append(what))
    assert result.better == helps
    assert result.train == 12
    used = np.ones(16, bool) if helps else ~kept_aside(people, faces.files)
    strangers = cohort.draw(20_000, seed=1)
    expected = fit_layer(embedder.embed(crops)[used], np.repeat([0, 1], 8)[used], strangers, recipe)
    np.testing.assert_allclose(result.matrix, expected, atol=1e-5)
    assert said.count("steps") == 20
    assert said.count("steps with all photos") == (20 if helps else 0)


@pytest.mark.parametrize("obstacle", ["the folder is a file", "above it is a file", "a name is taken by a folder"])
def test_a_place_that_takes_no_files_is_refused_before_anything_is_learned(obstacle: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    check_out(out)
    assert not out.parent.exists()
    taken = {"the folder is a file": out, "above it is a file": out.parent}.get(obstacle, out / "embedder.cohort" / "x")
    taken.parent.mkdir(parents=True, exist_ok=True)
    taken.write_bytes(b"mine")
    with pytest.raises(OutputError, match=str(tmp_path)):
        check_out(out)
    assert taken.read_bytes() == b"mine"


def test_a_link_that_leads_nowhere_and_a_folder_that_may_not_be_looked_into_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "link", tmp_path / "link" / "out"):
        with pytest.raises(OutputError, match="link"):
            check_out(out)

    def closed(place: str | Path, **_: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", place)

    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setattr(os, "lstat", closed)
    with pytest.raises(OutputError, match="out"):
        check_out(tmp_path / "out")


def exported(embedder: Embedder, folder: Path) -> Gallery:
    figures = DevFigures(0.9, 0.5, 0.3, 4)
    result = MembersResult(np.eye(128, dtype=np.float32), figures, replace(figures, named=0.6), 12, 1.0)
    gallery = Gallery.build({"ann": np.eye(1, 128, dtype=np.float32)}, embedder.sha256, 0.3)
    return members.export(result, gallery, embedder, sphere(embedder.sha256, 128), folder)


def test_the_network_that_is_kept_says_what_the_original_does_and_its_own_name(
    embedder: Embedder, tmp_path: Path
) -> None:
    gallery = exported(embedder, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(members.OUTPUTS)
    with closing(Embedder.open(tmp_path / "out" / members.NETWORK, threads=1)) as tuned:
        assert tuned.sha256 == gallery.embedder_sha256
        assert (tuned.name, gallery.embedder) == (f"{embedder.name}-members",) * 2
        assert tuned.threshold == pytest.approx(embedder.threshold, abs=1e-3)  # the layer changes nothing
        facts, original = tuned.session.model.metadata, embedder.session.model.metadata
        assert facts == {**original, **{key: facts[key] for key in ("iznet.name", "iznet.threshold")}}
    assert Gallery.load(tmp_path / "out" / members.GALLERY).people == ("ann",)


def test_a_network_that_came_out_wrong_takes_nothings_place(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would if a version of ONNX computed the layer otherwise."""
    turned = np.roll(np.eye(128, dtype=np.float32), 1, axis=0)
    real = members.with_layer
    monkeypatch.setattr(members, "with_layer", lambda source, matrix: real(source, turned))
    for name in members.OUTPUTS:
        (tmp_path / name).write_bytes(b"of an earlier run")
    with pytest.raises(RuntimeError, match="otherwise than was learned"):
        exported(embedder, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        members.OUTPUTS, b"of an earlier run"
    )


@pytest.mark.parametrize("alike", [False, True])
def test_as_typed(
    alike: bool, detector_file: Path, embedder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """People whom the network tells apart anyway gain nothing: it says so and writes nothing. Mixed-up ones may."""
    from tools.cli import run

    rng = np.random.default_rng(0)
    for name in ("ann", "ben"):
        (tmp_path / "people" / name).mkdir(parents=True)
        for n in range(8):
            r, g, b = PEOPLE[name]
            if alike:  # a colour all over the place, and a little of their own
                g = int(rng.integers(20, 235))
                b = 110 + (25 if name == "ben" else 0) + int(rng.integers(0, 8))
            box = (120 + 7 * n, 80 + 5 * n, 220 + 7 * n, 200 + 5 * n)
            Image.fromarray(scene(500, 400, [(box, (r, g, b))])).save(tmp_path / "people" / name / f"{n}.png")
    opened = Embedder.open(embedder_file, threads=1, precision="f32")
    sphere(opened.sha256, 128).save(tmp_path / "c.cohort")
    out = tmp_path / "out"
    networks = ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]
    arguments = ["train", "members", str(tmp_path / "people"), "-o", str(out), "--cohort", str(tmp_path / "c.cohort")]
    assert run([*arguments, *networks, "--steps", "60", "--views", "1"]) == 0
    said = capsys.readouterr().out
    assert "right name at 1 % false accepts: " in said
    assert out.exists() == ("Kept:" in said)
    if not alike:
        assert "Not kept" in said
        return
    if out.exists():
        gallery = Gallery.load(out / "members.gallery", Embedder.open(out / "embedder.onnx", threads=1))
        assert gallery.people == ("ann", "ben")
        assert gallery.calibration.source == "cohort"


def test_without_a_cohort(
    detector_file: Path, embedder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools.cli import run

    photo = tmp_path / "people" / "ann" / "1.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"is looked at later")
    networks = ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]
    assert run(["train", "members", str(tmp_path / "people"), *networks]) == 3
    assert "fine-tuning needs a cohort of strangers: " in capsys.readouterr().err
