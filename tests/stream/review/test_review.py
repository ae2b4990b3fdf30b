"""A review from its beginning to what stands in the file: corrected, saved whole or not at all, drawn again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.errors import InputError, IznetError, OutputError, UsageError
from stream import renaming
from stream.encoding import EncoderSettings
from stream.journal import WorkFolder
from stream.labelled_copy import work_folder
from stream.render import render_video
from stream.result import LabelResult
from stream.review.corrections import NeedsConsent
from stream.review.review import Review
from stream.tracks import SCHEMA_FILE, read
from tests.stream import media
from tests.stream.live import feeds
from tests.stream.review import stage


def names(path: Path) -> dict[int, str | None]:
    return {verdict.track: verdict.name for verdict in read(path).tracks}


def test_nothing_is_written_until_it_is_saved(path: Path) -> None:
    before = path.read_bytes()
    with Review(path) as review:
        review.name(3, "Minju", everywhere=True, new=True)
        assert review.unsaved == 3
        assert path.read_bytes() == before
        assert review.save() == 3
        assert (review.unsaved, review.corrected) == (0, 3)
    assert names(path) == {0: "Yuri", 1: "Minju", 2: "Chaewon", 3: "Minju", 4: None, 5: "Minju"}
    assert path.with_name("mv.tracks.jsonl.bak").read_bytes() == before
    record = read(path)
    assert record.summary is not None
    assert {person.name: person.seconds for person in record.summary.people}["Minju"] == pytest.approx(1.8)
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))
    for line in path.read_text("utf-8").splitlines():
        validator.validate(json.loads(line))


def test_one_track_only(path: Path) -> None:
    with Review(path) as review:
        review.name(3, "Yuri")
        review.save()
    assert names(path) == {0: "Yuri", 1: None, 2: "Chaewon", 3: "Yuri", 4: None, 5: None}


def test_undone_after_saving_and_saved_again_the_verdicts_are_as_they_were(path: Path) -> None:
    before = read(path)
    with Review(path) as review:
        made = review.name(0, "Chaewon")
        other = review.name(5, "Minju", everywhere=True, new=True)
        review.save()
        review.undo(other.number)
        review.undo(made.number)
        assert review.unsaved == 4
        review.save()
        assert review.corrected == 0
    after = read(path)
    assert after.tracks == before.tracks  # likeness and strangers' numbers too
    assert after.summary == before.summary
    assert path.with_name("mv.tracks.jsonl.bak").exists()


def test_saving_nothing_touches_nothing(path: Path) -> None:
    before = path.stat().st_mtime_ns
    with Review(path) as review:
        assert review.save() == 0
    assert path.stat().st_mtime_ns == before
    assert not path.with_name("mv.tracks.jsonl.bak").exists()


def draws(review: Review, path: Path, gate: threading.Event | None = None) -> Path:
    """Let the review draw a copy, where a `gate` is given only after it has opened."""
    target = path.with_name("mv.labelled.mp4")

    def draw(resume: bool, overwrite: bool, progress: Callable[[int, int | None], None]) -> LabelResult:
        def watched(done: int, total: int | None) -> None:
            if gate is not None:
                gate.wait(30)
            progress(done, total)

        settings = EncoderSettings("x264", "ultrafast")
        return render_video(
            review.video,
            path,
            target,
            encoder=settings,
            overwrite=overwrite,
            progress=watched,
            threads=1,
            resume=resume,
        )

    review.draws(target, draw)
    return target


def ended(review: Review) -> bool:
    return review.rendering is not None and review.rendering.state != "running"


def test_a_corrected_record_is_drawn_again(path: Path) -> None:
    with Review(path) as review:
        target = draws(review, path)
        review.name(4, "Minju", new=True)
        with pytest.raises(UsageError, match="save them first"):
            review.render()
        review.save()
        review.render()
        feeds.until(lambda: ended(review), 60)
        assert review.rendering is not None
        assert (review.rendering.state, review.rendering.done) == ("done", stage.FRAMES)
        assert len(media.read(target).pictures) == stage.FRAMES
        first = target.read_bytes()
        with pytest.raises(NeedsConsent, match="would be replaced") as asked:
            review.render()
        assert asked.value.consent == "replace"
        assert target.read_bytes() == first
        review.name(4, None)
        review.save()
        review.render(replace=True)
        feeds.until(lambda: ended(review), 60)
        assert review.rendering.state == "done"
        assert target.read_bytes() != first


def test_drawing_can_be_stopped_and_what_was_finished_is_kept(path: Path) -> None:
    gate = threading.Event()
    with Review(path) as review:
        target = draws(review, path, gate)
        review.render()
        with pytest.raises(UsageError, match="is being drawn"):
            review.render()
        threading.Timer(0.2, gate.set).start()
        review.stop()
        assert review.rendering is not None
        assert review.rendering.state == "stopped"
    assert not target.exists()


def test_what_is_finished_of_a_copy_is_thrown_away_where_that_is_agreed_to(path: Path) -> None:
    with Review(path) as review:
        target = draws(review, path)
        work = work_folder(target)
        WorkFolder(work, {"record": "as it was before"}).release()
        (work / "000000.json").write_text("{}", "utf-8")
        with pytest.raises(NeedsConsent, match="finished in part; it would be begun anew") as asked:
            review.render()
        assert asked.value.consent == "replace"
        assert (work / "000000.json").exists()
        review.render(replace=True)
        feeds.until(lambda: ended(review), 60)
        assert review.rendering is not None
        assert review.rendering.state == "done"
        assert not work.exists()


def test_a_review_that_ends_stops_drawing(path: Path) -> None:
    gate = threading.Event()
    with Review(path) as review:
        draws(review, path, gate)
        review.render()
        rendering = review.rendering
        gate.set()
    assert rendering is not None
    assert rendering.state in ("stopped", "done")


def test_a_review_ends_when_what_is_being_saved_is_saved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then no other may begin."""
    begun, gate, real = threading.Event(), threading.Event(), renaming.correct

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert gate.wait(30)
        return real(*arguments)

    monkeypatch.setattr("stream.review.record_file.correct", slow)
    review = Review(path)
    review.name(4, "Minju", new=True)
    saving = threading.Thread(target=review.save)
    ending = threading.Thread(target=review.__exit__, args=(None, None, None))
    saving.start()
    assert begun.wait(30)
    ending.start()
    ending.join(0.2)
    assert ending.is_alive()
    with pytest.raises(OutputError, match="open in a review"):
        Review(path)
    gate.set()
    ending.join()
    assert (review.unsaved, review.corrected, review.kept, names(path)[4]) == (0, 1, None, "Minju")
    saving.join()


