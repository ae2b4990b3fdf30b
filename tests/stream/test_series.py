"""Pictures given in place of a video: refused with the command that makes a video of them, which works."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError
from stream.bench.costs import ffmpeg_program
from stream.source import FileSource
from tests.stream.media import read


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        FileSource(path)
    return str(caught.value)


def series(folder: Path, ending: str = ".jpg", first: int = 8) -> Path:
    """Three pictures of odd size, each lighter than the one before; and what is none."""
    folder.mkdir()
    for n in range(3):
        Image.fromarray(np.full((35, 65, 3), 60 + 60 * n, np.uint8)).save(folder / f"{first + n:04d}{ending}")
    (folder / "notes.txt").write_text("three pictures", "utf-8")
    return folder


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no ffmpeg program: iznet[bench]")
@pytest.mark.parametrize(
    ("name", "ending"),
    [("", ".png"), ("", ".jfif"), ("%04d.jpg", ".jpg"), ("%d.webp", ".webp"), ("*.TIF", ".TIF"), ("10*.bmp", ".bmp")],
)
def test_the_command_makes_a_video_of_them(tmp_path: Path, name: str, ending: str) -> None:
    place = series(tmp_path / "my [series] at 100%", ending, first=1008) / name
    message = refused(place)
    assert message.startswith(str(place))
    _, command = message.rsplit(": ", 1)
    _, *options = shlex.split(command)
    subprocess.run([ffmpeg_program(), "-v", "error", *options], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    pictures = read(tmp_path / "series.mkv").pictures
    assert len(pictures) == 3


def test_a_folder_of_photos_says_what_can_be_done_with_them(tmp_path: Path) -> None:
    assert "is a folder with 3 pictures, not a video; label photos one at a time, or" in refused(series(tmp_path / "s"))


def test_where_ffmpeg_reads_no_series_of_such_pictures_none_is_advised(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", ".gif")
    assert refused(folder).endswith("is a folder with 3 pictures, not a video; label photos one at a time")
    assert "no such file" in refused(folder / "*.gif")


@pytest.mark.parametrize("name", ["%04d.png", "b%04d.jpg", "*.png", "b*.jpg", "**", "11.jpg", "none/%04d.jpg"])
def test_patterns_that_nothing_is_called_by_are_missing_files(tmp_path: Path, name: str) -> None:
    assert "no such file; check the spelling" in refused(series(tmp_path / "s") / name)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    assert "is a folder, not a video; give the file inside it" in refused(tmp_path)
