"""Reading a video file: exact times, everything probed, damage counted, clear refusals."""

from __future__ import annotations

import io
import os
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError
from stream.filekind import is_photo
from stream.probe import probe, rotation_of
from stream.source import FileSource
from tests.stream.media import Video, audio, cover, read, scene, vfr, write

SMALL_GOPS = {"preset": "ultrafast", "bf": "2", "g": "12"}


def times(path: Path, **options: object) -> list[Fraction]:
    with FileSource(path, 1, **options) as source:  # type: ignore[arg-type]
        return [frame.pts * frame.time_base for frame in source.frames()]


def broken(path: Path, target: Path, *, keep: float = 1.0, hits: int = 0) -> Path:
    """A copy cut off after a part, or with bytes turned over in its middle."""
    data = bytearray(path.read_bytes())
    data = data[: int(len(data) * keep)]
    dice = random.Random(3)
    for _ in range(hits):
        data[int(len(data) * 0.2) + dice.randrange(len(data) // 2)] ^= 0xFF
    target.write_bytes(bytes(data))
    return target


def test_variable_rate_times_are_exact(tmp_path: Path) -> None:
    ticks = vfr(40, 512, first=1003)
    path = write(tmp_path / "a.mp4", Video(frames=40, pts=ticks))
    got = times(path)
    assert [t - got[0] for t in got] == [Fraction(t - ticks[0], 12800) for t in ticks]
    with FileSource(path) as source:
        frames = list(source.frames())
    assert [f.index for f in frames] == list(range(40))
    assert [f.picture.duration for f in frames[:-1]] == [b - a for a, b in pairwise(ticks)]
    assert all(f.picture.pts == f.pts and f.picture.time_base == f.time_base for f in frames)
    assert not source.damage


def test_frames_can_be_read_twice_and_by_any_number_of_threads(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=30))
    one, many = FileSource(path, 1), FileSource(path, 4, thread_type="frame")
    first = [(f.pts, f.picture.to_ndarray().tobytes()) for f in one.frames()]
    assert [(f.pts, f.picture.to_ndarray().tobytes()) for f in one.frames()] == first
    assert [(f.pts, f.picture.to_ndarray().tobytes()) for f in many.frames()] == first


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("a.webm", Video(frames=8, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})),
        ("a.ts", Video(frames=20, time_base=Fraction(1, 90000))),
        ("a.avi", Video(frames=20, codec="mpeg4", time_base=Fraction(1, 25), options={"bf": "2"})),
        ("h264.avi", Video(frames=20, time_base=Fraction(1, 25))),
        ("a.mov", Video(frames=20)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_container_gives_evenly_spaced_frames_in_order(tmp_path: Path, name: str, video: Video) -> None:
    path = write(tmp_path / name, video)
    with FileSource(path, 1) as source:
        frames = list(source.frames())
    seconds = [f.pts * f.time_base for f in frames]
    assert len(frames) == video.frames
    assert all(abs(b - a - Fraction(1, 25)) <= frames[0].time_base for a, b in pairwise(seconds))
    # The square moves steadily: each picture is nearer to its own drawing than to its neighbours'.
    for i in (0, 3, 7):
        rgb = frames[i].picture.to_ndarray(format="rgb24").astype(int)
        errors = [np.abs(rgb - scene(j, 64, 48)).mean() for j in range(8)]
        assert int(np.argmin(errors)) == i


def test_facts_of_a_rich_file(tmp_path: Path) -> None:
    video = Video(
        rotation=-90, colour=(1, 9, 16, 9), sample_aspect=Fraction(4, 3), width=96, options={"preset": "ultrafast"}
    )
    path = write(tmp_path / "a.mp4", video, [audio("kor", "본편"), cover()])
    facts = probe(path)
    info = facts.info
    assert (info.coded_width, info.coded_height, info.rotation, info.width, info.height) == (96, 48, 90, 48, 96)
    assert (facts.colour.range, facts.colour.primaries, facts.colour.transfer, facts.colour.matrix) == (1, 9, 16, 9)
    assert facts.sample_aspect == Fraction(4, 3)
    assert info.time_base == Fraction(1, 12800)
    assert info.average_rate == 25
    assert info.frames == 30
    assert info.duration == pytest.approx(1.2)
    assert not info.interlaced
    assert [t.kind for t in facts.tracks] == ["video", "audio", "video"]
    assert str(facts.tracks[1]) == "audio track #1 (aac, kor)"
    assert facts.tracks[2].cover


def test_rotation_of_every_matrix() -> None:
    """Against the matrices FFmpeg itself makes for every turn and mirror image."""
    one = 1 << 16
    cases = {
        (one, 0, 0, one): (0, False),
        (0, one, -one, 0): (90, False),
        (-one, 0, 0, -one): (180, False),
        (0, -one, one, 0): (270, False),
        (-one, 0, 0, one): (0, True),
        (one, 0, 0, -one): (180, True),
    }
    for (a, b, c, d), wanted in cases.items():
        assert rotation_of((a, b, 0, c, d, 0, 0, 0, 1 << 30)) == wanted
    assert rotation_of(None) == (0, False)


@pytest.mark.parametrize(("turn", "clockwise"), [(-90, 90), (90, 270), (180, 180)])
def test_rotation_read_from_a_file(tmp_path: Path, turn: float, clockwise: int) -> None:
    assert probe(write(tmp_path / "a.mp4", Video(frames=3, rotation=turn))).info.rotation == clockwise


@pytest.mark.parametrize("order", ["tt", "bb"])
def test_interlaced_is_seen_and_can_be_deinterlaced(tmp_path: Path, order: str) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=12, interlaced=order, options={"preset": "ultrafast"}))
    with FileSource(path, 1) as source:
        assert source.facts.field_order == order
        assert source.info.interlaced
        assert any(note.startswith("the picture of a.mp4 is interlaced") for note in source.notes)
        woven = list(source.frames())
    assert all(f.picture.interlaced_frame for f in woven)
    with FileSource(path, 1, deinterlace=True) as source:
        assert not source.info.interlaced
        assert any("deinterlaced" in note for note in source.notes)
        whole = list(source.frames())
    assert [(f.pts, f.picture.duration) for f in whole] == [(f.pts, f.picture.duration) for f in woven]
    assert not any(f.picture.interlaced_frame for f in whole)


