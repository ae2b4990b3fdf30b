"""A labelling that was killed and went on: the files are those of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, IznetError, OutputError, UsageError
from engine.gallery import Gallery
from stream import EncoderSettings, label_video, segments
from stream.journal import JOB_FILE, WorkFolder, content_of, differences, write_json
from stream.labelled_copy import partial_output, work_folder
from stream.renaming import rename
from stream.result import LabelResult
from stream.segments import SegmentWriter, sound_segments
from stream.styles import Style
from stream.tracks import read
from tests import networks
from tests.conftest import ROOT
from tests.stream import media
from tests.stream.resume_driver import PER_SEGMENT

FRAMES = 100
CUT = 55
WIDTH, HEIGHT = 192, 144


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Two shots: Ann walks, then Ben and a stranger."""
    x = 10 + index % 50
    rgb = np.empty((height, width, 3), np.uint8)
    walls = np.random.default_rng(index // CUT).integers(0, 110, (6, 8, 3), dtype=np.uint8)
    rgb[...] = walls.repeat(height // 6, 0).repeat(width // 8, 1)
    if index < CUT:
        networks.paint(rgb, (x, 40, x + 48, 100), networks.PEOPLE["ann"])
    else:
        networks.paint(rgb, (x, 60, x + 40, 110), networks.PEOPLE["ben"])
        networks.paint(rgb, (130, 50, 170, 100), (230, 120, 120))
    return rgb


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    video = media.Video(frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage, pts=media.vfr(FRAMES, 512))
    return media.write(tmp_path_factory.mktemp("clips") / "mv.mp4", video, [media.audio(seconds=5)])


@pytest.fixture(scope="module")
def gallery(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = {name: np.full((1, 112, 112, 3), colour, np.uint8) for name, colour in networks.PEOPLE.items()}
    people = {name: embedder.embed(crop) for name, crop in crops.items()}
    path = tmp_path_factory.mktemp("gallery") / "group.gallery"
    Gallery.build(people, embedder_sha256=embedder.sha256, threshold=embedder.threshold).save(path)
    return path


@dataclass(frozen=True)
class Made:
    """What a run left: everything that may not depend on whether it was interrupted."""

    packets: list[list[tuple[Any, bytes]]]
    chapters: list[Any]
    record: bytes
    names: list[str]

    @classmethod
    def of(cls, output: Path) -> Made:
        video = media.read(output)
        record = output.with_name(f"{output.stem}.tracks.jsonl").read_bytes()
        return cls(video.packets, video.chapters, record, sorted(p.name for p in output.parent.iterdir()))


@dataclass(frozen=True)
class Ended:
    """How a run in a process of its own ended."""

    status: int
    seconds: float
    changes: int
    """Changes to the disk that were counted, 0 for a run that was killed."""


class Driver:
    """Labellings in processes of their own, which can be killed."""

    def __init__(self, **common: Any) -> None:
        self._common = {key: str(value) for key, value in common.items()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stream.resume_driver"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def run(self, output: Path, **options: Any) -> Ended:
        """Label to the end, or until it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**self._common, "output": str(output), **options}) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def driver(clip: Path, gallery: Path, detector_file: Path, embedder_file: Path) -> Iterator[Driver]:
    if not hasattr(os, "fork"):
        pytest.skip("runs are forked, which this system cannot")
    driver = Driver(source=clip, gallery=gallery, detector=detector_file, embedder=embedder_file)
    yield driver
    driver.close()


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed."""

    made: Made
    ended: Ended


@pytest.fixture(scope="module")
def whole(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    output = tmp_path_factory.mktemp("whole") / "out.mp4"
    ended = driver.run(output)
    assert ended.status == 0
    return Whole(Made.of(output), ended)


def finished(output: Path) -> bool:
    """Whether a killed run had nothing left to do but to end; an empty work folder it may have left goes."""
    work = work_folder(output)
    if not output.exists() or (work / JOB_FILE).exists():
        return False
    if work.exists():
        work.rmdir()
    return True


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(driver: Driver, whole: Whole, tmp_path: Path) -> None:
    """Ten moments drawn by chance, half of them while it goes on already; one that comes too late is no matter."""
    dice = random.Random(20251125)
    killed, seconds = 0, whole.ended.seconds
    for attempt in range(5):
        output = tmp_path / str(attempt) / "out.mp4"
        output.parent.mkdir()
        for resume in (False, True):
            ended = driver.run(output, kill_after=dice.random() * seconds, resume=resume)
            killed += ended.status == -signal.SIGKILL
            if ended.status == 0 and not resume:
                seconds = min(seconds, ended.seconds)  # the machine had more to do when the whole run was timed
            if ended.status == 0 or finished(output):
                break
        else:
            assert driver.run(output, resume=True).status == 0
        assert Made.of(output) == whole.made
    assert killed, "the moments were to be inside of the runs"


def test_killed_before_any_of_the_last_changes_to_the_disk(driver: Driver, whole: Whole, tmp_path: Path) -> None:
    """From the last segment over the joined file and the record to the removal of the work folder."""
    segment_files = 2 * -(-FRAMES // PER_SEGMENT)
    last = whole.ended.changes - 1  # of the folder itself; before it the lock and the description
    cleared = last - 2 - segment_files
    for change in (*range(cleared - 5, cleared + 2), last - 2):
        output = tmp_path / str(change) / "out.mp4"
        output.parent.mkdir()
        assert driver.run(output, die_at=change).status == -signal.SIGKILL
        assert driver.run(output, resume=True).status == 0
        assert Made.of(output) == whole.made, f"killed before change {change}"
    assert driver.run(tmp_path / "out.mp4", die_at=last).status == -signal.SIGKILL
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / str(cleared) / "out.mp4").read_bytes()


# What follows is interrupted in this process, by an exception that nothing catches.


class Killed(BaseException):
    """Nobody handles this one, as nobody handles SIGKILL."""


class At:
    """Progress that ends the run after so many frames."""

    def __init__(self, frames: int, failure: BaseException | None = None) -> None:
        self.frames, self.failure = frames, failure or Killed()

    def __call__(self, done: int, total: int | None) -> None:
        if done == self.frames:
            raise self.failure


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FRAMES_PER_SEGMENT", PER_SEGMENT)


@dataclass
class Job:
    """One labelling, again and again."""

    clip: Path
    output: Path
    gallery: Path
    detector: Detector
    embedder: Embedder

    def label(self, **changes: Any) -> LabelResult:
        given = {"gallery": self.gallery, "detector": self.detector, "embedder": self.embedder, "lookahead": 0.5}
        return label_video(self.clip, self.output, **{**given, **changes})

    @property
    def work(self) -> Path:
        return work_folder(self.output)


@pytest.fixture
def job(clip: Path, gallery: Path, detector: Detector, embedder: Embedder, tmp_path: Path, short_segments: None) -> Job:
    return Job(clip, tmp_path / "out.mp4", gallery, detector, embedder)


def test_frames_of_finished_segments_are_neither_drawn_nor_encoded(job: Job, whole: Whole) -> None:
    with pytest.raises(Killed):
        job.label(progress=At(60))
    finished = sum(segment.frames for segment in sound_segments(job.work))
    assert 24 <= finished <= 60
    result = job.label(resume=True)
    assert result.stages["draw"]["calls"] == FRAMES - finished
    assert result.stages["encode"]["calls"] == FRAMES - finished + 1
    assert any(f"went on after {finished} frames" in note for note in result.notes)
    assert Made.of(job.output) == whole.made


@pytest.mark.parametrize("two_pass", [False, True])
def test_what_was_finished_is_thrown_away_where_that_is_asked_for(job: Job, two_pass: bool) -> None:
    """Pieces of the copy, or the first of two passes."""
    with pytest.raises(Killed):
        job.label(two_pass=two_pass, progress=_SecondTime(5) if two_pass else At(60))
    job.output.with_name("out.tracks.jsonl").unlink(missing_ok=True)
    left = {path.name: path.read_bytes() for path in job.work.iterdir()}
    with pytest.raises(OutputError, match=r"had finished; go on from there with --resume, or start afresh with"):
        job.label(two_pass=two_pass)
    assert {path.name: path.read_bytes() for path in job.work.iterdir()} == left
    with pytest.raises(OutputError, match=r"had finished; start afresh with --overwrite$"):
        job.label(two_pass=two_pass, style=Style("corners"))  # nobody could go on from there with that
    kept = partial_output(job.output)
    kept.write_bytes(b"what was finished")
    assert job.label(two_pass=two_pass, overwrite=True).stages["draw"]["calls"] == FRAMES
    assert not job.work.exists()
    assert not kept.exists()


def test_where_nothing_was_finished_nothing_has_to_be_asked_for(job: Job, whole: Whole) -> None:
    with pytest.raises(Killed):
        job.label(progress=At(3))
    job.label()
    assert Made.of(job.output) == whole.made


def test_with_nothing_to_go_on_from_it_says_so_and_starts(job: Job, whole: Whole) -> None:
    assert any("made from the start" in note for note in job.label(resume=True).notes)
    assert Made.of(job.output) == whole.made


def test_what_is_finished_is_not_made_again(job: Job) -> None:
    job.label()
    before = job.output.read_bytes()
    with pytest.raises(OutputError, match=r"out\.mp4 exists, and no run is interrupted; use --overwrite"):
        job.label(resume=True)
    assert job.output.read_bytes() == before
    with pytest.raises(Killed):
        job.label(progress=At(60), overwrite=True)
    with pytest.raises(OutputError, match=r"out\.mp4 exists, and the interrupted run was to replace it; use --overw"):
        job.label(resume=True)
    assert job.output.read_bytes() == before
    assert job.label(resume=True, overwrite=True).stages["draw"]["calls"] < FRAMES


def test_after_ctrl_c_it_goes_on_and_the_partial_files_go(job: Job, whole: Whole) -> None:
    with pytest.raises(IznetError, match="--resume goes on from there"):
        job.label(progress=At(60, KeyboardInterrupt()))
    assert partial_output(job.output).exists()
    job.label(resume=True)
    assert Made.of(job.output) == whole.made


def test_a_segment_damaged_on_the_disk_is_made_again(job: Job, whole: Whole) -> None:
    with pytest.raises(Killed):
        job.label(progress=At(80))
    before = len(sound_segments(job.work))
    path = job.work / "000002.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    result = job.label(resume=True)
    assert before > 3
    assert result.stages["draw"]["calls"] == FRAMES - 2 * PER_SEGMENT
    assert Made.of(job.output) == whole.made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lookahead": 1.0}, r"lookahead was 0\.5 and is 1\.0 now"),
        ({"encoder": EncoderSettings(crf=30)}, "encoder options crf was '20' and is '30' now"),
        ({"style": Style("corners")}, "style marks was 'boxes' and is 'corners' now"),
        ({"unknown": "box"}, "unknown was 'none' and is 'box' now"),
        ({"gallery": None}, "gallery was .* and is not given now"),
        ({"two_pass": True}, "two_pass was False and is True now"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_lost(job: Job, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Killed):
        job.label(progress=At(60))
    before = sound_segments(job.work)
    with pytest.raises(UsageError, match=words):
        job.label(resume=True, **changes)
    assert sound_segments(job.work) == before
    job.label(resume=True)


def test_another_network_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        job.label(progress=At(60))
    file = networks.write_detector(tmp_path / "other.onnx", {"iznet.name": "other"})
    other = Detector.open(file, threads=1)
    with pytest.raises(UsageError, match=r"detector network was .* and is .* now"):
        job.label(resume=True, detector=other)
    with pytest.raises(UsageError, match="detector size was 640 and is 320 now"):
        job.label(resume=True, detector=Detector(job.detector.session, size=320))
    other.close()


def test_a_source_that_changed_is_refused(job: Job, tmp_path: Path) -> None:
    copy = tmp_path / "mv.mp4"
    copy.write_bytes(job.clip.read_bytes())
    job.clip = copy
    with pytest.raises(Killed):
        job.label(progress=At(60))
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(bytes(data))
    with pytest.raises(UsageError, match=r"source content was .* now"):
        job.label(resume=True)


def test_a_drawing_that_came_out_otherwise_is_noticed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say, on another computer: the two halves would not go together."""
    with pytest.raises(Killed):
        job.label(progress=At(60))
    monkeypatch.setattr(job.detector, "iou", 0.41)  # not a setting, so that the job's description is the same
    real = Detector.job

    def moved(self: Detector, *args: int) -> Any:
        made = real(self, *args)
        result = made.result

        def shifted() -> Any:
            found = result()
            for one in found:
                one.boxes[:, 0] += 0.25
            return found

        made.result = shifted  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(Detector, "job", moved)
    before = sound_segments(job.work)
    with pytest.raises(
        InputError, match=r"frames 0 to 11 are not what the interrupted run drew.*--overwrite instead of"
    ):
        job.label(resume=True)
    assert sound_segments(job.work) == before


def test_two_passes_go_on_without_a_second_analysis(job: Job, tmp_path: Path) -> None:
    job.label(two_pass=True)
    whole = Made.of(job.output)
    job.output.unlink()
    job.output.with_name("out.tracks.jsonl").unlink()
    with pytest.raises(Killed):
        job.label(two_pass=True, progress=At(60))  # while it analyses
    with pytest.raises(Killed):
        job.label(two_pass=True, progress=_SecondTime(60), resume=True)  # while it draws
    finished = sum(segment.frames for segment in sound_segments(job.work))
    assert finished >= 24
    before = job.detector.session.work.inferences
    result = job.label(two_pass=True, resume=True)
    assert job.detector.session.work.inferences == before
    assert result.stages["draw"]["calls"] == FRAMES - finished
    assert {person.name for person in result.people} == {"ann", "ben"}
    assert result.frames == FRAMES
    assert Made.of(job.output) == whole


class _SecondTime(At):
    """After so many frames of the second pass."""

    passes = 0

    def __call__(self, done: int, total: int | None) -> None:
        self.passes += done == 1
        if self.passes == 2:
            super().__call__(done, total)


def test_a_record_of_somebody_else_is_not_replaced(job: Job) -> None:
    """It came while the job lay killed, and nobody said --overwrite."""
    with pytest.raises(Killed):
        job.label(progress=At(60))
    record = job.output.with_name("out.tracks.jsonl")
    record.write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="exists"):
        job.label(resume=True)
    assert record.read_text("utf-8") == "mine"
    record.unlink()
    job.output.write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="exists"):
        job.label(resume=True)
    assert job.output.read_text("utf-8") == "mine"


def test_a_record_that_was_corrected_meanwhile_is_not_replaced(job: Job) -> None:
    with pytest.raises(Killed):
        job.label(two_pass=True, progress=_SecondTime(60))
    record = job.output.with_name("out.tracks.jsonl")
    names = rename(record, {read(record).tracks[0].track: "cho"}).changed
    assert names
    corrected = record.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        job.label(two_pass=True, resume=True)
    assert record.read_bytes() == corrected
    job.label(two_pass=True, resume=True, overwrite=True)
    assert record.read_bytes() != corrected


def test_a_full_disk_loses_nothing(job: Job, whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills up while segment 5 is written and lets nothing more in, also no partial file."""

    def full(path: Path, value: object) -> None:
        if path.name == "000005.json":
            raise OSError(28, "No space left on device")
        write_json(path, value)

    with monkeypatch.context() as patch:
        patch.setattr("stream.segments.write_json", full)
        with pytest.raises(OutputError, match=r"the disk is full.*--resume goes on from there"):
            job.label()
    result = job.label(resume=True)
    assert result.stages["draw"]["calls"] == FRAMES - 5 * PER_SEGMENT
    assert Made.of(job.output) == whole.made


def test_one_process_at_a_time(clip: Path, job: Job) -> None:
    from stream.source import FileSource

    with FileSource(clip) as source:
        writer = SegmentWriter(job.work, source)
        for resume in (False, True):
            with pytest.raises(OutputError, match="another process is at work"):
                job.label(resume=resume)
        writer.abort()
        writer.work.remove()
    job.label()


def test_a_folder_whose_run_died_before_it_described_its_job(job: Job, whole: Whole) -> None:
    job.work.mkdir()
    (job.work / ".job.0badcafe.part.json").write_text('{"ver', "utf-8")
    job.label(resume=True)
    assert Made.of(job.output) == whole.made


def test_a_journal_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / JOB_FILE).write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"job\.json cannot be read.*--overwrite instead of --resume"):
        WorkFolder(folder, {}, resume=True)
    WorkFolder(folder, {}).remove()
    assert not folder.exists()


def test_differences_are_said_in_words() -> None:
    assert list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})) == ["a c was 2 and is 3 now"]
    assert list(differences({"a": 1}, {})) == ["a was 1 and is not given now"]
    assert list(differences({}, {"a": {"b": "x"}})) == ["a was not given and is {'b': 'x'} now"]
    assert not list(differences({"a": [1, 2]}, {"a": [1, 2]}))


def test_content_sees_changes_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(5_000_000))
    before = content_of(path)
    os.utime(path, (0, 0))
    assert content_of(path.rename(tmp_path / "b")) == before
    for place in (0, 4_999_999):
        data = bytearray(5_000_000)
        data[place] = 1
        path.write_bytes(bytes(data))
        assert content_of(path) != before
    path.write_bytes(b"")
    assert content_of(path)["bytes"] == 0
