"""What a gallery learns from a review, and forgets again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.alignment import align_face
from engine.embedder import Embedder
from engine.errors import InputError, OutputError, UsageError
from engine.gallery import Gallery
from engine.photos import Photos
from stream.review.corrections import NeedsConsent
from stream.review.review import Review
from stream.review.teaching import LOOKS, Teacher
from stream.source import FileSource
from stream.tracks import read
from tests import networks
from tests.engine.galleries import with_people


@pytest.fixture
def review(path: Path, group: Path, embedder: Embedder) -> Iterator[Review]:
    people = Gallery.load(group).people
    with Review(path, people=people, teacher=lambda source: Teacher(group, lambda: embedder, source)) as opened:
        yield opened


def files(group: Path) -> dict[str, tuple[str, ...]]:
    """The photos of everybody in the gallery."""
    return {name: photos.files for name, photos in Gallery.load(group).photos_by_name().items()}


def test_a_face_is_learned_when_it_is_saved_and_not_before(review: Review, group: Path) -> None:
    before = group.read_bytes()
    review.name(3, "Minju", everywhere=True, new=True, learn=True)
    assert (review.unsaved, review.unlearned, review.learned) == (3, LOOKS, 0)
    assert group.read_bytes() == before
    review.save()
    assert (review.unsaved, review.unlearned, review.learned) == (0, 0, LOOKS)
    known = files(group)
    assert set(known) == {"ann", "ben", "Minju"}
    assert len(known["Minju"]) == LOOKS
    assert all(name.startswith("mv.mp4, frame ") and "track" in name for name in known["Minju"])
    assert read(review.path).tracks[1].name == "Minju"


def test_what_is_learned_is_what_the_video_shows(review: Review, group: Path, embedder: Embedder) -> None:
    review.name(1, "ann", learn=True)  # whom the gallery knows already
    review.save()
    photos = Gallery.load(group).photos_by_name()["ann"]
    frames = {
        int(name.split(",")[1].split()[1]): vector
        for name, vector in zip(photos.files, photos.embeddings, strict=True)
        if "frame" in name
    }
    assert len(photos) == len(frames) + 1
    record = read(review.path)
    with FileSource(review.video, threads=1) as source:
        for frame in source.frames():
            if frame.index in frames:
                (face,) = [face for face in record.frames[frame.index].faces if face.track == 1]
                crop = align_face(np.asarray(frame.picture.to_ndarray(format="rgb24"), np.uint8), face.landmarks)
                assert float(embedder.embed(crop[None])[0] @ frames[frame.index]) > 0.999


def test_undoing_takes_it_out_again_and_redoing_puts_it_back(review: Review, group: Path) -> None:
    before = files(group)
    made = review.name(4, "ben", learn=True)
    review.save()
    assert len(files(group)["ben"]) > 1
    review.undo(made.number)
    assert review.unlearned == review.learned > 0
    review.save()
    assert files(group) == before
    assert review.learned == 0
    review.redo(made.number)
    review.save()
    assert len(files(group)["ben"]) > 1
    vectors = Gallery.load(group).photos(1).embeddings
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-5)


def test_what_others_put_into_the_gallery_meanwhile_stays(review: Review, group: Path, embedder: Embedder) -> None:
    made = review.name(4, "ben", learn=True)
    review.save()
    crop = np.empty((1, 112, 112, 3), np.uint8)
    crop[...] = networks.PEOPLE["cho"]
    Gallery.update(group, lambda gallery: with_people(gallery, {"cho": Photos(embedder.embed(crop))}))
    review.undo(made.number)
    review.save()
    assert {name: len(theirs) for name, theirs in files(group).items()} == {"ann": 1, "ben": 1, "cho": 1}


def test_a_correction_of_what_was_learned_takes_the_looks_away(review: Review, group: Path) -> None:
    review.name(1, "ann", learn=True)
    review.save()
    review.name(1, "ben")
    review.save()
    assert {name: len(theirs) for name, theirs in files(group).items()} == {"ann": 1, "ben": 1}


def test_a_name_that_stands_can_be_learned_afterwards_once(review: Review, group: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        review.name(0, "Yuri")
    review.name(0, "Yuri", learn=True)
    assert (review.unsaved, review.unlearned) == (0, LOOKS)
    review.save()
    assert len(files(group)["Yuri"]) == LOOKS
    with pytest.raises(UsageError, match="already, and learned"):
        review.name(0, "Yuri", learn=True)


def test_nothing_is_learned_where_nothing_was_said(review: Review, group: Path) -> None:
    before = group.stat().st_mtime_ns
    review.name(4, "ben")
    review.save()
    assert group.stat().st_mtime_ns == before
    with pytest.raises(NeedsConsent):
        review.name(4, "bem", learn=True)
    assert review.unlearned == 0


def test_without_a_gallery_or_a_clear_look_that_is_said(path: Path, tmp_path: Path) -> None:
    with Review(path) as bare, pytest.raises(UsageError, match="-g"):
        bare.name(4, "ben", new=True, learn=True)
    lines = path.read_text("utf-8").replace('"score":0.9', '"score":0.05')
    path.write_text(lines, "utf-8")
    with (
        Review(path, teacher=lambda source: Teacher(tmp_path / "x", lambda: pytest.fail("opened"), source)) as dim,
        pytest.raises(UsageError, match="never seen well enough"),
    ):
        dim.name(4, "ben", new=True, learn=True)


def test_a_gallery_of_another_embedder_is_refused_before_anything_is_said(
    path: Path, tmp_path: Path, embedder: Embedder
) -> None:
    other = tmp_path / "other.gallery"
    Gallery.build({"ann": np.eye(1, 128, dtype=np.float32)}, "0" * 64, 0.5).save(other)
    with Review(path, teacher=lambda source: Teacher(other, lambda: embedder, source)) as opened:
        with pytest.raises(InputError, match=r"other\.gallery: was made with the embedder"):
            opened.name(4, "Yuri", learn=True)
        assert (opened.unsaved, opened.unlearned) == (0, 0)


def test_a_disk_that_is_full_leaves_the_gallery_whole_and_it_can_be_tried_again(
    review: Review, group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OutputError("no space left")

    before = group.read_bytes()
    review.name(4, "ben", learn=True)
    monkeypatch.setattr("engine.gallery.write_output", full)
    with pytest.raises(OutputError):
        review.save()
    assert group.read_bytes() == before
    assert review.unlearned > 0
    monkeypatch.undo()
    review.save()
    assert (review.unlearned, len(files(group)["ben"])) == (0, 1 + review.learned)
