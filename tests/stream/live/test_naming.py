"""Names given by hand, kept in the gallery, and taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, IznetError, UsageError
from engine.gallery import Gallery
from engine.gallery_photos import take_out
from engine.names import LONGEST_NAME
from stream.live.address import Address
from stream.live.naming import NameDesk
from stream.live.run import Live, LiveSettings
from tests.stream.live import feeds
from tests.stream.live.test_run import Kept


@dataclass
class Scene:
    """A run that shows Ann and somebody unknown, a frame at a time."""

    live: Live
    kept: Kept
    desk: NameDesk
    path: Path
    go: threading.Semaphore

    def step(self) -> list[str | None]:
        """Let one more frame come; who is on it, from left to right."""
        count = len(self.kept.seen)
        self.go.release()
        feeds.until(lambda: len(self.kept.seen) > count)
        return self.kept.names[-1]

    def lose(self) -> None:
        """Every track ends; who is seen next is followed anew."""
        with self.live.working:
            analyser = self.live.cameras[0].analyser
            assert analyser is not None
            analyser.break_off()

    @property
    def ann(self) -> int:
        """Ann's track."""
        return min(self.kept.seen[-1].labelled.faces, key=lambda face: float(face.box[0])).track

    @property
    def track(self) -> int:
        """The unknown person's."""
        return max(self.kept.seen[-1].labelled.faces, key=lambda face: float(face.box[0])).track


@pytest.fixture
def scene(tmp_path: Path, detector: Detector, embedder: Embedder) -> Iterator[Scene]:
    path = tmp_path / "group.gallery"
    feeds.gallery_of(embedder, "ann", "ben").save(path)
    gallery = Gallery.load(path, embedder)
    go, kept = threading.Semaphore(0), Kept()
    steps: list[feeds.Step] = []
    for _ in range(40):
        steps += [lambda: go.acquire(timeout=30), feeds.picture([feeds.ANN, feeds.SOMEBODY])]
    live = Live(
        [Address.parse("cam=rtsp://h.invalid/1")],
        detector,
        embedder,
        gallery,
        LiveSettings(max_staleness=600, retries=0),
        [[kept]],
        opens=feeds.Script(steps),
    )
    live.start()
    yield Scene(live, kept, NameDesk(live, path), path, go)
    for _ in range(80):
        go.release()
    assert live.wait(60)
    with pytest.raises(InputError):
        live.stop()


def test_a_stranger_is_named_from_the_next_frame_on_and_for_good(scene: Scene, embedder: Embedder) -> None:
    assert scene.step() == ["ann", None]
    scene.step()
    given = scene.desk.give(0, 1, scene.track, "  Dora\n ")
    assert (given.name, given.new) == ("Dora", True)
    assert scene.step() == ["ann", "Dora"]
    # Whoever starts again with the file knows her too.
    again = Gallery.load(scene.path, embedder)
    assert again.people == ("Dora", "ann", "ben")
    crop = np.empty((1, 112, 112, 3), np.uint8)
    crop[...] = feeds.STRANGER
    assert again.identify(embedder.embed(crop)).names == ["Dora"]


def test_undoing_leaves_the_gallery_as_it_was(scene: Scene) -> None:
    before = scene.path.read_bytes()
    scene.step()
    given = scene.desk.give(0, 1, scene.track, "Dora")
    assert scene.step() == ["ann", "Dora"]
    scene.desk.undo(given.number)
    assert scene.step() == ["ann", None]
    assert Gallery.load(scene.path).people == ("ann", "ben")
    assert scene.path.read_bytes() == before
    with pytest.raises(InputError, match="undone already"):
        scene.desk.undo(given.number)


def test_a_known_persons_name_adds_to_them_and_undoing_takes_only_that_away(scene: Scene) -> None:
    scene.step()
    given = scene.desk.give(0, 1, scene.track, "BEN")
    assert (given.name, given.new) == ("ben", False)
    # Nothing of the medoid may have changed, but whoever was named is named.
    assert scene.step() == ["ann", "ben"]
    gallery = Gallery.load(scene.path)
    assert len(gallery.photos(1)) == 1 + len(given.photos)
    scene.desk.undo(given.number)
    assert len(Gallery.load(scene.path).photos(1)) == 1
    assert scene.step() == ["ann", None]


def test_an_earlier_naming_can_be_undone_after_a_later_one_of_somebody_else(scene: Scene) -> None:
    scene.step()
    first = scene.desk.give(0, 1, scene.track, "Dora")
    second = scene.desk.give(0, 1, scene.ann, "Ella")
    assert scene.desk.latest is second
    scene.desk.undo(first.number)
    assert Gallery.load(scene.path).people == ("Ella", "ann", "ben")
    scene.desk.undo(second.number)
    assert Gallery.load(scene.path).people == ("ann", "ben")
    assert scene.desk.latest is None


