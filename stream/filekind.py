"""Whether a file is a photo or a video, told from its contents."""

from __future__ import annotations

import os
from pathlib import Path

_PHOTOS = {"JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "TGA"}
"""Pillow's names of what counts as a photo; it opens some videos and documents as well."""
_STREAMS = (".mjpg", ".mjpeg")
"""A stream of JPEGs begins as one of them does; only its name tells."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
_MATROSKA = b"\x1a\x45\xdf\xa3"


def is_photo(path: str | Path) -> bool:
    """Whether a file holds one still picture; an animation is a video.

    What cannot be read at all is no photo: the video's reader then says what is wrong with it.
    """
    if not os.path.isfile(path) or Path(path).suffix.lower() in _STREAMS:
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(12)
        if head[4:8] == b"ftyp":
            return head[8:12] in _HEIF_BRANDS
        if head[:4] == _MATROSKA:
            return False
        return _is_picture(Path(path))
    except OSError:
        return False


def _is_picture(path: Path) -> bool:
    """What Pillow says, which is slow to import."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            still = not getattr(image, "is_animated", False) or image.format in ("MPO", "TIFF")
            return image.format in _PHOTOS and still
    except Image.DecompressionBombError:
        return True  # whoever reads photos says that it is too large
    except (SyntaxError, ValueError):
        return False
