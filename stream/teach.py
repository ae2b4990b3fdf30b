"""From a record to photos: the faces of a track, cut out so that somebody new can be enrolled from them."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import av
from PIL import Image

from engine.errors import InputError, UsageError
from engine.images import load_image
from engine.output_file import check_spared
from stream.cuttings import Sight, choose, cut, cut_out
from stream.filekind import is_photo
from stream.frames import Frame
from stream.origin import check_belongs, video_of
from stream.photo import photo_info
from stream.renaming import NOBODY_NUMBERED
from stream.source import FileSource
from stream.tracks import Tracks, read

PHOTOS = 12
"""Faces that are taken, spread over the tracks' time."""
ROOM = 2.2
"""Side of a photo in longer sides of the face's box: enough around it to be found again."""


def photos_of(
    tracks: str | os.PathLike[str],
    folder: Path,
    *,
    track: Collection[int] = (),
    stranger: int | None = None,
    video: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write the clearest faces of some tracks as PNG files into `folder`, named after video and second.

    Args:
        tracks: the record, of a video or a photo.
        folder: exists, and is written to.
        track: the tracks that are the person.
        stranger: or the number that the record gave an unknown person.
        video: what the record was made of; None looks where the record says, then beside it.
        output: what is to be made of the photos later.

    Raises:
        UsageError: no such track or number.
        InputError: no such video, or one that the record was not made of.
        OutputError: `output` is the record or the video.

    Example:
        >>> photos_of("mv.tracks.jsonl", Path("yena"), track={12})    # doctest: +SKIP
        [PosixPath('yena/mv at 12.480 s.png'), …]
    """
    record = read(Path(tracks))
    numbers = _tracks_of(record, tracks, track, stranger)
    sights = [Sight(frame, face) for frame in record.frames for face in frame.faces if face.track in numbers]
    if not sights:
        raise InputError(f"{os.fspath(tracks)}: track {', '.join(map(str, sorted(numbers)))} is on no frame")
    chosen = choose(sights, PHOTOS)
    path = video_of(record, tracks, video)
    if output is not None:
        check_spared(output, [tracks, path])
    if is_photo(path):
        rgb = load_image(path)
        info = photo_info(path, rgb)
        check_belongs(record, tracks, info)
        frame = Frame(av.VideoFrame.from_ndarray(rgb, "rgb24"), 0, 0, info.time_base)
        cuttings = [cut(frame, sight.face, info, ROOM) for sight in chosen]
    else:
        with FileSource(path) as source:
            check_belongs(record, tracks, source.info)
            (cuttings,) = cut_out(source, [chosen], ROOM)
    written = []
    for sight, rgb in zip(chosen, cuttings, strict=True):
        target = folder / f"{path.stem[:60]} at {sight.frame.time:.3f} s.png"
        Image.fromarray(rgb).save(target)
        written.append(target)
    return written


def _tracks_of(
    record: Tracks, path: str | os.PathLike[str], track: Collection[int], stranger: int | None
) -> frozenset[int]:
    if stranger is None:
        known = {verdict.track for verdict in record.tracks}
        absent = sorted(set(track) - known)
        if absent or not track:
            raise UsageError(f"{os.fspath(path)} has no track {', '.join(map(str, absent)) or '(none was named)'}")
        return frozenset(track)
    strangers = record.strangers
    if stranger not in strangers:
        there = f"its unknown people are {', '.join(map(str, sorted(strangers)))}"
        there = there if strangers else f"{NOBODY_NUMBERED}: say which with --track"
        raise UsageError(f"{os.fspath(path)} has no unknown {stranger}; {there}")
    return frozenset(strangers[stranger])
