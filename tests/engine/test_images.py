"""Pictures as people have them."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from engine import load_image
from engine.errors import InputError, MissingError
from engine.images import SUFFIXES


def quarters(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """Red, green, blue and white quarters: every orientation looks different."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (250, 10, 10)
    rgb[: height // 2, width // 2 :] = (10, 250, 10)
    rgb[height // 2 :, : width // 2] = (10, 10, 250)
    rgb[height // 2 :, width // 2 :] = 250
    return rgb


def close(found: NDArray[np.uint8], expected: NDArray[np.uint8], tolerance: int = 6) -> None:
    """Alike in the middle of each quarter, where codecs leave colours alone."""
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    height, width = expected.shape[:2]
    for y, x in ((1, 1), (1, 3), (3, 1), (3, 3)):
        at = y * height // 4, x * width // 4
        np.testing.assert_allclose(found[at].astype(int), expected[at], atol=tolerance)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif", ".avif", ".jp2"])
def test_common_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(quarters()).save(path)
    assert suffix in SUFFIXES
    close(load_image(path), quarters())


def test_goes_by_the_contents(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(quarters()).save(path, format="PNG")
    np.testing.assert_array_equal(load_image(str(path)), quarters())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    # What each orientation does to the upright picture, by the EXIF standard's own words (row 0 and column 0 are…).
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](quarters())
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "sideways.jpg"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, quality=95, exif=exif)
    close(load_image(path), quarters())


def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "exif.jpg"
    Image.fromarray(quarters()).save(path, quality=95, exif=b"Exif\x00\x00" + os.urandom(40))
    close(load_image(path), quarters())


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "RGBA", "LA", "LAB", "PA", "RGBX"])
def test_colour_modes(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(quarters())
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.profileToProfile(
            picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        assert lab is not None
        picture = lab
    elif mode == "PA":
        picture = picture.convert("P").convert("PA")
    else:
        picture = picture.convert(mode)
    suffix = {"CMYK": "jpg", "YCbCr": "jpg", "LAB": "tiff", "PA": "tiff", "RGBX": "tiff"}.get(mode, "png")
    path = tmp_path / f"photo.{suffix}"
    try:
        picture.save(path)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"Pillow writes no {mode} into {suffix}")
    if mode in ("L", "LA", "1"):
        found = load_image(path)
        assert (found[..., 0] == found[..., 1]).all()
        assert (found[..., 1] == found[..., 2]).all()
    else:
        close(load_image(path), quarters(), 60)  # a palette of 216 colours is coarse


def test_a_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([quarters(), np.full((40, 60), 255, np.uint8)])
    rgba[:20, :30, 3] = 0
    for name, picture in (("a.png", Image.fromarray(rgba)), ("p.png", Image.fromarray(rgba).quantize())):
        picture.save(tmp_path / name)
        found = load_image(tmp_path / name)
        assert (found[5, 5] == 255).all()
        assert found[5, 45, 1] > 200 > 60 > found[5, 45, 0]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_grey(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(20, 0)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(ramp).save(path)
    np.testing.assert_allclose(load_image(path)[3, :, 0].astype(int), np.arange(256), atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), quarters()[:, :, ::-1].astype(np.uint16) * 257)
    close(load_image(path), quarters(), 2)


def test_floats(tmp_path: Path) -> None:
    for top in (1.0, 255.0):
        ramp = np.linspace(0, top, 256).astype(np.float32)[None].repeat(9, 0)
        Image.fromarray(ramp).save(tmp_path / "f.tiff")
        np.testing.assert_allclose(load_image(tmp_path / "f.tiff")[3, :, 0].astype(int), np.arange(256), atol=1)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_the_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving{suffix}"
    rest = [Image.fromarray(quarters()[::-1]), Image.fromarray(quarters()[:, ::-1])]
    Image.fromarray(quarters()).save(path, save_all=True, append_images=rest, duration=100, lossless=True)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    close(load_image(path), quarters())


def test_an_orientation_counts_whatever_else_is_wrong_with_the_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0100], exif[0x010E] = 6, 640, "x"
    path = tmp_path / "exif.jpg"
    Image.fromarray(np.ascontiguousarray(np.rot90(quarters()))).save(path, quality=95, exif=exif)
    data = path.read_bytes()
    at = data.index(struct.pack(">HH", 0x0100, 4) if b"MM\0*" in data else struct.pack("<HH", 0x0100, 4))
    path.write_bytes(
        data[: at + 2] + data[at + 2 : at + 4].replace(b"\4", b"\2") + data[at + 4 :]
    )  # a number, as a text
    close(load_image(path), quarters())


def test_exif_that_cannot_be_read_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "exif.png"
    note = PngImagePlugin.PngInfo()
    note.add_text("Raw profile type exif", "\nexif\n4\nno hexadecimal digits")
    Image.fromarray(quarters()).save(path, pnginfo=note)
    close(load_image(path), quarters())


def test_heic_with_the_extra_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingError, match=r"phone\.heic: HEIC needs an extra: \.venv/bin/pip install -e '\.\[heif\]'"):
        load_image(path)


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(Image.fromarray(quarters(64, 96))).save(path, quality=95)
    close(load_image(path), quarters(64, 96), 12)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".gif", ".avif"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_cut_off_files(tmp_path: Path, suffix: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, format={".jpg": "JPEG"}.get(suffix, suffix[1:].upper()))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(out.getvalue()[: int(part * len(out.getvalue()))])
    with pytest.raises(InputError, match=rf"cut\{suffix}: (damaged or cut off|not a picture)"):
        load_image(path)


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").symlink_to(tmp_path / "unplugged" / "0.jpg")
    with pytest.raises(InputError, match=r"0\.jpg: a link that leads nowhere"):
        load_image(tmp_path / "0.jpg")


@pytest.mark.skipif(os.name != "posix", reason="files that are none")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    def opened(*_: object) -> None:
        pytest.fail("a pipe would be waited for")

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(InputError, match=r"0\.jpg: is a pipe or a device, no regular file"):
        load_image(path)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_random_damage_never_ends_in_a_traceback(tmp_path: Path, suffix: str) -> None:
    out = io.BytesIO()
    Image.fromarray(quarters()).save(out, format=suffix)
    rng = np.random.default_rng(len(suffix))
    path = tmp_path / "damaged"
    for _ in range(60):
        data = bytearray(out.getvalue())
        for at in rng.integers(0, len(data), 4):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            assert load_image(path).shape[2] == 3
        except InputError as error:
            read = False
            message = str(error)
        else:
            read, message = True, ""
        assert read or message.startswith(str(path))


def png_header(width: int, height: int) -> bytes:
    """A PNG of that size by its own word, with next to nothing inside."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(13_000, 13_000), (60_000, 60_000), (2**30, 4)])
def test_decompression_bombs(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(InputError, match=r"has (\d+x\d+|far too many) pixels, more than 160 million; scale"):
        load_image(path)


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a photo at all", "utf-8")
    for name, message in (
        ("none.jpg", "no such file"),
        ("", "is a folder"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "not a picture that can be read"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert load_image(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]
