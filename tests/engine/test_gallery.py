"""Galleries: who is nearest, what is kept, and what is refused."""

from __future__ import annotations

import io
import json
import math
import os
import unicodedata
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Embedder, Gallery
from engine.errors import InputError, OutputError
from engine.gallery import distance
from engine.names import clean_name
from engine.photos import Photos
from tests.networks import write_embedder

D = 16


def vectors(rng: np.random.Generator, count: int, dimension: int = D) -> NDArray[np.float32]:
    v = rng.normal(size=(count, dimension))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), np.float32)


def around(rng: np.random.Generator, count: int, noise: float = 0.3) -> NDArray[np.float32]:
    """A person: unit vectors around a random one."""
    v = vectors(rng, 1) + noise * vectors(rng, count)
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), np.float32)


@pytest.fixture
def gallery() -> Gallery:
    rng = np.random.default_rng(0)
    people = {name: around(rng, count) for name, count in (("yuri", 5), ("민주", 1), ("Ann Lee", 2), ("ひとみ", 8))}
    return Gallery.build(people, "f" * 64, 0.5, embedder="net", made_by="test")


@pytest.mark.parametrize(("people", "faces"), [(1, 3), (2, 5), (12, 100), (10_000, 20)])
def test_the_nearest_person_is_the_one_numpy_finds(people: int, faces: int) -> None:
    rng = np.random.default_rng(people)
    prototypes, queries = vectors(rng, people, 128), vectors(rng, faces, 128)
    gallery = Gallery.build({f"{n:05}": prototypes[n : n + 1] for n in range(people)}, "", 0.2)
    matches = gallery.identify(queries)
    # By Euclidean distance, which unit vectors order as the cosine does.
    distances = np.linalg.norm(queries[:, None].astype(np.float64) - prototypes, axis=2)
    order = np.argsort(distances, axis=1)
    cosines = 1 - distances**2 / 2
    np.testing.assert_array_equal(matches.nearest, order[:, 0])
    rows = np.arange(faces)
    np.testing.assert_allclose(matches.similarities, cosines[rows, order[:, 0]], atol=1e-5)
    second = cosines[rows, order[:, 1]] if people > 1 else np.full(faces, -1)
    np.testing.assert_allclose(matches.second, second, atol=1e-5)
    expected = [f"{n:05}" if cosines[i, n] >= 0.2 else None for i, n in enumerate(order[:, 0])]
    assert matches.names == expected


def test_the_second_is_another_person_also_with_several_prototypes() -> None:
    rng = np.random.default_rng(1)
    one = Gallery.build({name: vectors(rng, 1) for name in "abc"}, "", 0.1)
    prototypes, owners = vectors(rng, 12), rng.permutation(np.arange(12, dtype=np.int32) % 3)
    many = replace(one, prototypes=prototypes, owners=owners)
    query = vectors(rng, 50)
    cosines = query @ prototypes.T
    per_person = np.stack([cosines[:, owners == person].max(1) for person in range(3)], axis=1)
    matches = many.identify(query)
    np.testing.assert_array_equal(matches.nearest, per_person.argmax(1))
    np.testing.assert_allclose(matches.similarities, per_person.max(1), atol=1e-6)
    np.testing.assert_allclose(matches.second, np.sort(per_person, axis=1)[:, 1], atol=1e-6)


def test_the_threshold_is_reached_by_equality() -> None:
    e = np.eye(D, dtype=np.float32)
    gallery = Gallery.build({"a": e[:1]}, "", 0.6)
    face = (0.6 * e[0] + 0.8 * e[1])[None]
    face = face.astype(np.float32)
    assert gallery.identify(face).names == (["a"] if face[0, 0] >= 0.6 else [None])
    exact = Gallery.build({"a": e[:1]}, "", 1.0)
    assert exact.identify(e[:2]).names == ["a", None]


def test_ties_go_to_the_first_name() -> None:
    e = np.eye(D, dtype=np.float32)
    gallery = Gallery.build({"b": e[:1], "a": e[:1]}, "", 0.5)
    matches = gallery.identify(e[:1])
    assert matches.names == ["a"]
    assert matches.second.tolist() == [1.0]


