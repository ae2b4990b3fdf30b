"""What somebody who looks says, one thing after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import IznetError, UsageError
from engine.names import LONGEST_NAME
from stream.frames import Face
from stream.review.corrections import Corrections, Group, Look, NeedsConsent
from stream.summary import overview
from stream.timeline import timeline
from stream.tracks import Tracks, read
from tests.stream.review import stage


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    return read(stage.both(tmp_path_factory.mktemp("stage")))


@pytest.fixture
def corrections(record: Tracks) -> Corrections:
    return Corrections(record, ["Minju"])


def names(corrections: Corrections) -> dict[int, str | None]:
    """Who the tracks are, by their verdicts; the frames have to say the same."""
    said = {track: verdict.name for track, verdict in corrections.verdicts.items()}
    for frame in corrections.record.frames:
        assert all(face.name == said[face.track] for face in frame.faces)
    return said


def test_groups_are_people_and_strangers(corrections: Corrections) -> None:
    assert corrections.groups() == [
        Group("Yuri", True, (0,)),
        Group("unknown 1", False, (1, 3, 5)),
        Group("Chaewon", True, (2,)),
        Group("unknown 2", False, (4,)),
    ]
    assert corrections.group_of(5).tracks == (1, 3, 5)
    assert corrections.people == ("Minju", "Chaewon", "Yuri")
    with pytest.raises(UsageError, match="no track 9"):
        corrections.group_of(9)


def test_a_stranger_is_named_everywhere_and_it_is_undone(corrections: Corrections, record: Tracks) -> None:
    made = corrections.name((1, 3, 5), "minju")
    assert made.name == "Minju"  # as the gallery spells it
    assert names(corrections) == {0: "Yuri", 1: "Minju", 2: "Chaewon", 3: "Minju", 4: None, 5: "Minju"}
    assert corrections.verdicts[3].verdict == "named"
    assert corrections.verdicts[3].stranger is None
    assert corrections.undo(made.number) is made
    assert corrections.record == record
    assert corrections.latest is None


def test_only_the_latest_is_undone_and_once(corrections: Corrections) -> None:
    first = corrections.name([4], "Minju")
    second = corrections.name([4], "Yuri")
    with pytest.raises(UsageError, match="only the latest"):
        corrections.undo(first.number)
    corrections.undo(second.number)
    assert names(corrections)[4] == "Minju"
    with pytest.raises(UsageError, match="only the latest"):
        corrections.undo(second.number)


def test_what_was_undone_is_done_again_step_by_step(corrections: Corrections) -> None:
    said = [corrections.name([4], "Minju"), corrections.name([4], "Yuri"), corrections.name([1, 3, 5], "zoe", new=True)]
    before = corrections.record
    for made in reversed(said):
        assert corrections.latest is made
        corrections.undo(made.number)
    assert corrections.latest is None
    with pytest.raises(UsageError, match="taken back last"):
        corrections.redo(said[2].number)
    for made in said:
        assert corrections.undone is made
        corrections.redo(made.number)
    assert (corrections.record, corrections.undone) == (before, None)


def test_what_is_said_after_an_undo_takes_the_place_of_what_was_undone(corrections: Corrections) -> None:
    first = corrections.name([4], "Minju")
    corrections.undo(first.number)
    second = corrections.name([4], "Yuri")
    assert second.number > first.number
    assert corrections.undone is None
    with pytest.raises(UsageError, match="taken back last"):
        corrections.redo(first.number)


def test_what_is_learned_follows_what_was_said_last(corrections: Corrections) -> None:
    looks = [Look(1, 3), Look(3, 20), Look(5, 40)]
    everywhere = corrections.name([1, 3, 5], "Minju", looks=looks)
    assert corrections.lessons == dict.fromkeys(looks, "Minju")
    corrections.name([3], "zoe", new=True)  # that one was a mistake, and nothing is to be learned of it
    assert corrections.lessons == {Look(1, 3): "Minju", Look(5, 40): "Minju"}
    corrections.name([3], "zoe", looks=[Look(3, 21)])  # the name is known, the face is not
    assert corrections.lessons[Look(3, 21)] == "zoe"
    with pytest.raises(UsageError, match="that is zoe already, and learned"):
        corrections.name([3], "zoe", looks=[Look(3, 21)])
    corrections.name([4], "Minju", displace=True)  # beside track 5, who is nobody then
    assert set(corrections.lessons) == {Look(1, 3), Look(3, 21)}
    while corrections.latest is not everywhere:
        assert corrections.latest is not None
        corrections.undo(corrections.latest.number)
    assert corrections.lessons == dict.fromkeys(looks, "Minju")
    corrections.undo(everywhere.number)
    assert corrections.lessons == {}
    with pytest.raises(UsageError, match="nothing to learn"):
        corrections.name([0], None, looks=[Look(0, 1)])


def test_a_new_name_is_asked_about(corrections: Corrections) -> None:
    with pytest.raises(NeedsConsent, match="did you mean Chaewon") as asked:
        corrections.name([4], "Chaewom")
    assert asked.value.consent == "new"
    assert corrections.latest is None
    corrections.name([4], "Chaewom", new=True)
    corrections.name([3], "Chaewom")  # known by now


def test_the_spelling_of_a_name_can_be_corrected(corrections: Corrections) -> None:
    corrections.name([4], "zoe", new=True)
    with pytest.raises(NeedsConsent, match="did you mean zoe"):
        corrections.name([4], "Zoe")
    corrections.name([4], "Zoe", new=True)
    assert names(corrections)[4] == "Zoe"
    corrections.name([3], "ZOE")  # somebody else's spelling holds
    assert names(corrections)[3] == "Zoe"


def test_nobody_is_twice_on_a_picture(corrections: Corrections) -> None:
    with pytest.raises(NeedsConsent, match=r"Yuri would be twice on the picture at 0:00\.0.*track 0") as asked:
        corrections.name([1], "Yuri")
    assert asked.value.consent == "displace"
    made = corrections.name([1], "Yuri", displace=True)
    assert made.displaced == (0,)
    assert names(corrections)[0] is None
    assert names(corrections)[1] == "Yuri"
    corrections.undo(made.number)
    assert names(corrections)[0] == "Yuri"


def test_two_of_one_stranger_on_one_picture_are_named_one_by_one(corrections: Corrections) -> None:
    with pytest.raises(UsageError, match="one by one") as refused:
        corrections.name([4, 5], "Minju", displace=True)
    assert not isinstance(refused.value, NeedsConsent)
    assert corrections.latest is None


def test_what_is_said_back_is_as_if_it_had_never_been_said(corrections: Corrections, record: Tracks) -> None:
    corrections.name([1], "Minju")
    corrections.name([1], None)
    assert corrections.record == record  # with the stranger's number


def test_a_person_who_is_unknown_everywhere_stays_one_and_is_named_again_in_one_go(
    corrections: Corrections, record: Tracks
) -> None:
    corrections.name([3], "Yuri")
    made = corrections.name([0, 3], None)
    assert made.stranger == 3  # the record numbers two
    assert Group("unknown 3", False, (0, 3)) in corrections.groups()
    assert corrections.group_of(1).tracks == (1, 5)  # whom one of them was taken for at first is somebody else
    again = corrections.name(corrections.group_of(0).tracks, "Minju")
    assert again.tracks == (0, 3)
    other = corrections.name([2, 4], None)
    assert other.stranger == 4
    while corrections.latest is not None:
        corrections.undo(corrections.latest.number)
    assert corrections.record == record


def test_a_stranger_who_was_named_by_mistake_is_that_stranger_again(corrections: Corrections, record: Tracks) -> None:
    corrections.name([1, 3, 5], "Minju")
    corrections.name([1, 3, 5], None)
    assert corrections.record == record


def test_a_correction_costs_what_it_changes_not_what_the_record_holds(record: Tracks) -> None:
    looked: list[int] = []

    class Counted(tuple[Face, ...]):
        def __iter__(self) -> Iterator[Face]:
            looked.append(1)
            return super().__iter__()

    frames = tuple(replace(frame, faces=Counted(frame.faces)) for frame in record.frames)
    corrections = Corrections(replace(record, frames=frames))
    assert len(looked) >= len(frames)  # once for all
    looked.clear()
    corrections.name([4], "Minju", new=True)
    where = corrections.where()
    overview(corrections.record, where)
    timeline(corrections.record, None, where)
    assert corrections.people
    assert 0 < len(looked) <= 5 * 15  # a few times the frames that the track is on
    assert len({id(frame) for frame in frames} - {id(frame) for frame in corrections.record.frames}) == 15


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=1), st.sampled_from(["Yuri", "zoe", None])), max_size=5))
def test_where_everybody_is_agrees_with_the_faces(record: Tracks, changes: list[tuple[set[int], str | None]]) -> None:
    corrections = Corrections(record)
    for tracks, name in changes:
        with suppress(UsageError):
            corrections.name(sorted(tracks), name, new=True, displace=True)
    assert overview(corrections.record, corrections.where()) == overview(corrections.record)
    assert timeline(corrections.record, None, corrections.where()) == timeline(corrections.record)


@pytest.mark.parametrize(
    ("tracks", "name", "kind", "words"),
    [
        ([], "Minju", UsageError, "no track"),
        ([77], "Minju", UsageError, "no track 77"),
        ([0], "Yuri", UsageError, "that is Yuri already"),
        ([1], None, UsageError, "somebody unknown already"),
        ([1], " \n", UsageError, "it takes a letter"),
        ([1], "\u200b", UsageError, "that can be seen"),
        ([1], "x" * (LONGEST_NAME + 1), UsageError, "the most"),
        ([1], "unknown 1", UsageError, "people without a name"),
    ],
)
def test_what_cannot_be(
    tracks: list[int], name: str | None, kind: type[IznetError], words: str, corrections: Corrections, record: Tracks
) -> None:
    with pytest.raises(kind, match=words):
        corrections.name(tracks, name, new=True, displace=True)
    assert corrections.record == record


CHANGE = st.tuples(st.sets(st.integers(0, 5), min_size=1), st.sampled_from(["Yuri", "Chaewon", "Minju", "zoe", None]))


@settings(max_examples=80, deadline=None)
@given(st.lists(CHANGE, max_size=8))
def test_whatever_is_said_nobody_is_twice_and_all_can_be_undone(
    record: Tracks, changes: list[tuple[set[int], str | None]]
) -> None:
    corrections = Corrections(record)
    for tracks, name in changes:
        before = corrections.record
        try:
            corrections.name(sorted(tracks), name, new=True, displace=True)
        except UsageError:
            assert corrections.record == before
    names(corrections)
    for frame in corrections.record.frames:
        on = [face.name for face in frame.faces if face.name is not None]
        assert len(on) == len(set(on))
    after = corrections.record
    steps = 0
    while corrections.latest is not None:
        corrections.undo(corrections.latest.number)
        steps += 1
    assert corrections.record == record
    for _ in range(steps):
        assert corrections.undone is not None
        corrections.redo(corrections.undone.number)
    assert (corrections.record, corrections.undone) == (after, None)
