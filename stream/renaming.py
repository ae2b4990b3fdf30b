"""Correcting a record: who a track is, on its frame lines, in its verdict and in the summary.

    rename("mv.tracks.jsonl", {12: "Yuri", 15: None})

Lines are changed as JSON, so what a newer minor version added to them stays.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from engine.errors import InputError
from stream.journal import writing
from stream.sink import atomic_output, check_output
from stream.takes import cast, seen
from stream.tracklines import Summary
from stream.tracklines import encode as line
from stream.tracks import Tracks, line_bytes, read, with_names

Change = Callable[[dict[str, Any]], None]
"""Alters one line of a record in place."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """What came of it."""

    record: Path
    """The corrected record."""
    backup: Path | None
    """The record as it was before it was ever corrected in place."""
    changed: Mapping[int, tuple[str | None, str | None]]
    """The tracks: who they were and who they are now."""


def rename(
    source: str | os.PathLike[str],
    names: Mapping[int, str | None],
    output: str | os.PathLike[str] | None = None,
    *,
    new: bool = False,
    overwrite: bool = False,
) -> Renamed:
    """Say who tracks are.

    Args:
        source: the record.
        names: for each track a name, or None for someone unknown.
        output: where the corrected record goes; None corrects it in place, and keeps it as it was as `NAME.bak`, unless
            an earlier correction did so.
        new: whether names may be given that neither the gallery nor the record holds.
        overwrite: whether `output` may be replaced.

    Raises:
        InputError: the record cannot be read, there is no such track or name, or one person would be twice on a frame;
            nothing is changed.
        OutputError: the output exists or cannot be written.

    Example:
        >>> rename("mv.tracks.jsonl", {12: "Yuri"}).changed             # doctest: +SKIP
        {12: (None, 'Yuri')}
    """
    path = Path(source)
    target = path if output is None else Path(output)
    if output is not None:
        check_output(target, overwrite, [path])
    drawn, record = read(path, drawn=True), read(path)
    before = {v.track: v.name for v in record.tracks}
    _check(path, record, before, names, new)
    after = before | dict(names)
    people = seen(with_names(record.frames, after), record.header.time_base)
    shown = {face.track: names[face.track] for frame in drawn.frames for face in frame.faces if face.track in names}

    def change(data: dict[str, Any]) -> None:
        if data["type"] == "track" and data["track"] in names:
            name = names[data["track"]]
            data["verdict"], data["name"] = "unknown" if name is None else "named", name
            if name is not None:
                data.pop("stranger", None)
            if name is not None and name != before[data["track"]]:
                data["similarity"] = None  # what was measured was another person's
        _show(data, shown)
        if data["type"] == "summary":
            data["people"] = line(Summary(0, people=people))["people"]

    backup = None
    if output is None:
        backup = path.with_name(path.name + ".bak")
        if not backup.exists():
            with atomic_output(backup) as copy, writing(backup):
                shutil.copyfile(path, copy)
    _rewrite(path, target, change, overwrite=overwrite or output is None)
    return Renamed(target, backup, {track: (before[track], name) for track, name in names.items()})


def settle(path: str | os.PathLike[str]) -> Tracks:
    """Put the final verdicts on a record's frame lines, for a copy that is drawn with them; and read it."""
    record = read(Path(path))
    shown = {face.track: face.name for frame in record.frames for face in frame.faces}
    _rewrite(Path(path), Path(path), lambda data: _show(data, shown), overwrite=True)
    return record


def _show(data: dict[str, Any], names: Mapping[int, str | None]) -> None:
    if data["type"] == "frame":
        for face in data["faces"]:
            face["name"] = names.get(face["track"], face["name"])


def _rewrite(source: Path, target: Path, change: Change, *, overwrite: bool) -> None:
    """Write the lines of `source`, each changed, to `target`, which is there as a whole or not at all."""
    with source.open("rb") as lines, atomic_output(target, overwrite) as temporary, temporary.open("wb") as file:
        for raw in lines:
            data = json.loads(raw)
            change(data)
            file.write(line_bytes(data))


def _check(
    path: Path, record: Tracks, before: Mapping[int, str | None], names: Mapping[int, str | None], new: bool
) -> None:
    missing = sorted(set(names).difference(before))
    if missing:
        there = f"0 to {max(before)}" if before else "none"
        raise InputError(f"{path} has no track {', '.join(map(str, missing))}; its tracks are {there}")
    known = cast(record)
    for name in dict.fromkeys(names.values()):
        if name is not None and name not in known and not new:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'};"
            raise InputError(f"nobody is called {name!r} in {path}; {hint} To name somebody new, add --new")
    after = dict(before) | dict(names)
    for frame in record.frames:
        on = Counter(after.get(face.track) for face in frame.faces)
        for face in frame.faces:
            name = after.get(face.track)
            if face.track in names and name is not None and on[name] > 1:
                twice = sorted({other.track for other in frame.faces if after.get(other.track) == name})
                raise InputError(
                    f"{name!r} would be twice on frame {frame.index} of {path}, as tracks "
                    f"{' and '.join(map(str, twice))}; say who the other one is as well"
                )