def test_no_faces_and_faces_that_are_not_finite(gallery: Gallery) -> None:
    assert len(gallery.identify(np.zeros((0, D), np.float32))) == 0
    bad = np.full((1, D), np.nan, np.float32)
    both = np.concatenate([bad, gallery.prototypes[:1]])
    matches = gallery.identify(both)
    assert matches.names == [None, gallery.people[0]]
    assert matches.nearest.tolist() == [-1, 0]
    assert matches.similarities[0] == matches.second[0] == -1


def test_another_dimension(gallery: Gallery) -> None:
    with pytest.raises(ValueError, match=r"\[N,16\]"):
        gallery.identify(np.zeros((1, 8), np.float32))


def test_medoid_spread_and_radius() -> None:
    angles = np.radians([0, 10, 20, 30, 180])
    photos = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    person = Gallery.build({"a": photos}, "", 0.5).persons[0]
    distances = np.linalg.norm(photos[:, None] - photos[None], axis=2)
    assert person.medoid == int(np.argmin(distances.sum(1))) == 2
    others = np.delete(distances[2], 2)
    assert person.spread == pytest.approx(float(np.median(others)), abs=1e-6)
    assert person.radius == pytest.approx(float(others.max()), abs=1e-6)
    alone = Gallery.build({"a": photos[:1]}, "", 0.5).persons[0]
    assert (alone.medoid, alone.spread, alone.radius) == (0, 0.0, 0.0)


def test_neighbours_are_euclidean(gallery: Gallery) -> None:
    found = gallery.neighbours()
    full = np.linalg.norm(gallery.prototypes[:, None] - gallery.prototypes[None], axis=2)
    np.fill_diagonal(full, 9)
    for n, near in enumerate(found):
        assert near is not None
        assert near[0] == int(np.argmin(full[n]))
        assert near[1] == pytest.approx(float(full[n].min()), abs=1e-5)
    assert Gallery.build({"a": gallery.prototypes[:1]}, "", 0.5).neighbours() == [None]
    assert distance(-1.0) == 2.0
    assert distance(1.0000001) == 0.0


def test_saved_and_loaded_it_is_the_same(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "g.gallery"
    gallery.save(path)
    again = Gallery.load(path)
    assert again.people == gallery.people == ("Ann Lee", "yuri", "ひとみ", "민주")
    assert again.persons == gallery.persons
    assert (again.threshold, again.embedder, again.embedder_sha256) == (0.5, "net", "f" * 64)
    for name in ("prototypes", "owners", "embeddings"):
        np.testing.assert_array_equal(getattr(again, name), getattr(gallery, name))
        assert getattr(again, name).dtype == getattr(gallery, name).dtype
    assert again.sha256 == gallery.sha256
    assert again.to_bytes() == path.read_bytes()
    np.testing.assert_array_equal(again.of(1), gallery.embeddings[2:7])
    assert [p.name for p in tmp_path.iterdir()] == ["g.gallery"]


def test_equal_galleries_are_equal_files(gallery: Gallery) -> None:
    people = {p.name: gallery.of(n) for n, p in enumerate(gallery.persons)}
    backwards = Gallery.build(dict(reversed(people.items())), "f" * 64, 0.5, embedder="net", made_by="test")
    assert backwards.sha256 == gallery.sha256
    other = Gallery.build(people, "f" * 64, 0.51, embedder="net", made_by="test")
    assert other.sha256 != gallery.sha256


def test_another_embedder_is_refused_with_the_way_out(gallery: Gallery, embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "g.gallery"
    gallery.save(path)
    with pytest.raises(InputError, match=r"g\.gallery: was made with the embedder net .*iznet enroll PHOTOS -o"):
        Gallery.load(path, embedder)
    mine = Gallery.build({"a": np.eye(1, 128, dtype=np.float32)}, embedder.sha256, 0.5, embedder=embedder.name)
    mine.save(tmp_path / "mine.gallery")
    assert Gallery.load(tmp_path / "mine.gallery", embedder).people == ("a",)
    # The same name and threshold, but one number inside the network is another one.
    other = Embedder.open(write_embedder(tmp_path / "e.onnx", metadata={"made": "later"}))
    with pytest.raises(InputError, match="cannot be compared"):
        Gallery.load(tmp_path / "mine.gallery", other)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated(gallery: Gallery, tmp_path: Path, part: float) -> None:
    path = tmp_path / "cut.gallery"
    data = gallery.to_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"cut\.gallery: not a gallery, or a damaged one .*iznet enroll"):
        Gallery.load(path)


def test_every_flipped_byte_is_noticed_or_harmless(gallery: Gallery, tmp_path: Path) -> None:
    path, data = tmp_path / "flipped.gallery", gallery.to_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(data), 150).tolist():
        flipped = bytearray(data)
        flipped[at] ^= 0x55
        path.write_bytes(flipped)
        try:
            again = Gallery.load(path)
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(again.prototypes, gallery.prototypes)
        assert again.people == gallery.people
    assert refused > 100