def test_why_a_copy_was_not_drawn_is_told(path: Path) -> None:
    with Review(path) as review:
        draws(review, path)
        review.video.unlink()
        review.render()
        feeds.until(lambda: ended(review), 60)
        assert review.rendering is not None
        assert review.rendering.state == "failed"
        assert "mv.mp4" in review.rendering.words


def test_a_page_is_told_what_there_is_and_what_becomes_of_it(path: Path) -> None:
    with Review(path, people=["Minju"]) as review:
        scenes, state = review.scenes(), review.state()
        assert {key: scenes[key] for key in ("record", "video", "output", "gallery", "run")} == {
            "record": "mv.tracks.jsonl",
            "video": "mv.mp4",
            "output": None,
            "gallery": None,
            "run": review.run,
        }
        assert (scenes["times"][:2], state["people"]) == ([0.0, 0.04], ["Minju", "Chaewon", "Yuri"])
        assert (state["run"], state["unsaved"], state["undo"], state["kept"]) == (review.run, 0, None, True)
        made = review.name(4, "Minju")
        later = review.state()
        assert later["version"] > state["version"]
        assert (later["undo"]["number"], later["unsaved"]) == (made.number, 1)


@pytest.mark.parametrize("how", ["short", "half", "empty", "text"])
def test_a_record_that_is_damaged_is_refused(how: str, path: Path) -> None:
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    path.write_bytes({"short": b"".join(lines[:-1]), "half": data[:-40], "empty": b"", "text": b"hello\n"}[how])
    with pytest.raises(InputError, match=r"mv\.tracks\.jsonl"):
        Review(path)


def test_a_record_without_a_frame_is_refused(path: Path) -> None:
    lines = [line for line in path.read_text("utf-8").splitlines() if '"type":"header"' in line]
    nothing = json.dumps({"type": "summary", "frames": 0, "dropped": {}, "people": []})
    path.write_text(f"{lines[0]}\n{nothing}\n", "utf-8")
    with pytest.raises(InputError, match="holds no frame"):
        Review(path)


def test_a_track_that_is_on_no_frame_is_on_no_list(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    ghost = json.loads(next(line for line in lines if '"type":"track"' in line)) | {"track": 99}
    path.write_text("\n".join([*lines[:-1], json.dumps(ghost), lines[-1]]) + "\n", "utf-8")
    with Review(path) as review:
        assert 99 not in {track for group in review.state()["groups"] for track in group["tracks"]}
        review.name(0, "Chaewon", everywhere=True)


def test_a_record_of_another_video_is_refused(path: Path, tmp_path: Path) -> None:
    for name, settings in {
        "size": {"width": 160, "height": 90},
        "duration": {"frames": 40},
        "rotation": {"rotation": 180},
    }.items():
        other = stage.video(tmp_path / f"{name}.mp4", **settings)
        with pytest.raises(InputError, match=f"belongs to another video.*{name}"):
            Review(path, other)


def test_a_video_that_is_gone_is_asked_for_and_looked_for_beside_the_record(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mv.mp4").rename(tmp_path / "moved.mp4")
    with pytest.raises(InputError, match="--video"):
        Review(path)
    with Review(path, tmp_path / "moved.mp4") as review:
        assert review.video.name == "moved.mp4"
    (tmp_path / "elsewhere").mkdir()
    path = path.rename(tmp_path / "elsewhere" / path.name)
    (tmp_path / "moved.mp4").rename(tmp_path / "elsewhere" / "mv.mp4")
    with Review(path) as review:
        assert review.video.parent.name == "elsewhere"


def test_a_photo_is_not_reviewed_but_told_what_to_do(path: Path, tmp_path: Path) -> None:
    from PIL import Image

    photo = tmp_path / "stage.jpg"
    Image.new("RGB", (stage.WIDTH, stage.HEIGHT)).save(photo)
    with pytest.raises(IznetError, match="iznet tracks rename"):
        Review(path, photo)
