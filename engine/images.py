"""Reading pictures as people have them."""

from __future__ import annotations

import stat
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from engine.errors import InputError, IznetError, MissingError
from engine.wording import install

MAX_PIXELS = 160_000_000
"""More than any camera gives; beyond it a few kilobytes of file could fill the memory."""

_HEIF = {".heic", ".heif", ".hif"}
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".mpo"}
    | _HEIF
)
"""Endings of picture files, in lower case. `load_image` goes by the contents; this only tells a photo from a video."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright; 1 is."""


def load_image(path: Path | str) -> NDArray[np.uint8]:
    """A picture file as it is meant to be looked at.

    Takes what Pillow takes (JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF …) in any colour mode, and HEIC where the extra
    `heif` is installed. EXIF orientation is applied, transparency is laid on white, 16 bits become 8, and of an
    animation the first frame is taken.

    Returns:
        uint8 `[H,W,3]` RGB.

    Raises:
        InputError: missing, a folder, no regular file, empty, no picture, damaged, or larger than `MAX_PIXELS`.
        MissingError: HEIC without the extra.

    Example:
        >>> load_image("photo.jpg").shape  # doctest: +SKIP
        (3024, 4032, 3)
    """
    path = Path(path)
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # reading a pipe could wait for ever
            raise InputError(f"{path}: is a pipe or a device, no regular file; copy the picture into one")
        with path.open("rb") as file:
            head = file.read(32)
    except FileNotFoundError:
        lost = "a link that leads nowhere; point it to a picture" if path.is_symlink() else "no such file"
        raise InputError(f"{path}: {lost}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a picture") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not head:
        raise InputError(f"{path}: is empty (0 bytes); copy it again from where it came")
    if _is_heif(head):
        _enable_heif(path)
    try:
        with warnings.catch_warnings():
            # The size is checked here; what Pillow thinks of metadata and of big pictures helps nobody.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(_too_large(path, f"{image.width}x{image.height}"))
                image.seek(0)
                image.load()
                return _rgb(upright(image))
    except IznetError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a picture that can be read; save it as JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise InputError(_too_large(path, "far too many")) from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; scale it down") from None
    except Exception as error:  # at damaged files every decoder of Pillow's raises what it likes
        raise InputError(f"{path}: damaged or cut off ({error or type(error).__name__})") from error


def _too_large(path: Path, size: str) -> str:
    return f"{path}: has {size} pixels, more than {MAX_PIXELS // 1_000_000} million; scale it down"


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in (
        b"heic",
        b"heix",
        b"hevc",
        b"hevx",
        b"heim",
        b"heis",
        b"mif1",
        b"msf1",
    )


def _enable_heif(path: Path) -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise MissingError(f"{path}: HEIC needs an extra: {install('heif')}; or save the photo as JPEG") from None
    register_heif_opener()


def upright(image: Image.Image) -> Image.Image:
    """A picture as its EXIF says that it is meant to be looked at. Pillow's own way writes the EXIF anew, which fails
    where some other tag of it makes no sense."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # metadata that cannot be read says nothing; the picture is none the worse for it
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return np.array(image.convert("RGB"))


def _from_deep(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """16-bit and float grey, brought to 8 bits."""
    values: NDArray[np.float32] = np.nan_to_num(grey.astype(np.float32))
    largest = float(values.max(initial=0))
    if grey.dtype.kind != "f":
        values = values / np.float32(257 if largest > 255 else 1)
    elif largest <= 1:  # floats are written as 0…1 or as 0…255
        values = values * np.float32(255)
    return np.repeat(np.clip(values.round(), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