def rewritten(gallery: Gallery, **changes: object) -> bytes:
    """The gallery's file with other entries in it; None drops one."""
    with zipfile.ZipFile(io.BytesIO(gallery.to_bytes())) as archive:
        entries: dict[str, bytes] = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(entries["gallery.json"])
    for key, value in changes.items():
        if key.endswith("_npy"):
            out = io.BytesIO()
            np.save(out, np.asarray(value), allow_pickle=True)
            entries[key.replace("_npy", ".npy")] = out.getvalue()
        elif value is None:
            del header[key]
        else:
            header[key] = value
    entries["gallery.json"] = json.dumps(header).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


class Harmful:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "iznet.tracks/1.0"},
        {"schema": "iznet.gallery/x"},
        {"schema": None},
        {"people": []},
        {"people": None},
        {"threshold": "high"},
        {"threshold": math.nan},
        {"threshold": math.inf},
        {"calibration": {"far": math.nan}},
        {"calibration": {"photos": math.inf}},
        {"calibration": {"reason": "\ud800"}},
        {"made_by": "iznet \udc80"},
        {"embedder": {"name": "\udfff", "sha256": "0"}},
        {"embedder": "net"},
        {"owners_npy": np.array([0, 1, 2, 9], np.int32)},
        {"owners_npy": np.array([0, 1, 2, 2], np.int32)},
        {"owners_npy": np.array([0, 1, 2], np.int32)},
        {"owners_npy": np.array([0, 1, 2, 3], np.int64)},
        {"prototypes_npy": np.zeros((4, D), np.float32)},
        {"prototypes_npy": np.eye(4, 8, dtype=np.float32)},
        {"embeddings_npy": np.full((16, D), np.nan, np.float32)},
        {"embeddings_npy": np.eye(15, D, dtype=np.float32)},
        {"prototypes_npy": np.array([Harmful()], object)},
    ],
    ids=lambda changes: "-".join(f"{key}_{getattr(value, 'shape', value)}" for key, value in changes.items()),
)
def test_contents_that_do_not_fit(
    gallery: Gallery, tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.gallery"
    path.write_bytes(rewritten(gallery, **changes))
    with pytest.raises(InputError, match=r"odd\.gallery: not a gallery, or a damaged one"):
        Gallery.load(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("medoid", math.inf), ("spread", 10**400), ("radius", math.nan)),
        *(("name", "half \ud800"), ("photos", ["half \ud800"] * 4)),
    ],
)
def test_people_who_are_none(gallery: Gallery, tmp_path: Path, key: str, value: object) -> None:
    people = [asdict(person) for person in gallery.persons]
    people[1][key] = value
    path = tmp_path / "odd.gallery"
    path.write_bytes(rewritten(gallery, people=people))
    with pytest.raises(InputError, match=r"odd\.gallery: not a gallery, or a damaged one"):
        Gallery.load(path)


def test_a_name_that_two_people_have(gallery: Gallery, tmp_path: Path) -> None:
    people = [asdict(person) for person in gallery.persons]
    people[1]["name"] = people[0]["name"]
    path = tmp_path / "merged.gallery"
    path.write_bytes(rewritten(gallery, people=people))
    with pytest.raises(InputError, match=r"merged\.gallery: .*two of its people have one name"):
        Gallery.load(path)


