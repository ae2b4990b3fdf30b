"""Names read off the pictures of a finished copy, beside the faces they belong to: what was drawn, not what the record
says was drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.enrolment import enroll
from engine.gallery import Gallery
from stream.accuracy import read_panels
from stream.encoding import EncoderSettings
from stream.label import label_video
from stream.overlay import text_size_of
from stream.renaming import rename
from stream.render import render_video
from stream.tracks import read
from tests import networks
from tests.stream.test_label import CUT, STRANGER, clip, face_at, gallery  # noqa: F401 - the last two are fixtures

SURE = 0.7
"""Correlation from which a name is there; another name of the same length stays under it."""
FAST = EncoderSettings("x264", "ultrafast", 20)
RGB = NDArray[np.uint8]
Box = tuple[float, float, float, float]


def typeset(name: str, size: int) -> NDArray[np.uint8]:
    """The name as OpenCV sets it, white on black."""
    canvas = np.zeros((3 * size, 12 * size), np.uint8)
    cv2.putText(canvas, name, (size, 2 * size), (255,), cv2.FontFace("sans"), size, 600)
    rows, columns = np.flatnonzero(canvas.any(1)), np.flatnonzero(canvas.any(0))
    return canvas[rows[0] - 2 : rows[-1] + 3, columns[0] - 2 : columns[-1] + 3]


def name_beside(rgb: RGB, box: Box, names: Iterable[str]) -> str | None:
    """Whose name stands right above, below or inside a face's box; None where no name does."""
    size = text_size_of(rgb.shape[1], rgb.shape[0])
    left, top, right, bottom = (round(v) for v in box)
    region = rgb[
        max(0, top - 2 * size) : bottom + 2 * size, max(0, min(left, right - 8 * size)) : max(right, left + 8 * size)
    ]
    green = np.ascontiguousarray(region[..., 1])  # white text stands out of the red plate in green
    found = {}
    for name in names:
        raster = typeset(name, size)
        if raster.shape[0] <= green.shape[0] and raster.shape[1] <= green.shape[1]:
            found[name] = float(cv2.matchTemplate(green, raster, cv2.TM_CCOEFF_NORMED).max())
    best = max(found, key=lambda name: found[name])
    return best if found[best] > SURE else None


def pictures(path: Path, every: int) -> Iterator[tuple[int, RGB]]:
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == 0:
                yield index, np.asarray(frame.to_ndarray(format="rgb24"))


def true_name(colour: tuple[int, int, int]) -> str | None:
    names = {colour: name for name, colour in networks.PEOPLE.items() if colour != STRANGER}
    return names.get(colour)


def test_the_names_on_the_pictures_are_the_peoples(
    clip: Path,  # noqa: F811
    gallery: Gallery,  # noqa: F811
    detector: Detector,
    embedder: Embedder,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.mkv"
    label_video(clip, out, gallery=gallery, detector=detector, embedder=embedder, encoder=FAST)
    for index, rgb in pictures(out, 3):
        for box, colour in face_at(index):
            assert name_beside(rgb, box, ("ann", "ben", "cho")) == true_name(colour), index

    # And a wrong name does not pass for the right one.
    wrong = tmp_path / "wrong.tracks.jsonl"
    record = read(tmp_path / "out.tracks.jsonl")
    swapped = {"ann": "ben", "ben": "cho"}
    rename(
        tmp_path / "out.tracks.jsonl",
        {verdict.track: swapped[verdict.name] for verdict in record.tracks if verdict.name is not None},
        wrong,
    )
    render_video(clip, wrong, out, encoder=FAST, overwrite=True)
    for index, rgb in pictures(out, 7):
        box, _ = face_at(index)[0]
        assert name_beside(rgb, box, ("ann", "ben", "cho")) == ("ben" if index < CUT else "cho"), index


def first_frames(source: Path, target: Path, count: int) -> Path:
    """The beginning of a video, its packets as they are."""
    with av.open(str(source)) as video, av.open(str(target), "w") as copy:
        stream = video.streams.video[0]
        out = copy.add_stream_from_template(stream)
        for number, packet in enumerate(video.demux(stream)):
            if not packet.size or number >= count:
                break
            packet.stream = out
            copy.mux(packet)
    return target


def test_the_names_on_an_edited_music_video(
    shared_data: Path, shipped_detector: Detector, shipped_embedder: Embedder, tmp_path: Path
) -> None:
    """The first shots of the montage: three people at once, tints, flashes, fades, and two strangers."""
    folder = shared_data / "clips" / "montage"
    shots = [shot for shot in read_panels(folder / "truth.json") if shot.last < 496]
    assert any(not panel.known for shot in shots for panel in shot.panels)
    people = json.loads((folder / "truth.json").read_text("utf-8"))["people"]
    known = enroll(folder / "people", shipped_detector, shipped_embedder).gallery
    video = first_frames(folder / "montage.mp4", tmp_path / "mv.mp4", shots[-1].last + 1)
    out = tmp_path / "out.mp4"
    label_video(video, out, gallery=known, detector=shipped_detector, embedder=shipped_embedder, encoder=FAST)
    record = read(tmp_path / "out.tracks.jsonl")
    judged = 0
    for index, rgb in pictures(out, 9):
        panels = next((shot.panels for shot in shots if shot.first <= index <= shot.last), ())
        for panel in panels:
            faces = [face for face in record.frames[index].faces if panel.holds(face.box)]
            assert faces, (index, panel)
            x1, y1, x2, y2 = faces[0].box.tolist()
            assert name_beside(rgb, (x1, y1, x2, y2), people) == (panel.person if panel.known else None), (index, panel)
            judged += 1
    assert judged > 90