def test_deinterlacing_removes_combs(tmp_path: Path) -> None:
    """Two moments woven into one picture differ from line to line; after it they do not."""

    def weave(frame: av.VideoFrame, i: int) -> av.VideoFrame:
        rgb = scene(2 * i, 64, 48)
        rgb[1::2] = scene(2 * i + 6, 64, 48)[1::2]
        return av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")

    options = {"preset": "ultrafast", "crf": "5"}
    path = write(tmp_path / "a.mp4", Video(frames=8, interlaced="tt", prepare=weave, options=options))

    def combing(deinterlace: bool) -> float:
        with FileSource(path, 1, deinterlace=deinterlace) as source:
            luma = [f.picture.to_ndarray()[:48].astype(int) for f in source.frames()][2:6]
        return float(np.mean([np.abs(2 * y[1:-1] - y[:-2] - y[2:]).mean() for y in luma]))

    assert combing(True) < 0.5 * combing(False)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_corrupt_middle_is_read_to_the_end_and_counted(tmp_path: Path, name: str) -> None:
    base = Fraction(1, 90000) if name.endswith("ts") else Fraction(1, 1000)
    path = write(tmp_path / name, Video(frames=60, width=160, height=96, time_base=base, options=SMALL_GOPS))
    hurt = broken(path, tmp_path / f"hurt_{name}", hits=40)
    with FileSource(hurt, 1) as source:
        got = [f.pts for f in source.frames()]
        assert source.damage
        assert source.damage.describe()
        assert sum(source.damage.as_dict().values()) > 0
    whole = [f.pts for f in FileSource(path, 1).frames()]
    assert len(whole) == 60
    assert len(got) >= 40
    assert abs(got[-1] - whole[-1]) * base < Fraction(1, 2)
    assert all(b > a for a, b in pairwise(got))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi"])
def test_cut_in_half_gives_what_is_there_and_says_so(tmp_path: Path, name: str) -> None:
    video = Video(frames=60, width=160, height=96, options=SMALL_GOPS)
    if name.endswith("avi"):
        video = Video(frames=60, width=160, height=96, codec="mpeg4", time_base=Fraction(1, 25), options={"qmax": "3"})
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    half = broken(write(tmp_path / name, video, options=options), tmp_path / f"half_{name}", keep=0.5)
    with FileSource(half, 1) as source:
        assert 15 < len(list(source.frames())) < 50
        assert source.damage.cut_short


def test_a_change_of_size_on_the_way_is_scaled_and_counted(tmp_path: Path) -> None:
    parts = []
    for name, width in (("a.ts", 64), ("b.ts", 96)):
        path = write(tmp_path / name, Video(frames=10, width=width, time_base=Fraction(1, 90000), options=SMALL_GOPS))
        parts.append(path.read_bytes())
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(parts))
    with FileSource(both, 1) as source:
        frames = list(source.frames())
    assert len(frames) == 20
    assert {(f.picture.width, f.picture.height, f.picture.format.name) for f in frames} == {(64, 48, "yuv420p")}
    assert source.damage.rescaled_frames == 10
    assert all(b.pts > a.pts for a, b in pairwise(frames))
    assert frames[-1].time < 2  # the second part's clock begins anew; it goes on from the first's


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=30))
    source = FileSource(path, 1)
    seen = 0
    for _ in source.frames():
        seen += 1
        source.close()
    assert seen == 1