def test_every_byte_of_the_directory_may_be_damaged(gallery: Gallery, tmp_path: Path) -> None:
    path, data = tmp_path / "directory.gallery", gallery.to_bytes()
    start = data.index(b"PK\x01\x02")
    for at in range(start, len(data)):
        for flip in (0x08, 0xFF):
            flipped = bytearray(data)
            flipped[at] ^= flip
            path.write_bytes(flipped)
            try:
                people: tuple[str, ...] = Gallery.load(path).people
            except InputError:
                continue
            assert people == gallery.people


def test_older_minor_versions_are_read_and_newer_major_ones_refused(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "v.gallery"
    path.write_bytes(rewritten(gallery, schema="iznet.gallery/1.7", something="new"))
    again = Gallery.load(path)
    assert again.people == gallery.people
    import hashlib

    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(rewritten(gallery, schema="iznet.gallery/2.0"))
    with pytest.raises(InputError, match=r"newer than this version reads .*update"):
        Gallery.load(path)


@pytest.mark.parametrize("data", [b"hello", b"\x00" * 1000, b"PK\x05\x06" + bytes(18)])
def test_foreign_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "foreign.gallery"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"foreign\.gallery: not a gallery"):
        Gallery.load(path)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; make a gallery with: iznet enroll"):
        Gallery.load(tmp_path / "none.gallery")
    with pytest.raises(InputError, match=r"is a folder; .* iznet enroll \S+ -o NAME\.gallery"):
        Gallery.load(tmp_path)


def test_nothing_is_overwritten_unasked(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "g.gallery"
    path.write_text("precious", "utf-8")
    with pytest.raises(OutputError, match=r"exists already; .*--overwrite"):
        gallery.save(path)
    assert path.read_text("utf-8") == "precious"
    gallery.save(path, overwrite=True)
    assert Gallery.load(path).people == gallery.people


def test_places_that_cannot_be_written(gallery: Gallery, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        gallery.save(tmp_path / "no" / "g.gallery")
    with pytest.raises(OutputError, match="is a folder"):
        gallery.save(tmp_path, overwrite=True)


def test_a_full_disk_leaves_nothing_behind(gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    old = tmp_path / "g.gallery"
    old.write_text("old", "utf-8")
    with pytest.raises(OutputError, match=r"g\.gallery: the disk is full"):
        gallery.save(old, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["g.gallery"]
    assert old.read_text("utf-8") == "old"


def test_names_of_any_script_and_length(tmp_path: Path) -> None:
    e = np.eye(D, dtype=np.float32)
    decomposed = unicodedata.normalize("NFD", "민주")
    names = [decomposed, " Kim\tChaewon\n", "Ж" * 300, "👩‍🎤", "a/b", "名前 です", "bad\udcff", "-"]
    gallery = Gallery.build({name: e[n : n + 1] for n, name in enumerate(names)}, "", 0.5)
    gallery.save(tmp_path / "g.gallery")
    found = Gallery.load(tmp_path / "g.gallery")
    assert set(found.people) == {"민주", "Kim Chaewon", "Ж" * 300, "👩‍🎤", "a/b", "名前 です", "bad\ufffd", "-"}
    assert found.identify(e[:2]).names == ["민주", "Kim Chaewon"]


@pytest.mark.parametrize("name", ["", "   ", "\t\n", "\u00a0", "\x00\x01", "\ud800", "half \udc7f"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="is no name"):
        clean_name(name)


def test_what_cannot_be_built() -> None:
    e = np.eye(D, dtype=np.float32)
    with pytest.raises(InputError, match="at least one person"):
        Gallery.build({}, "", 0.5)
    with pytest.raises(InputError, match="the same name"):
        Gallery.build({"민주": e[:1], unicodedata.normalize("NFD", "민주"): e[1:2]}, "", 0.5)
    with pytest.raises(InputError, match="a: needs at least one embedding"):
        Gallery.build({"a": e[:0]}, "", 0.5)
    with pytest.raises(InputError, match="a: needs at least one embedding, one for each photo"):
        Gallery.build({"a": Photos(e[:2], ("1.jpg",))}, "", 0.5)
    with pytest.raises(InputError, match="a: the embeddings must be unit vectors"):
        Gallery.build({"a": 2 * e[:1]}, "", 0.5)
    with pytest.raises(InputError, match="different dimensions"):
        Gallery.build({"a": e[:1], "b": np.eye(8, dtype=np.float32)[:1]}, "", 0.5)
