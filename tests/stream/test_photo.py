"""Labelled photos: told from videos by their contents, drawn on, kept otherwise as they were."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, OutputError, UsageError
from engine.gallery import Gallery
from stream import tracks
from stream.filekind import is_photo
from stream.photo import label_photo, photo_output
from tests.networks import PEOPLE, scene

ANN = (40, 60, 88, 120)
BEN = (150, 50, 198, 110)
ORIENTATION = 0x0112
ARTIST = 0x013B
WIDTH = 0x0100


def picture() -> NDArray[np.uint8]:
    return scene(240, 160, [(ANN, PEOPLE["ann"]), (BEN, PEOPLE["ben"])])


@pytest.fixture(scope="module")
def gallery(embedder: Embedder) -> Gallery:
    """Ann alone."""
    crop = np.empty((1, 112, 112, 3), np.uint8)
    crop[...] = PEOPLE["ann"]
    return Gallery.build({"ann": embedder.embed(crop)}, embedder.sha256, 0.9)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif", "a.avif", "a.ppm"])
def test_still_pictures_are_photos_whatever_their_name(name: str, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / name)
    assert is_photo(tmp_path / name)
    disguised = (tmp_path / name).rename(tmp_path / "clip.mp4")
    assert is_photo(disguised)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations_are_videos(name: str, tmp_path: Path) -> None:
    first, second = Image.fromarray(picture()), Image.fromarray(picture()[:, ::-1])
    first.save(tmp_path / name, save_all=True, append_images=[second], duration=100)
    assert not is_photo(tmp_path / name)


def test_what_is_no_picture_is_no_photo(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.jpg", tmp_path / "empty.jpg"
    text.write_text("no picture", "utf-8")
    empty.touch()
    mpeg = tmp_path / "mpeg.jpg"
    mpeg.write_bytes(bytes.fromhex("000001b3 14 00 f0 13 ff ff e0 18") + bytes(100))  # an MPEG-1 sequence header
    pdf = tmp_path / "page.jpg"
    Image.fromarray(picture()).save(pdf, "PDF")
    for path in (text, empty, mpeg, pdf, tmp_path, tmp_path / "missing.jpg"):
        assert not is_photo(path)


def test_known_people_are_drawn_and_recorded(
    tmp_path: Path, detector: Detector, embedder: Embedder, gallery: Gallery
) -> None:
    source = tmp_path / "stage.png"
    Image.fromarray(picture()).save(source)
    result = label_photo(source, detector=detector, embedder=embedder, gallery=gallery)
    assert (result.video, result.tracks) == (tmp_path / "stage.labelled.png", tmp_path / "stage.tracks.jsonl")
    assert result.video is not None
    assert [person.name for person in result.people] == ["ann"]
    with Image.open(result.video) as image:
        drawn = np.asarray(image)
    read = tracks.read(result.tracks)
    (frame,) = read.frames
    assert [face.name for face in sorted(frame.faces, key=lambda face: float(face.box[0]))] == ["ann", None]
    assert sorted(track.verdict for track in read.tracks) == ["named", "unknown"]
    assert read.header.people == ("ann",)
    (ann,) = [face for face in frame.faces if face.name]
    np.testing.assert_allclose(ann.box, ANN, atol=2)
    left, top, right, bottom = (round(float(v)) for v in ann.box)
    for y, x in ((top + 20, left), (top + 20, right - 1), (bottom - 1, left + 20)):
        assert drawn[y, x].tolist() == [255, 0, 0]
    untouched = np.ones(drawn.shape[:2], bool)
    untouched[:, :140] = False
    assert (drawn[untouched] == picture()[untouched]).all()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_record_obeys_the_schema(tmp_path: Path, detector: Detector) -> None:
    source = tmp_path / "stage.png"
    Image.fromarray(picture()).save(source)
    result = label_photo(source, detector=detector, picture=False)
    assert result.video is None
    schema = json.loads(tracks.SCHEMA_FILE.read_text("utf-8"))
    lines = [json.loads(line) for line in result.tracks.read_text("utf-8").splitlines()]
    for line in lines:
        jsonschema.validate(line, schema)
    assert [line["type"] for line in lines] == ["header", "frame", "track", "track", "summary"]
    assert not (tmp_path / "stage.labelled.png").exists()


def test_faces_are_looked_at_mirrored_too(
    tmp_path: Path, detector: Detector, embedder: Embedder, gallery: Gallery
) -> None:
    Image.fromarray(picture()).save(tmp_path / "stage.png")
    before = embedder.session.work.items
    label_photo(tmp_path / "stage.png", detector=detector, embedder=embedder, gallery=gallery, picture=False)
    assert embedder.session.work.items == before + 4, "two faces"


def test_the_record_says_where_the_photo_is_whoever_reads_it_where(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture()).save("stage.png")
    result = label_photo("stage.png", detector=detector, picture=False)
    assert tracks.read(result.tracks).header.path == str(tmp_path / "stage.png")


def test_one_person_is_not_twice_on_a_photo(
    tmp_path: Path, detector: Detector, embedder: Embedder, gallery: Gallery
) -> None:
    source = tmp_path / "twins.png"
    Image.fromarray(scene(240, 160, [(ANN, PEOPLE["ann"]), (BEN, PEOPLE["ann"])])).save(source)
    read = tracks.read(label_photo(source, detector=detector, embedder=embedder, gallery=gallery).tracks)
    assert sorted(str(face.name) for face in read.frames[0].faces) == ["None", "ann"]
    assert sorted(track.verdict for track in read.tracks) == ["conflict", "named"]


def test_exif_that_cannot_be_written_again_is_left_out_and_said(
    tmp_path: Path, detector: Detector, embedder: Embedder, gallery: Gallery
) -> None:
    source = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[ORIENTATION], exif[WIDTH] = 6, 640
    Image.fromarray(np.ascontiguousarray(np.rot90(picture()))).save(source, quality=95, exif=exif)
    # The width, a number, is said to be text.
    number, text = (struct.pack(">HH" if b"MM\0*" in source.read_bytes() else "<HH", WIDTH, kind) for kind in (4, 2))
    assert source.read_bytes().count(number) == 1
    source.write_bytes(source.read_bytes().replace(number, text))
    result = label_photo(source, detector=detector, embedder=embedder, gallery=gallery)
    assert result.notes == ("the copy has no EXIF, as that of the photo is damaged and cannot be written again",)
    assert result.video is not None
    with Image.open(result.video) as image:
        assert image.size == (240, 160)
        assert not image.getexif()


def test_a_sideways_photo_comes_back_upright_with_its_data(
    tmp_path: Path, detector: Detector, embedder: Embedder, gallery: Gallery
) -> None:
    source = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "me"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(picture())))
    stored.save(source, quality=95, exif=exif, icc_profile=profile, dpi=(300, 300))
    result = label_photo(source, detector=detector, embedder=embedder, gallery=gallery)
    assert result.video is not None
    with Image.open(result.video) as image:
        assert image.format == "JPEG"
        assert image.size == (240, 160)
        kept = image.getexif()
        assert kept.get(ORIENTATION, 1) == 1
        assert kept[ARTIST] == "me"
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == (300, 300)
        drawn = np.asarray(image)
    (ann,) = [face for face in tracks.read(result.tracks).frames[0].faces if face.name]
    np.testing.assert_allclose(ann.box, ANN, atol=3)
    assert np.linalg.norm(drawn[round(float(ann.box[3])) - 1, 60] - np.array([255.0, 0, 0])) < 40


def test_transparency_stays(tmp_path: Path, detector: Detector) -> None:
    source = tmp_path / "cut-out.png"
    rgba = np.dstack([picture(), np.full((160, 240), 255, np.uint8)])
    rgba[:30, :, 3] = 0
    Image.fromarray(rgba).save(source)
    result = label_photo(source, detector=detector, unknown="box")
    assert result.video is not None
    with Image.open(result.video) as image:
        assert image.mode == "RGBA"
        assert (np.asarray(image)[:30, :, 3] == 0).all()


def test_modes_without_colour_are_drawn_in_colour(tmp_path: Path, detector: Detector) -> None:
    for mode in ("L", "P", "CMYK", "1"):
        source = tmp_path / f"{mode}.tif"
        Image.fromarray(picture()).convert(mode).save(source)
        result = label_photo(source, detector=detector)
        assert result.video is not None
        with Image.open(result.video) as image:
            assert image.mode == "RGB"


def test_refusals_leave_nothing_behind(tmp_path: Path, detector: Detector) -> None:
    source = tmp_path / "stage.png"
    Image.fromarray(picture()).save(source)
    damaged = tmp_path / "cut.png"
    damaged.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    there = tmp_path / "there.png"
    there.write_bytes(b"mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"stage\.gif.*\.jpg"):
        label_photo(source, tmp_path / "stage.gif", detector=detector)
    with pytest.raises(OutputError, match=r"there\.png exists"):
        label_photo(source, there, detector=detector)
    with pytest.raises(OutputError, match="none"):
        label_photo(source, tmp_path / "none" / "out.png", detector=detector)
    with pytest.raises(InputError, match=r"cut\.png"):
        label_photo(damaged, detector=detector)
    assert sorted(tmp_path.iterdir()) == before
    assert there.read_bytes() == b"mine"
    label_photo(source, there, detector=detector, overwrite=True)
    assert is_photo(there)


def test_where_it_goes() -> None:
    assert photo_output(Path("a/b.JPG")) == Path("a/b.labelled.JPG")
    assert photo_output(Path("a/b.heic")) == Path("a/b.labelled.png")