def test_each_call_decodes_pictures_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=6))
    picture = next(iter(FileSource(path, 1).frames())).picture
    assert np.array_equal(picture.to_ndarray(), read(path).pictures[0].to_ndarray())


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        FileSource(path)
    message = str(caught.value)
    assert path.name in message
    assert caught.value.exit_code == 3
    return message


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.mp4")


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert "folder" in refused(tmp_path / "folder.mp4")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "empty" in refused(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["text.mp4", "text.mkv", "text.txt", "text"])
def test_text_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is no video.\n" * 40, "utf-8")
    refused(tmp_path / name)


def test_sound_only(tmp_path: Path) -> None:
    assert "sound but no video" in refused(write(tmp_path / "a.mp4", None, [audio()]))


def test_sound_with_cover_only(tmp_path: Path) -> None:
    assert "cover" in refused(write(tmp_path / "a.m4a", None, [audio(), cover()], format_name="mp4"))


def test_no_frames(tmp_path: Path) -> None:
    refused(write(tmp_path / "a.mp4", Video(frames=0, pts=[])))


def test_index_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=60, width=160, height=96))
    assert "its index is missing" in refused(broken(path, tmp_path / "cut.mp4", keep=0.5))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=3))
    path.chmod(0)
    assert "permission" in refused(path)


def test_a_broken_letter_in_a_title_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=3), metadata={"title": "QQQQ"})
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"Caf\xe9"))
    assert len(list(FileSource(path, 1).frames())) == 3


@pytest.mark.shared
def test_real_clip(shared_data: Path) -> None:
    with FileSource(shared_data / "clips" / "hamilton.mp4") as source:
        frames = [(f.index, f.pts) for f in source.frames()]
    assert len(frames) == 275
    assert frames[0] == (0, 10214)
    assert not source.damage


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_an_avi_whose_header_counts_more_than_there_is(tmp_path: Path, codec: str) -> None:
    """Dropped frames are counted there, and H.264's twice; the file is whole all the same."""
    pts = [0, 1, 2, 5, 6, 9, 10, 11, 15]
    video = Video(frames=len(pts), codec=codec, time_base=Fraction(1, 25), pts=pts, options={"bf": "0"})
    path = write(tmp_path / "a.avi", video)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > len(pts), "the header counts otherwise"
    with FileSource(path, 1) as source:
        assert len(list(source.frames())) == len(pts)
        assert not source.damage


def test_the_rate_of_raw_dv_is_that_of_its_pictures(tmp_path: Path) -> None:
    """FFmpeg gives the ticks of its clock as the average."""
    ntsc = Fraction(30000, 1001)
    video = Video(4, 720, 480, "dvvideo", "yuv411p", time_base=1 / ntsc, rate=ntsc, pts=range(4), options={})
    facts = probe(write(tmp_path / "a.dv", video))
    assert facts.info.average_rate == facts.rate == ntsc
    assert facts.info.frames == 4


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(24000, 1001)])
def test_a_bare_stream_is_as_fast_as_it_says(tmp_path: Path, rate: Fraction) -> None:
    """FFmpeg gives 25, at which thirty pictures a second would last a fifth longer."""
    path = write(tmp_path / "a.h264", Video(30, time_base=1 / rate, rate=rate, pts=range(30)))
    source = FileSource(path)
    last = list(source.frames())[-1]
    assert source.facts.rate == rate
    assert abs(last.time - 29 / rate) < 1e-3


def test_a_stream_of_jpegs_is_a_video(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(jpeg, "JPEG")
    path = tmp_path / "raw.mjpeg"
    path.write_bytes(5 * jpeg.getvalue())
    assert not is_photo(path)
    with FileSource(path, 1) as source:
        assert len(list(source.frames())) == 5
    one = tmp_path / "one.jpg"
    one.write_bytes(jpeg.getvalue())
    assert is_photo(one)


def test_side_data_of_a_kind_that_the_library_has_no_name_for(tmp_path: Path) -> None:
    """Cameras put EXIF data into every picture of their videos: the rest of what a frame says is read all the same."""
    photo, exif = io.BytesIO(), Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    Image.new("RGB", (64, 48), (200, 30, 30)).save(photo, "JPEG", exif=exif)
    path = tmp_path / "raw.mjpeg"
    path.write_bytes(5 * photo.getvalue())
    assert probe(path).info.rotation == 90


def test_an_animated_webp_is_told_apart_from_damage(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    assert not is_photo(path)
    with pytest.raises(InputError, match="animated WebP, which FFmpeg cannot decode; save it as GIF or MP4"):
        probe(path)


def test_a_picture_with_far_too_many_pixels_is_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is refused as one, and not looked at as a film of one frame."""
    path = tmp_path / "a.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert is_photo(path)
