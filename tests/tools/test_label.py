"""`iznet label` as people use it: arguments in, files and words out, an exit code for everything that can go wrong.

The networks are synthetic: a face is a coloured rectangle (see `tests.networks`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from engine.embedder import Embedder
from engine.errors import MissingError
from engine.gallery import Gallery
from stream import decoders, tracks
from tests import signals
from tests.networks import PEOPLE, scene
from tests.stream import media
from tools import cli

ROOT = Path(__file__).resolve().parents[2]
SIZE = (320, 192)
FRAMES = 24


def picture(index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Ann goes right, Ben stands still."""
    x = 30 + 2 * index
    return scene(*SIZE, [((x, 60, x + 48, 120), PEOPLE["ann"]), ((230, 70, 278, 130), PEOPLE["ben"])])


def write_video(path: Path, frames: int = FRAMES) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 25)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("original") / "mv.mp4")


@pytest.fixture
def video(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "mv.mp4"))


@pytest.fixture(scope="module")
def gallery(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ann alone."""
    crop = np.empty((1, 112, 112, 3), np.uint8)
    crop[...] = PEOPLE["ann"]
    path = tmp_path_factory.mktemp("gallery") / "group.gallery"
    Gallery.build({"ann": embedder.embed(crop)}, embedder.sha256, 0.9).save(path)
    return path


@pytest.fixture
def networks(detector_file: Path, embedder_file: Path) -> list[str]:
    return ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]


Out = pytest.CaptureFixture[str]


def test_the_whole_job(video: Path, gallery: Path, networks: list[str], capsys: Out) -> None:
    assert cli.run(["label", str(video), "-g", str(gallery), *networks]) == 0
    out, err = capsys.readouterr()
    labelled, record = video.with_name("mv.labelled.mp4"), video.with_name("mv.tracks.jsonl")
    assert str(labelled) in out
    assert str(record) in out
    assert "Found: ann, 1.0 s on screen in 1 appearance" in out
    assert f"{FRAMES} frames" in out
    assert "openvino on the CPU" in err
    read = tracks.read(record)
    assert len(read.frames) == FRAMES
    assert all({face.name for face in frame.faces} == {"ann", None} for frame in read.frames)
    with av.open(str(labelled)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == FRAMES
    (ann,) = [face for face in read.frames[12].faces if face.name]
    left, _, right, bottom = (round(float(v)) for v in ann.box)
    assert np.linalg.norm(shown[12][bottom - 1, (left + right) // 2] - np.array([255.0, 0, 0])) < 60
    assert sorted(p.name for p in video.parent.iterdir()) == ["mv.labelled.mp4", "mv.mp4", "mv.tracks.jsonl"]


def test_json_is_one_object_and_nothing_else(video: Path, gallery: Path, networks: list[str], capsys: Out) -> None:
    assert cli.run(["label", str(video), "-g", str(gallery), "--json", *networks]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert out.count("\n") == 1
    assert err == ""
    assert result["video"] == str(video.with_name("mv.labelled.mp4"))
    assert result["tracks"] == str(video.with_name("mv.tracks.jsonl"))
    assert result["frames"] == FRAMES
    assert result["fps"] > 0
    (person,) = result["people"]
    assert person["name"] == "ann"
    assert person["appearances"] == [[0.0, pytest.approx(FRAMES / 25)]]
    assert result["stages"]["decode"]["calls"] >= FRAMES


def test_places_that_were_named(video: Path, networks: list[str], tmp_path: Path, capsys: Out) -> None:
    out, record = tmp_path / "out.mkv", tmp_path / "record.jsonl"
    assert cli.run(["label", str(video), "-o", str(out), "--tracks", str(record), *networks]) == 0
    said = capsys.readouterr()
    assert out.is_file()
    assert record.is_file()
    assert "nobody is known: every face that is found is marked in grey" in said.err
    assert "Nobody was named." in said.out


def test_record_only(video: Path, networks: list[str], capsys: Out) -> None:
    assert cli.run(["label", str(video), "--no-video", "--json", *networks]) == 0
    assert json.loads(capsys.readouterr().out)["video"] is None
    assert sorted(p.name for p in video.parent.iterdir()) == ["mv.mp4", "mv.tracks.jsonl"]


@pytest.mark.parametrize("unknown", [None, "none", "box"])
def test_people_nobody_knows(unknown: str | None, video: Path, networks: list[str], original: Path) -> None:
    """Without a gallery they get a grey box, unless one says otherwise."""
    choice = ["--unknown", unknown] if unknown else []
    assert cli.run(["label", str(video), "--encoder", "x264", "--crf", "5", "--json", *choice, *networks]) == 0

    def first(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
        with av.open(str(path)) as container:
            return np.asarray(next(container.decode(video=0)).to_ndarray(format="rgb24"), np.uint8)

    changed = np.abs(first(video.with_name("mv.labelled.mp4")).astype(int) - first(original)).max() > 60
    assert changed == (unknown != "none")


def _label(*arguments: str | Path) -> int:
    return cli.run(["label", *map(str, arguments)])


def test_what_exists_is_kept_unless_told(video: Path, networks: list[str], capsys: Out) -> None:
    taken = video.with_name("mv.labelled.mp4")
    taken.write_bytes(b"mine")
    assert _label(video, *networks) == 5
    assert str(taken) in capsys.readouterr().err
    assert taken.read_bytes() == b"mine"
    assert sorted(p.name for p in video.parent.iterdir()) == ["mv.labelled.mp4", "mv.mp4"]
    assert _label(video, "--overwrite", *networks) == 0
    assert taken.stat().st_size > 1000


def test_input_that_is_no_video(tmp_path: Path, networks: list[str], capsys: Out) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100, "utf-8")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for source in (tmp_path / "missing.mp4", tmp_path, text, empty):
        assert _label(source, *networks) == 3
        err = capsys.readouterr().err
        assert str(source) in err
        assert "Traceback" not in err
        assert _label(source, "--json", *networks) == 3
        said = json.loads(capsys.readouterr().out)
        assert said["code"] == 3
        assert str(source) in said["error"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.mp4", "text.mp4"]


def test_output_that_cannot_be(video: Path, networks: list[str], capsys: Out) -> None:
    folder = video.parent
    for out, code in ((folder / "none/out.mp4", 5), (folder, 5), (folder / "out.xyz", 2), (folder / "out.webm", 2)):
        assert _label(video, "-o", out, *networks) == code, out
        assert str(out.parent if code == 5 else out) in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["mv.mp4"]


def test_networks_and_galleries_that_cannot_be(
    video: Path, gallery: Path, networks: list[str], embedder_file: Path, tmp_path: Path, capsys: Out
) -> None:
    junk = tmp_path / "junk.gallery"
    junk.write_bytes(b"PK\3\4 no gallery")
    cut = tmp_path / "cut.gallery"
    cut.write_bytes(gallery.read_bytes()[:-100])
    for bad in (junk, cut, tmp_path / "missing.gallery"):
        assert _label(video, "-g", bad, *networks) == 3
        assert str(bad) in capsys.readouterr().err
    assert _label(video, "--detector", embedder_file) == 3
    assert str(embedder_file) in capsys.readouterr().err
    assert _label(video, "--device", "gpu", *networks) == 4
    assert "--device cpu" in capsys.readouterr().err
    assert not list(tmp_path.glob("mv.*[!4]"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--crf", "abc"],
        ["--crf", "99"],
        ["--encoder", "h263"],
        ["--decoder", "cuvid"],
        ["--preset", "hasty"],
        ["--size", "0"],
        ["--threads", "0"],
    ],
)
def test_wrong_use(arguments: list[str], video: Path, networks: list[str], capsys: Out) -> None:
    assert _label(video, *networks, *arguments) == 2
    assert arguments[1] in capsys.readouterr().err
    assert sorted(p.name for p in video.parent.iterdir()) == ["mv.mp4"]


def test_a_photo_gives_a_photo(tmp_path: Path, gallery: Path, networks: list[str], capsys: Out) -> None:
    photo = tmp_path / "stage.png"
    Image.fromarray(picture(0)).save(photo)
    assert _label(photo, "-g", gallery, "--json", *networks) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["video"] == str(tmp_path / "stage.labelled.png")
    assert result["frames"] == 1
    assert [person["name"] for person in result["people"]] == ["ann"]


def test_a_photo_in_words(tmp_path: Path, gallery: Path, networks: list[str], capsys: Out) -> None:
    photo = tmp_path / "stage.png"
    Image.fromarray(picture(0)).save(photo)
    assert _label(photo, "-g", gallery, *networks) == 0
    assert "Found: ann" in capsys.readouterr().out


def test_a_decoder_that_was_named_is_used_or_missed(
    video: Path, networks: list[str], capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, codec: str) -> Any:
        raise MissingError(f"decoder {name}: no device; use --decoder software")

    monkeypatch.setattr(decoders, "_create", absent)
    assert _label(video, "--decoder", "nvdec", *networks) == 4
    assert "decoder nvdec: no device; use --decoder software" in capsys.readouterr().err
    assert [p.name for p in video.parent.iterdir()] == ["mv.mp4"]
    assert _label(video, "--no-video", "--decoder", "hardware", *networks) == 0
    assert "Decoder: software, since none of nvdec, qsv, vaapi, videotoolbox" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--encoder", "x264"],
        ["--encoder", "auto"],
        ["--decoder", "software"],
        ["--preset", "slow"],
        ["--crf", "20"],
        ["--deinterlace"],
        ["--omit", "1"],
        ["--lookahead", "1"],
        ["--soft"],
        ["--two-pass"],
    ],
)
def test_what_is_for_videos_only_is_refused_for_a_photo(
    arguments: list[str], tmp_path: Path, networks: list[str], capsys: Out
) -> None:
    photo = tmp_path / "stage.png"
    Image.fromarray(picture(0)).save(photo)
    assert _label(photo, *arguments, *networks) == 2
    assert f"{arguments[0]} would do nothing for a photo" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["stage.png"]


@pytest.mark.parametrize("option", [["--crf", "20"], ["--style", "corners"], ["--soft"], ["--unknown", "box"]])
def test_what_is_for_the_copy_is_refused_without_one(
    option: list[str], video: Path, networks: list[str], capsys: Out
) -> None:
    assert _label(video, "--no-video", *option, *networks) == 2
    assert f"{option[0]} would do nothing with --no-video" in capsys.readouterr().err
    assert [p.name for p in video.parent.iterdir()] == ["mv.mp4"]


def test_a_missing_folder_is_told_by_the_outputs_name(video: Path, networks: list[str], capsys: Out) -> None:
    out = video.parent / "none" / "out.mp4"
    assert _label(video, "-o", out, *networks) == 5
    err = capsys.readouterr().err
    assert str(out) in err
    assert "tracks.jsonl" not in err
    photo = video.with_name("stage.png")
    Image.fromarray(picture(0)).save(photo)
    assert _label(photo, "-o", out.with_suffix(".png"), *networks) == 5
    assert str(out.with_suffix(".png")) in capsys.readouterr().err


def test_softly(video: Path, gallery: Path, networks: list[str], capsys: Out) -> None:
    assert _label(video, "-g", gallery, "--soft", "--style", "colours", "--json", *networks) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["video"] == str(video.with_name("mv.labelled.mkv"))
    assert result["stages"]["join"]["calls"] == 1
    assert "encode" not in result["stages"]
    with av.open(result["video"]) as container, av.open(str(video)) as source:
        assert [stream.type for stream in container.streams] == ["video", "subtitle"]
        names = [bytes(p).decode().split(",", 8) for p in container.demux(container.streams[1]) if p.size]
        container.seek(0)
        copied = [bytes(p) for p in container.demux(container.streams[0]) if p.size]
        assert copied == [bytes(p) for p in source.demux(video=0) if p.size]
    assert {fields[3] for fields in names} == {"ann"}


def test_hidden_from_the_first_frame(video: Path, gallery: Path, networks: list[str], capsys: Out) -> None:
    """Ben is hidden, Ann is drawn; his outline is nowhere to be seen."""
    style = ["--style", "pixelate-unknown", "--style", "boxes", "--encoder", "x264", "--crf", "4"]
    assert _label(video, "-g", gallery, *style, "--json", *networks) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == FRAMES
    with av.open(result["video"]) as container:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    for i in (0, FRAMES - 1):
        row = shown[i][100].sum(axis=-1)
        before = picture(i)[100].astype(int).sum(axis=-1)
        assert abs(before[230] - before[229]) > 200  # Ben's left side
        assert abs(row[230] - row[229]) < 40


LONG = 900


@pytest.fixture(scope="module")
def long_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", LONG)


@pytest.fixture
def endless(long_original: Path, tmp_path: Path) -> Path:
    """A video that takes long enough to be interrupted."""
    return Path(shutil.copy(long_original, tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_keeps_what_was_finished(number: signal.Signals, endless: Path, networks: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools", "label", str(endless), "--preset", "slow", *networks],
        cwd=ROOT,
        preexec_fn=signals.as_usual,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    record = endless.with_name("long.partial.tracks.jsonl")
    enough = threading.Event()
    while process.poll() is None and not enough.wait(0.02):
        if record.is_file() and record.read_bytes().count(b'"type":"frame"') >= 260:
            enough.set()
            process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    partial = endless.with_name("long.labelled.partial.mp4")
    assert partial.name in err
    with av.open(str(partial)) as container:
        shown = sum(1 for _ in container.decode(video=0))
    kept = tracks.read(record)
    assert kept.summary is not None
    assert 250 <= shown <= len(kept.frames) < LONG
    assert "--resume goes on from there" in err
    assert {p.name for p in endless.parent.iterdir()} == {
        *("long.mp4", partial.name, record.name),
        "long.labelled.mp4.iznet",
    }


def test_a_track_that_the_container_cannot_hold(tmp_path: Path, networks: list[str], capsys: Out) -> None:
    """Nothing is dropped unasked: the message names the track and the container that can hold it."""
    source, out = media.write(tmp_path / "mv.mkv", media.Video(), [media.subrip()]), tmp_path / "out.mp4"
    assert _label(source, "-o", out, *networks) == 5
    err = capsys.readouterr().err
    assert "subrip" in err
    assert "out.mkv" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mv.mkv"]
    assert _label(source, "-o", out, "--omit", "1", *networks) == 0
    assert "left out" in capsys.readouterr().out
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert _label(source, "-o", tmp_path / "out.mkv", "--overwrite", *networks) == 0
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video", "subtitle"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--style", "blur"], "every face that is found is blurred."),
        (["--style", "pixelate-unknown", "--style", "corners"], "is pixelated and marked in grey, without a name."),
        (["--unknown", "none"], "nothing is drawn."),
        (["--style", "names"], "nothing is drawn."),
        (["--no-video"], "nobody gets a name in the record."),
    ],
)
def test_what_it_means_that_nobody_is_known(
    video: Path, networks: list[str], words: list[str], said: str, capsys: Out
) -> None:
    assert cli.run(["label", str(video), *words, *networks]) == 0
    assert said in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder here that takes no files")
def test_a_folder_that_takes_no_files(video: Path, networks: list[str], capsys: Out) -> None:
    assert cli.run(["label", str(video), "-o", "/proc/out.mp4", *networks]) == 5
    assert "no file can be written into /proc" in capsys.readouterr().err


def still(video: Path) -> Path:
    """The first picture of the video as a photo beside it."""
    photo = video.with_name("stage.png")
    Image.fromarray(picture(0)).save(photo)
    return photo


@pytest.mark.parametrize("photo", [False, True], ids=["video", "photo"])
def test_what_is_read_is_never_replaced(
    photo: bool, video: Path, gallery: Path, networks: list[str], capsys: Out
) -> None:
    source = still(video) if photo else video
    people = Path(shutil.copy(gallery, video.parent))
    detector = Path(networks[1])
    out = source.with_stem("out")
    for read in (people, source, detector):
        before = read.read_bytes()
        assert _label(source, "-g", people, "-o", out, "--tracks", read, "--overwrite", *networks) == 5
        assert f"{read} is what the output is made from" in capsys.readouterr().err
        assert read.read_bytes() == before
        assert not out.exists()
    record = video.with_name("record.png" if photo else "record.mp4")
    assert _label(source, "-o", video.with_name("x").with_suffix(source.suffix), "--tracks", record, *networks) == 0
    before = record.read_bytes()
    assert cli.run(["render", str(source), str(record), "-o", str(record), "--overwrite"]) == 5
    assert "made from" in capsys.readouterr().err
    assert record.read_bytes() == before


@pytest.mark.parametrize("photo", [False, True], ids=["video", "photo"])
def test_copy_and_record_in_one_file_are_refused(
    photo: bool, video: Path, networks: list[str], tmp_path: Path, capsys: Out
) -> None:
    source = still(video) if photo else video
    before = sorted(tmp_path.iterdir())
    out = source.with_stem("out")
    other = tmp_path / ".." / tmp_path.name / out.name
    assert _label(source, "-o", out, "--tracks", other, *networks) == 2
    assert f"{out} and {other} would be one file" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["12:30.mp4", "New:OMG.mp4", "http:OMG.mp4", "-mv.mp4", "file:OMG.mp4"])
def test_a_name_that_looks_like_something_else(
    name: str, video: Path, networks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(video.parent)
    video.rename(name)
    assert _label(*networks, "-o", f"out-{name}", "--", name) == 0
    with av.open(str(video.with_name(f"out-{name}"))) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    record = f"out-{Path(name).stem}.tracks.jsonl"
    assert cli.run(["render", "-o", f"x-{name}", "--", name, record]) == 0
    assert cli.run(["render", "--soft", "-o", f"{Path(name).stem}.mkv", "--", name, record]) == 0
    assert video.with_name(f"{Path(name).stem}.mkv").is_file()


def test_names_that_leave_no_room_for_longer_ones(video: Path, networks: list[str], capsys: Out) -> None:
    long = video.rename(video.with_name("가" * 81 + ".mp4"))
    assert _label(long, *networks) == 5
    err = capsys.readouterr().err
    assert "too many; give a shorter one" in err
    assert [p.name for p in video.parent.iterdir()] == [long.name]
    assert _label(long, "-o", video.with_name("short.mp4"), *networks) == 0
    fits = video.with_name("나" * 77 + ".mp4")
    assert _label(long, "-o", fits, "--tracks", video.with_name("r.jsonl"), *networks) == 0


def test_names_that_no_file_can_have(video: Path, networks: list[str], capsys: Out) -> None:
    long = video.with_name("x" * 300 + ".mp4")
    assert _label(long, *networks) == 3
    assert "there is no such file" in capsys.readouterr().err
    assert _label(video, "--no-video", *networks) == 0
    capsys.readouterr()
    assert cli.run(["render", str(video), str(video.with_name("mv.tracks.jsonl")), "-o", str(long)]) == 5
    assert "too many; give a shorter one" in capsys.readouterr().err


def test_a_pipe_is_no_file(video: Path, networks: list[str], capsys: Out) -> None:
    pipe = video.with_name("pipe.mp4")
    os.mkfifo(pipe)
    assert _label(pipe, *networks) == 3
    assert "save what comes from it in a file" in capsys.readouterr().err


def test_damage_is_told_in_words(video: Path, networks: list[str], capsys: Out) -> None:
    whole = video.read_bytes()
    at = whole.index(b"mdat") + len(whole) // 3
    video.write_bytes(whole[:at] + bytes(300) + whole[at + 300 :])
    assert _label(video, *networks) == 0
    out = capsys.readouterr().out
    assert "The source is damaged: " in out
    assert re.search(r"(whose frames are missing|with errors in the picture): \d", out)
    assert "_" not in out[out.index("The source is damaged") :].splitlines()[0]