def test_a_correction_takes_the_looks_from_the_person_named_first(scene: Scene) -> None:
    scene.step()
    scene.desk.give(0, 1, scene.track, "BEN")
    second = scene.desk.give(0, 1, scene.track, "Dora")
    gallery = Gallery.load(scene.path)
    assert gallery.people == ("Dora", "ann", "ben")
    assert [len(gallery.photos(at)) for at in range(3)] == [len(second.photos), 1, 1]
    assert scene.step() == ["ann", "Dora"]


def test_undoing_a_correction_gives_the_looks_back_to_whom_they_came_from(scene: Scene) -> None:
    scene.step()
    before = scene.path.read_bytes()
    first = scene.desk.give(0, 1, scene.track, "Dora")
    named = scene.path.read_bytes()
    second = scene.desk.give(0, 1, scene.track, "Ella")
    assert Gallery.load(scene.path).people == ("Ella", "ann", "ben")
    with pytest.raises(InputError, match="undone already"):
        scene.desk.undo(first.number)  # it does not hold any more; what holds is the correction
    scene.desk.undo(second.number)
    assert scene.path.read_bytes() == named
    assert scene.step() == ["ann", "Dora"]
    assert scene.desk.latest is first
    scene.desk.undo(first.number)
    assert scene.path.read_bytes() == before
    assert scene.step() == ["ann", None]


def test_the_spelling_of_a_name_that_was_just_given_is_corrected(scene: Scene) -> None:
    scene.step()
    scene.desk.give(0, 1, scene.track, "dora")
    given = scene.desk.give(0, 1, scene.track, "Dora")
    assert given.name == "Dora"
    assert Gallery.load(scene.path).people == ("Dora", "ann", "ben")
    assert scene.step() == ["ann", "Dora"]


def test_who_was_taken_out_of_the_gallery_does_not_come_back_by_undoing(scene: Scene) -> None:
    scene.step()
    scene.desk.give(0, 1, scene.track, "Dora")
    Gallery.update(scene.path, lambda gallery: gallery.without(["Dora"]))
    second = scene.desk.give(0, 1, scene.track, "Ella")
    scene.desk.undo(second.number)
    assert Gallery.load(scene.path).people == ("ann", "ben")
    assert scene.step() == ["ann", None]


def test_a_naming_of_who_was_taken_out_of_the_gallery_is_not_in_the_way_of_earlier_ones(scene: Scene) -> None:
    scene.step()
    before = scene.path.read_bytes()
    first = scene.desk.give(0, 1, scene.ann, "Ella")
    second = scene.desk.give(0, 1, scene.track, "Dora")
    assert scene.step() == ["Ella", "Dora"]
    Gallery.update(scene.path, lambda gallery: gallery.without(["Dora"]))
    with pytest.raises(InputError, match="'Dora' is not in the gallery any more"):
        scene.desk.undo(second.number)
    assert scene.step() == ["Ella", None]
    assert scene.desk.latest is first
    with pytest.raises(InputError, match="undone already"):
        scene.desk.undo(second.number)
    scene.desk.undo(first.number)
    assert scene.path.read_bytes() == before
    assert scene.desk.latest is None


@pytest.mark.parametrize(
    ("camera", "epoch", "track", "name", "kind", "words"),
    [
        (0, 1, 999, "Dora", InputError, "gone"),
        (0, 2, 1, "Dora", InputError, "gone"),
        (7, 1, 1, "Dora", InputError, "gone"),
        (0, 1, 1, " \t\n", UsageError, "it takes a letter"),
        (0, 1, 1, "x" * (LONGEST_NAME + 1), UsageError, "the most"),
        (0, 1, 1, "unknown 1", UsageError, "people without a name"),
    ],
)
def test_what_cannot_be_named_changes_nothing(
    camera: int, epoch: int, track: int, name: str, kind: type[IznetError], words: str, scene: Scene
) -> None:
    before = scene.path.read_bytes()
    scene.step()
    with pytest.raises(kind, match=words):
        scene.desk.give(camera, epoch, track, name)
    assert scene.path.read_bytes() == before


def test_another_gallery_that_took_the_files_place_is_left_alone(scene: Scene, embedder: Embedder) -> None:
    scene.step()
    other = Gallery.build({"zoe": np.eye(1, 64, dtype=np.float32)}, "another embedder", 0.5)
    other.save(scene.path, overwrite=True)
    before = scene.path.read_bytes()
    with pytest.raises(InputError, match="another embedder"):
        scene.desk.give(0, 1, scene.track, "Dora")
    assert scene.path.read_bytes() == before
    assert scene.step() == ["ann", None]


def test_a_gallery_is_never_emptied(embedder: Embedder) -> None:
    gallery = feeds.gallery_of(embedder, "ann")
    people = gallery.photos_by_name()
    assert gallery.rebuilt(people).to_bytes() == gallery.to_bytes()
    assert take_out(people, "zoe", ["0"]) is None
    assert take_out(people, "ann", ["1"]) is None
    assert take_out(people, "ann", ["0"]) is not None
    with pytest.raises(UsageError, match="nobody would be left"):
        gallery.rebuilt(people)


