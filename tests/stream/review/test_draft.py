"""What is not saved when a review ends, however it ends: the next one goes on from there, and only from there."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.embedder import Embedder
from engine.errors import OutputError, UsageError
from engine.gallery import Gallery
from engine.gallery_edit import edit
from stream.renaming import rename
from stream.review.review import Review
from stream.review.teaching import LOOKS, Teacher
from stream.tracks import read
from tests.stream.review import stage

NAME = "mv.tracks.jsonl.unsaved"


@pytest.fixture
def taught(path: Path, group: Path, embedder: Embedder) -> Callable[[], Review]:
    """Opens the review with a gallery that can learn."""
    return lambda: Review(path, teacher=lambda source: Teacher(group, lambda: embedder, source))


def told(review: Review) -> dict[str, Any]:
    """What a page shows of the corrections."""
    state = review.state()
    return {key: state[key] for key in ("unsaved", "unlearned", "undo", "redo", "groups", "people", "timeline")}


def photos(group: Path) -> dict[str, int]:
    return {name: len(theirs) for name, theirs in Gallery.load(group).photos_by_name().items()}


def test_the_next_review_of_the_record_goes_on(path: Path, unsaved: Path) -> None:
    before = path.read_bytes()
    with Review(path) as review:
        assert not unsaved.exists()
        review.name(3, "Minju", everywhere=True, new=True)
        review.name(0, "Chaewon")
        made = review.name(4, "Yuri")
        review.undo(made.number)
        assert review.kept == unsaved
        shown = told(review)
    assert path.read_bytes() == before
    with Review(path) as review:
        assert tuple(review.taken_up) == (4, 0)
        assert told(review) == shown
        assert (review.state()["taken_up"], review.notes, review.version) == (review.taken_up.words, [], 0)
        review.redo(made.number)
        for number in (3, 2, 1):
            review.undo(number)
        assert not unsaved.exists()
        for number in (1, 2, 3):
            review.redo(number)
        assert review.name(5, None).number == 4
        assert review.save() == 4
        assert review.corrected == 4
        assert (review.taken_up.tracks, review.kept, unsaved.exists()) == (0, None, False)
    with Review(path) as review:
        assert (review.unsaved, review.state()["undo"], review.state()["taken_up"]) == (0, None, None)


def test_what_was_taken_back_after_it_was_saved_is_taken_back(path: Path) -> None:
    before = read(path)
    with Review(path) as review:
        made = review.name(3, "Minju", everywhere=True, new=True)
        other = review.name(0, "Chaewon")
        review.save()
        review.undo(other.number)
        review.undo(made.number)
        review.name(4, "Yuri")  # after which they cannot be done again
        shown = told(review)
    with Review(path) as review:
        assert told(review) == shown
        assert review.unsaved == 5
        assert review.state()["undo"]["words"] == "Track 4: Yuri"
        review.undo(review.state()["undo"]["number"])
        review.save()
    assert read(path).tracks == before.tracks  # likeness and strangers' numbers too


def test_what_was_taken_up_and_then_taken_back_is_told_of_no_longer(
    path: Path, group: Path, taught: Callable[[], Review]
) -> None:
    with Review(path) as review:
        made = review.name(4, "Minju", new=True)
    with Review(path) as review:
        assert review.state()["taken_up"] == "1 corrected track, which an earlier review did not save, is taken up"
        review.undo(made.number)
        assert (review.state()["taken_up"], tuple(review.taken_up)) == (None, (0, 0))
    with taught() as review:
        made = review.name(0, "Yuri", learn=True)
    with taught() as review:
        assert tuple(review.taken_up) == (0, LOOKS)
        review.undo(made.number)
        review.name(4, "Minju", new=True)
        review.save()
        assert (review.state()["taken_up"], tuple(review.taken_up)) == (None, (0, 0))


def test_what_is_taken_up_can_be_discarded(path: Path, unsaved: Path) -> None:
    before = path.read_bytes()
    with Review(path) as review:
        clean = told(review)
        review.name(4, "Minju", new=True)
    with Review(path) as review:
        review.name(0, "Chaewon")
        version = review.version
        review.discard()
        assert review.version > version
        assert (tuple(review.taken_up), review.kept, unsaved.exists()) == ((0, 0), None, False)
        assert told(review) == clean
        made = review.name(4, "Yuri")
        assert made.number == 3  # a page that shows an earlier one cannot take this back by mistake
        review.undo(made.number)
    assert path.read_bytes() == before


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("name"), st.integers(0, 5), st.sampled_from(["Yuri", "Chaewon", "Minju", None]), st.booleans()
        ),
        st.sampled_from([("undo",), ("undo",), ("redo",), ("save",), ("cut",), ("cut",)]),
    ),
    max_size=14,
)


def take(review: Review, step: tuple[Any, ...]) -> None:
    state = review.state()
    with suppress(UsageError):
        match step:
            case ("name", track, name, everywhere):
                review.name(track, name, everywhere=everywhere, new=True, displace=True)
            case ("undo",):
                review.undo(state["undo"]["number"] if state["undo"] else 0)
            case ("redo",):
                review.redo(state["redo"]["number"] if state["redo"] else 0)
            case ("save",):
                review.save()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two alike."""
    whole, parts = (stage.both(tmp_path_factory.mktemp(name)) for name in ("whole", "parts"))
    return whole, parts


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_is_done_a_review_that_is_cut_short_shows_what_one_does_that_is_not(
    steps: list[tuple[Any, ...]], twins: tuple[Path, Path]
) -> None:
    whole_path, parts_path = twins
    for path in twins:
        stage.record(path, path.with_name("mv.mp4"))
    cut = Review(parts_path)
    try:
        with Review(whole_path) as whole:
            for step in steps:
                take(whole, step)
                take(cut, step)
                if step == ("cut",):
                    cut.__exit__(None, None, None)
                    cut = Review(parts_path)
                    if not whole.unsaved:  # then nothing is left to be undone
                        whole.discard()
                one, other = told(whole), told(cut)
                for state in (one, other):  # numbers may begin anew
                    for key in ("undo", "redo"):
                        state[key] = state[key] and state[key]["words"]
                assert one == other
                assert cut.notes == []
            take(whole, ("save",))
            take(cut, ("save",))
    finally:
        cut.__exit__(None, None, None)
    assert read(parts_path).tracks == read(whole_path).tracks
    assert not parts_path.with_name(NAME).exists()


