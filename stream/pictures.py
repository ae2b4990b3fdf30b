"""Decoded pictures: copies to draw on, small RGB versions to look at, and sharp crops of a region."""

from __future__ import annotations

import av
from av.video.reformatter import VideoReformatter


def writable(picture: av.VideoFrame, pixel_format: str | None = None) -> av.VideoFrame:
    """The picture, safe to draw on.

    A decoder goes on reading the frames it has given out, to predict later ones from them. Frames that it still holds
    are copied (planes only; time, colour and side data stay); frames that nobody else holds are not. The given object
    itself becomes writable and is returned, unless `pixel_format` asks for another one.
    """
    if pixel_format is not None and picture.format.name != pixel_format:
        return convert(picture, pixel_format)
    picture.make_writable()
    return picture


def convert(
    picture: av.VideoFrame, pixel_format: str, width: int | None = None, height: int | None = None
) -> av.VideoFrame:
    """The picture in another pixel format, the same object if it is in it already."""
    width, height = width or picture.width, height or picture.height
    if (picture.format.name, picture.width, picture.height) == (pixel_format, width, height):
        return picture
    return VideoReformatter().reformat(picture, width, height, pixel_format, threads=1)