def test_who_has_left_while_the_name_was_typed_is_known_when_they_come_back(scene: Scene) -> None:
    scene.step()
    track = scene.track
    scene.lose()
    scene.desk.give(0, 1, track, "Dora")
    assert scene.step() == ["ann", "Dora"]
    assert scene.track != track


def test_a_face_that_was_lost_and_found_again_is_corrected_as_a_whole(scene: Scene) -> None:
    scene.step()
    first = scene.desk.give(0, 1, scene.track, "Dora")
    named = scene.path.read_bytes()
    track = scene.track
    scene.lose()
    assert scene.step() == ["ann", "Dora"], "by what the gallery knows now"
    assert scene.track != track
    second = scene.desk.give(0, 1, scene.track, "ben")
    gallery = Gallery.load(scene.path)
    assert gallery.people == ("ann", "ben"), "the looks that were Dora's are the same face's"
    assert len(gallery.photos(1)) == 1 + len(second.photos)
    assert scene.step() == ["ann", "ben"]
    scene.desk.undo(second.number)
    assert scene.path.read_bytes() == named
    assert scene.desk.latest is first


def test_two_who_stand_side_by_side_are_not_one_however_alike(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.step()
    first = scene.desk.give(0, 1, scene.track, "Dora")
    monkeypatch.setattr(type(first.analyser), "looks_of", lambda analyser, track: first.photos.embeddings)
    scene.desk.give(0, 1, scene.ann, "ben")
    gallery = Gallery.load(scene.path)
    assert gallery.people == ("Dora", "ann", "ben")
    assert len(gallery.photos(0)) == len(first.photos)


def test_a_face_that_was_not_seen_clearly_takes_nothing_from_one_like_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.step()
    first = scene.desk.give(0, 1, scene.track, "Dora")
    scene.lose()
    scene.step()
    monkeypatch.setattr(type(first.analyser), "is_clear", lambda analyser, track: False)
    scene.desk.give(0, 1, scene.track, "ben")
    assert Gallery.load(scene.path).people == ("Dora", "ann", "ben")


def test_a_name_that_somebody_else_gets_takes_nothing_from_the_one_named_before(scene: Scene) -> None:
    scene.step()
    first = scene.desk.give(0, 1, scene.track, "Dora")
    scene.desk.give(0, 1, scene.ann, "ben")
    gallery = Gallery.load(scene.path)
    assert gallery.people == ("Dora", "ann", "ben")
    assert len(gallery.photos(0)) == len(first.photos)
    assert scene.step() == ["ben", "Dora"]


def test_a_correction_at_another_camera_holds_at_both_and_is_undone_at_both(
    tmp_path: Path, detector: Detector, embedder: Embedder
) -> None:
    path = tmp_path / "group.gallery"
    feeds.gallery_of(embedder, "ann", "ben").save(path)
    gos, kepts = [threading.Semaphore(0) for _ in range(2)], [Kept(), Kept()]
    scripts = [
        feeds.Script(
            [step for _ in range(20) for step in (partial(go.acquire, timeout=30), feeds.picture([feeds.SOMEBODY]))]
        )
        for go in gos
    ]
    live = Live(
        [Address.parse(f"cam{n}=rtsp://h.invalid/{n}") for n in range(2)],
        detector,
        embedder,
        Gallery.load(path, embedder),
        LiveSettings(max_staleness=600, retries=0),
        [[kept] for kept in kepts],
        opens=lambda address, *rest: scripts[int(address.target[-1])](address, *rest),
    )
    desk = NameDesk(live, path)

    def step() -> list[str | None]:
        said = []
        for go, kept in zip(gos, kepts, strict=True):
            count = len(kept.seen)
            go.release()
            feeds.until(lambda kept=kept, count=count: len(kept.seen) > count)  # type: ignore[misc]
            said += kept.names[-1]
        return said

    live.start()
    try:
        step()
        assert step() == [None, None]
        tracks = [kept.seen[-1].labelled.faces[0].track for kept in kepts]
        desk.give(0, 1, tracks[0], "Dora")
        assert step() == ["Dora", "Dora"]
        corrected = desk.give(1, 1, tracks[1], "Nora")
        assert corrected.corrects is not None
        assert step() == ["Nora", "Nora"]
        assert Gallery.load(path).people == ("Nora", "ann", "ben")
        desk.undo(corrected.number)
        assert step() == ["Dora", "Dora"]
        corrected = desk.give(1, 1, tracks[1], "Nora")
        desk.give(0, 1, tracks[0], "Nora")
        desk.undo(corrected.number)
        assert step()[0] == "Nora"  # which was said of this very face since
    finally:
        for go in gos * 40:
            go.release()
        live.wait(60)
        with pytest.raises(InputError):
            live.stop()
