"""What a page is told of a record and its corrections."""

from __future__ import annotations

import pytest

from stream.review import view_model
from stream.review.corrections import Corrections, Look
from stream.tracks import Tracks, read
from tests.stream.review import stage


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    return read(stage.both(tmp_path_factory.mktemp("view")))


def test_every_frame_and_every_box_is_told(record: Tracks) -> None:
    scenes = view_model.scenes(record)
    assert (scenes["width"], scenes["height"]) == (stage.WIDTH, stage.HEIGHT)
    assert len(scenes["times"]) == stage.FRAMES
    assert scenes["end"] == pytest.approx(stage.FRAMES / 25)
    assert [each["track"] for each in scenes["tracks"]] == list(stage.PEOPLE)
    track = scenes["tracks"][3]
    assert track["frames"] == list(range(15, 30))
    assert len(track["boxes"]) == 4 * 15
    box = [value / scenes["units"] for value in track["boxes"][:4]]
    assert box == pytest.approx([200 / 320, 40 / 180, 250 / 320, 110 / 180], abs=1e-4)


def test_who_everybody_is_is_told(record: Tracks) -> None:
    corrections = Corrections(record, ["Minju"])
    state = view_model.state(corrections)
    assert [(group["label"], group["name"]) for group in state["groups"]] == [
        *(("Chaewon", "Chaewon"), ("Yuri", "Yuri")),
        *(("unknown 1", None), ("unknown 2", None)),
    ]
    assert [(group["tracks"], group["likeness"]) for group in state["groups"]][1:3] == [
        ([0], [0.61]),
        ([1, 3, 5], [None, None, None]),
    ]
    assert state["people"] == ["Minju", "Chaewon", "Yuri"]
    assert [lane["name"] for lane in state["timeline"]["lanes"]] == ["Chaewon", "Yuri", "unknown 1", "unknown 2"]
    assert len(state["timeline"]["shots"]["spans"]) == 3
    assert (state["undo"], state["redo"]) == (None, None)
    corrections.name([4], "Minju")
    assert [group["name"] for group in view_model.state(corrections)["groups"]] == ["Chaewon", "Minju", "Yuri", None]


def test_what_can_be_undone_is_told_in_words(record: Tracks) -> None:
    corrections = Corrections(record)
    one = corrections.name([4], "Yuri", looks=[Look(4, 30)])
    assert view_model.state(corrections)["undo"] == {"number": one.number, "words": "Track 4: Yuri, 1 look to learn"}
    many = corrections.name([0, 2], None)
    corrections.undo(many.number)
    assert view_model.state(corrections)["redo"] == {"number": many.number, "words": "2 tracks: unknown"}
