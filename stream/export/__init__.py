"""Records in other people's formats, one a file; the ending of the output chooses.

    convert("mv.tracks.jsonl", "mv.fcpxml")

Every format is a module with `encode(record, video) -> bytes`, a pure function of the record, whose faces bear the
final verdicts on their tracks, and of the place of the video it speaks of. An empty record gives a valid, empty file.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Protocol, cast

from engine.errors import MissingError, UsageError
from engine.output_file import check_output, write_output
from engine.wording import install
from stream.origin import found_again
from stream.tracks import Tracks, read

FORMATS = {
    ".json": "document",
    ".csv": "table",
    ".parquet": "parquet",
    ".txt": "mot",
    ".coco.json": "coco",
    ".vtt": "chapters",
    ".metadata.vtt": "cues",
    ".ass": "ass",
    ".fcpxml": "fcpxml",
    ".edl": "edl",
    ".otio": "otio",
}
"""File endings, and the module of this package that writes each."""

_LIBRARIES = {"parquet": "pyarrow", "otio": "opentimelineio"}


class Exporter(Protocol):
    """What a module of this package offers."""

    def encode(self, record: Tracks, video: Path) -> bytes:
        """The whole file; `video` is the absolute path of the video, whether or not it is there."""


def convert(source: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a record in the format that the output's ending stands for.

    Raises:
        UsageError: an ending that stands for no format.
        MissingError: the library for the format is not installed.
        InputError: the record cannot be read, or the format cannot hold it.
        OutputError: the output exists or cannot be written.

    Example:
        >>> convert("mv.tracks.jsonl", "mv.edl")    # doctest: +SKIP
        PosixPath('mv.edl')
    """
    exporter = exporter_for(output)
    check_output(output, overwrite, [source])
    record = read(Path(source))
    video = found_again(record, source) or Path(record.header.path)
    data = exporter.encode(record, video.absolute())
    write_output(output, data, overwrite)
    return Path(output)


def exporter_for(output: str | os.PathLike[str]) -> Exporter:
    """The module for the longest ending that fits.

    Raises:
        UsageError: none does.
        MissingError: its library is not installed.
    """
    name = Path(output).name.lower()
    endings = [ending for ending in FORMATS if name.endswith(ending)]
    if not endings:
        raise UsageError(f"{os.fspath(output)}: the ending stands for no format; use one of {', '.join(FORMATS)}")
    module = FORMATS[max(endings, key=len)]
    library = _LIBRARIES.get(module)
    if library is not None and importlib.util.find_spec(library) is None:
        raise MissingError(
            f"{os.fspath(output)}: writing this needs the Python package {library}; install with: {install('export')}"
        )
    return cast(Exporter, importlib.import_module(f"{__name__}.{module}"))