@pytest.mark.parametrize("learn", [False, True])
def test_at_whatever_change_of_the_disk_it_dies_nothing_is_lost(
    learn: bool, path: Path, group: Path, taught: Callable[[], Review], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had been said before is there afterwards, in the record or beside it; also what a gallery is to learn, and
    that once."""

    class Dead(BaseException):
        pass

    before, gallery = path.read_bytes(), group.read_bytes()
    for last in range(40):
        path.write_bytes(before)
        group.write_bytes(gallery)
        changes = 0

        def counted(real: Callable[..., None]) -> Callable[..., None]:
            def change(place: Any, *given: Any, **named: Any) -> None:
                nonlocal changes
                if not os.fspath(place).endswith(".lock"):  # the system lets go of those
                    if changes == last:  # noqa: B023 - and nothing after it, as of the dead
                        raise Dead
                    changes += 1
                real(place, *given, **named)

            return change

        review = taught()
        review.name(4, "Minju", new=True, learn=learn)
        with monkeypatch.context() as patched:
            for name in ("replace", "unlink"):
                patched.setattr(os, name, counted(getattr(os, name)))
            died = False
            try:
                review.name(0, "Chaewon")
                review.save()
            except Dead:
                died = True
        with suppress(FileNotFoundError):
            review.__exit__(None, None, None)
        with taught() as review:
            assert {group["name"]: group["tracks"] for group in review.state()["groups"]}["Minju"] == [4]
            assert review.notes == []
            review.save()
        assert read(path).tracks[4].name == "Minju"
        assert photos(group).get("Minju", 0) == (LOOKS if learn else 0)
        assert not path.with_name(NAME).exists()
        assert not list(path.parent.glob(".*.unsaved"))  # what was being written
        path.with_name(f"{path.name}.bak").unlink()
        if not died:
            return
    raise AssertionError("there is no end to it")


def set_aside(note: str, folder: Path) -> Path:
    """Where a note says that something is kept which is not taken up."""
    found = re.search("it is not taken up, and kept as ([^ ;]+); remove that if you do not need it$", note)
    assert found is not None
    return folder / found[1]


@pytest.mark.parametrize("how", ["renamed", "another"])
def test_it_is_never_put_on_another_record(how: str, path: Path, unsaved: Path, tmp_path: Path) -> None:
    with Review(path) as review:
        review.name(4, "Minju", new=True)
    left = unsaved.read_bytes()
    if how == "renamed":
        rename(path, {0: "Chaewon"})
    else:  # of the same video, made anew
        stage.record(path, tmp_path / "mv.mp4")
        path.write_bytes(path.read_bytes().replace(b'"score":0.9', b'"score":0.8'))
    now = path.read_bytes()
    with Review(path) as review:
        assert (review.unsaved, tuple(review.taken_up), path.read_bytes()) == (0, (0, 0), now)
        (note,) = review.notes
        assert f"{unsaved} is about this record as it was before something else changed it" in note
        aside = set_aside(note, tmp_path)
        assert aside.read_bytes() == left
        assert review.state()["notes"] == [note]
        review.name(2, "Yuri")
    with Review(path) as review:
        assert (tuple(review.taken_up), review.notes) == ((1, 0), [])
    assert aside.read_bytes() == left


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"[" * 100_000,
        lambda data: data.replace(b"unsaved/2", b"unsaved/3"),
        lambda data: data.replace(b'"taught":null', b'"taught":{"gallery":1,"kept":[],"intended":[]}'),
        lambda data: data.replace(b'"tracks":[4]', b'"tracks":["4"]'),
        lambda data: data.replace(b'"tracks":[4]', b'"tracks":[99]'),
        lambda data: data.replace(b'"name":"Minju"', b'"name":1'),
        lambda data: data.replace(b'"type":"track"', b'"type":"other"'),
        lambda data: b"null",
        lambda data: b"\xff",
    ],
    ids=["torn", "empty", "deep", "newer", "gallery", "text", "track", "name", "line", "null", "bytes"],
)
def test_what_is_damaged_is_told_and_left_aside(
    damage: Callable[[bytes], bytes], path: Path, unsaved: Path, tmp_path: Path
) -> None:
    with Review(path) as review:
        review.name(4, "Minju", new=True)
    unsaved.write_bytes(damage(unsaved.read_bytes()))
    left = unsaved.read_bytes()
    with Review(path) as review:
        (note,) = review.notes
        assert str(unsaved) in note
        assert set_aside(note, tmp_path).read_bytes() == left
        assert review.unsaved == 0
        review.name(2, "Yuri")
        assert review.kept == unsaved


def test_what_a_gallery_is_to_learn_is_learned_by_the_next_review(
    path: Path, unsaved: Path, group: Path, taught: Callable[[], Review]
) -> None:
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
    with taught() as review:
        assert tuple(review.taken_up) == (1, LOOKS)
        review.save()
        assert (photos(group)["ben"], tuple(review.taken_up), unsaved.exists()) == (1 + LOOKS, (0, 0), False)


@pytest.mark.parametrize("undone", [False, True])
def test_between_the_gallery_and_the_note_of_it_a_review_may_die(
    undone: bool, unsaved: Path, group: Path, taught: Callable[[], Review], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gallery then has what nobody noted, or has not what was noted; the next review sees that."""

    class Dead(BaseException):
        pass

    real = Gallery.update

    def update(path: Path, change: Callable[[Gallery], Gallery]) -> None:
        real(path, change)
        raise Dead

    review = taught()
    made = review.name(4, "ben", learn=True, new=True)
    if undone:
        review.save()
        review.undo(made.number)
        review.name(4, "ann", learn=True, new=True)
    with monkeypatch.context() as patched:
        patched.setattr(Gallery, "update", update)
        with pytest.raises(Dead):
            review.save()
    review.__exit__(None, None, None)
    after = photos(group)
    assert after == ({"ann": 1 + LOOKS, "ben": 1} if undone else {"ann": 1, "ben": 1 + LOOKS})
    assert unsaved.exists()
    with taught() as review:
        assert (review.unlearned, tuple(review.taken_up), review.learned, unsaved.exists()) == (0, (0, 0), 0, False)
        review.save()
    assert photos(group) == after


def test_names_are_corrected_without_the_gallery_which_learns_later(
    path: Path, unsaved: Path, group: Path, taught: Callable[[], Review]
) -> None:
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
        review.name(0, "Chaewon")
    with Review(path) as review:
        assert (tuple(review.taken_up), review.state()["unlearned"]) == ((2, 0), 0)
        words = f"{LOOKS} looks for {group} wait in {unsaved} for a review with -g {group}"
        assert review.notes == review.state()["notes"] == [words]
        review.save()
        assert (review.unsaved, review.unlearned, review.learned, review.kept) == (0, LOOKS, 0, unsaved)
    assert photos(group)["ben"] == 1
    with taught() as review:
        assert (tuple(review.taken_up), review.notes) == ((0, LOOKS), [])
        review.save()
    assert (photos(group)["ben"], unsaved.exists()) == (1 + LOOKS, False)


def test_where_the_gallery_has_learned_all_a_review_of_names_needs_none(
    path: Path, unsaved: Path, group: Path, taught: Callable[[], Review]
) -> None:
    with taught() as review:
        made = review.name(4, "ben", learn=True, new=True)
        review.save()
        other = review.name(0, "Chaewon")
    with Review(path) as review:
        assert (tuple(review.taken_up), review.notes) == ((1, 0), [])
        review.undo(other.number)
        review.undo(made.number)
        assert f"{LOOKS} looks for {group} wait" in review.notes[0]  # to be taken out again
        review.redo(made.number)
        assert review.notes == []
        review.redo(other.number)
        review.save()
        assert not unsaved.exists()
    assert photos(group)["ben"] == 1 + LOOKS


def test_what_waits_for_a_gallery_can_be_discarded_without_it(
    path: Path, unsaved: Path, group: Path, taught: Callable[[], Review]
) -> None:
    before = group.read_bytes()
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
    with Review(path) as review:
        review.discard()
        assert (review.notes, review.unlearned, unsaved.exists()) == ([], 0, False)
    assert group.read_bytes() == before


def test_another_gallery_learns_nothing_that_was_meant_for_this_one(
    path: Path, unsaved: Path, group: Path, embedder: Embedder, taught: Callable[[], Review]
) -> None:
    other = group.with_name("other.gallery")
    other.write_bytes(group.read_bytes())
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
    left = unsaved.read_bytes()
    words = rf"{NAME} has corrections that {group} learns from, not {other}; start again with -g {group}, or without -g"
    with pytest.raises(UsageError, match=words):
        Review(path, teacher=lambda source: Teacher(other, lambda: embedder, source))
    assert unsaved.read_bytes() == left
    (group.parent / "elsewhere").mkdir()
    moved = group.rename(group.parent / "elsewhere" / group.name)
    with pytest.raises(UsageError, match=words):
        Review(path, teacher=lambda source: Teacher(other, lambda: embedder, source))
    with Review(path, teacher=lambda source: Teacher(moved, lambda: embedder, source)) as review:
        assert tuple(review.taken_up) == (1, LOOKS)
    with Review(path, teacher=lambda source: Teacher(moved, lambda: embedder, source)) as review:
        review.save()
    assert photos(moved)["ben"] == 1 + LOOKS


def test_a_review_that_says_only_names_may_be_gone_on_with_with_any_gallery(
    path: Path, group: Path, embedder: Embedder, taught: Callable[[], Review]
) -> None:
    other = group.with_name("other.gallery")
    other.write_bytes(group.read_bytes())
    with taught() as review:
        review.name(0, "Chaewon")
    with Review(path, teacher=lambda source: Teacher(other, lambda: embedder, source)) as review:
        assert (tuple(review.taken_up), review.notes) == ((1, 0), [])


def test_what_a_gallery_has_learned_can_be_taken_out_by_the_next_review(
    unsaved: Path, group: Path, taught: Callable[[], Review]
) -> None:
    before = photos(group)
    with taught() as review:
        made = review.name(4, "ben", learn=True, new=True)
        review.save()
        review.undo(made.number)
        shown = told(review)
    with taught() as review:
        assert (tuple(review.taken_up), told(review)) == ((1, LOOKS), shown)
        review.save()
    assert photos(group) == before


def test_what_a_gallery_has_learned_is_not_learned_twice(group: Path, taught: Callable[[], Review]) -> None:
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
        review.save()
        review.name(0, "Chaewon")
    with taught() as review:
        assert tuple(review.taken_up) == (1, 0)
        review.save()
    assert photos(group)["ben"] == 1 + LOOKS


def test_what_a_gallery_has_learned_stays_in_it_where_a_review_died_when_all_was_saved(
    unsaved: Path, group: Path, taught: Callable[[], Review]
) -> None:
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
        review.save()
        review.name(0, "Chaewon")
        left = unsaved.read_bytes()
        review.save()
    unsaved.write_bytes(left)  # as if it had died before it could remove that
    with taught() as review:
        assert (review.unsaved, review.unlearned, tuple(review.taken_up), unsaved.exists()) == (0, 0, (0, 0), False)
        review.save()
    assert photos(group)["ben"] == 1 + LOOKS


def test_discarding_leaves_in_the_gallery_what_was_saved_in_it(group: Path, taught: Callable[[], Review]) -> None:
    with taught() as review:
        made = review.name(4, "ben", learn=True, new=True)
        review.save()
        review.undo(made.number)
    with taught() as review:
        review.discard()
        assert (review.unsaved, review.unlearned, review.learned) == (0, 0, 0)
        review.save()
    assert photos(group)["ben"] == 1 + LOOKS


def test_what_this_review_learned_is_counted_and_not_what_earlier_ones_did(
    taught: Callable[[], Review],
) -> None:
    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
        review.save()
        assert review.learned == LOOKS
        review.name(0, "Chaewon")
    with taught() as review:
        assert review.learned == 0
        review.name(2, "ann", learn=True, new=True)
        review.save()
        assert review.learned == LOOKS
        review.discard()
        assert review.learned == LOOKS


def test_somebody_whom_the_gallery_calls_otherwise_since_is_not_learned_twice_and_can_be_taken_out(
    group: Path, taught: Callable[[], Review]
) -> None:
    before = photos(group)
    with taught() as review:
        made = review.name(4, "ben", learn=True, new=True)
        review.save()
        other = review.name(0, "Chaewon")
    Gallery.update(group, lambda gallery: edit(gallery, rename=["ben=Benjamin"]))
    with taught() as review:
        assert tuple(review.taken_up) == (1, 0)
        review.undo(other.number)
        review.undo(made.number)
        review.save()
    assert photos(group) == {"ann": before["ann"], "Benjamin": before["ben"]}


def test_a_disk_that_is_full_when_the_gallery_is_to_learn_is_told_of_both(
    unsaved: Path, taught: Callable[[], Review], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with taught() as review:
        review.name(0, "Yuri", learn=True)
        assert review.state()["notes"] == []
        with monkeypatch.context() as patched:
            for place in ("stream.review.unsaved_file", "engine.output_file"):
                patched.setattr(f"{place}.begin_output", full)
            with pytest.raises(OutputError, match="gallery: the disk is full"):
                review.save()
        (note,) = review.state()["notes"]
        assert f"cannot be kept: {unsaved}: the disk is full" in note
        review.save()
        assert (review.state()["notes"], unsaved.exists()) == ([], False)


def test_a_gallery_that_cannot_be_written_still_has_to_learn_after_the_record_is_saved(
    group: Path, taught: Callable[[], Review], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OutputError("no space left")

    with taught() as review:
        review.name(4, "ben", learn=True, new=True)
        with monkeypatch.context() as patched:
            patched.setattr("engine.gallery.write_output", full)
            with pytest.raises(OutputError):
                review.save()
    with taught() as review:
        assert tuple(review.taken_up) == (0, LOOKS)
        review.save()
    assert photos(group)["ben"] == 1 + LOOKS
