"""Correcting a record: who a track is, on its frame lines, in its verdict and in the summary.

    rename("mv.tracks.jsonl", {12: "Yuri", 15: None}, strangers={2: "Karl"})

Lines are changed as JSON, so what a newer minor version added to them stays.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.errors import UsageError
from engine.names import asked_name, same_person
from engine.output_file import atomic_output, begin_output, check_output
from stream.frames import TrackVerdict
from stream.record_lock import held
from stream.takes import cast, seen
from stream.tracklines import Summary
from stream.tracklines import encode as line
from stream.tracks import RecordedFrame, Tracks, line_bytes, read, with_names

Change = Callable[[dict[str, Any]], None]
"""Alters one line of a record in place."""

NOBODY_NUMBERED = "it numbers nobody, since it was made without a gallery, or everybody has a name or had one"
"""Why no unknown person of a record has a number."""


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
    strangers: Mapping[int, str | None] = MappingProxyType({}),
    new: bool = False,
    overwrite: bool = False,
) -> Renamed:
    """Say who tracks are.

    Args:
        source: the record.
        names: for each track a name, or None for someone unknown.
        output: where the corrected record goes; None corrects it in place, and keeps it as it was as `NAME.bak`, unless
            an earlier correction did so.
        strangers: the same for unknown people by the record's numbers: for all of their tracks but those in `names`.
        new: whether names may be given that neither the gallery nor the record holds.
        overwrite: whether `output` may be replaced.

    Raises:
        UsageError: there is no such track, unknown person or name, or one person would be twice on a frame; nothing is
            changed.
        InputError: the record cannot be read.
        OutputError: the output exists or cannot be written, or what would be changed is open in a review or
            being changed.

    Example:
        >>> rename("mv.tracks.jsonl", {12: "Yuri"}).changed             # doctest: +SKIP
        {12: (None, 'Yuri')}
    """
    path = Path(source)
    with held(path if output is None else output):
        record = read(path)
        if output is not None:
            check_output(Path(output), overwrite, [path, record.header.path])
        before = record.verdicts
        known = cast(record)
        given = {
            track: name if name is None or name in known else asked_name(name)
            for track, name in _by_track(path, record, names, strangers).items()
        }
        _check(path, record, given, new)
        verdicts = {track: renamed(before[track], name) for track, name in given.items()}
        return correct(path, record, verdicts, output, overwrite=overwrite)


def _by_track(
    path: Path, record: Tracks, names: Mapping[int, str | None], strangers: Mapping[int, str | None]
) -> dict[int, str | None]:
    """The names that tracks get.

    Raises:
        UsageError: the record has no unknown person of such a number.
    """
    tracks = record.strangers
    missing = sorted(set(strangers).difference(tracks))
    if missing:
        there = f"its unknown people are {', '.join(map(str, sorted(tracks)))}"
        there = there if tracks else f"{NOBODY_NUMBERED}: name its tracks, such as 12=Yuri"
        raise UsageError(f"{path} has no unknown {', '.join(map(str, missing))}; {there}")
    return {track: name for number, name in strangers.items() for track in tracks[number]} | dict(names)


def renamed(verdict: TrackVerdict, name: str | None, stranger: int | None = None) -> TrackVerdict:
    """The verdict on a track where somebody says who it is; None for someone unknown, and which of them, if that is
    said too."""
    if name is None:
        number = verdict.stranger if stranger is None else stranger
        return replace(verdict, verdict="unknown", name=None, stranger=number)
    similarity = verdict.similarity if name == verdict.name else None  # what was measured was another person's
    return replace(verdict, verdict="named", name=name, similarity=similarity, stranger=None)


def correct(
    path: Path,
    record: Tracks,
    verdicts: Mapping[int, TrackVerdict],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
) -> Renamed:
    """Write other verdicts on some tracks, and what follows from them, into the record `path`, read as `record`.

    Raises:
        OutputError: as `rename`.
    """
    target = path if output is None else Path(output)
    before = {verdict.track: verdict.name for verdict in record.tracks}
    names = {track: verdict.name for track, verdict in verdicts.items()}
    people = seen(with_names(record.frames, before | names), record.header)

    def change(data: dict[str, Any]) -> None:
        if data["type"] == "track" and data["track"] in verdicts:
            data.pop("stranger", None)
            data |= line(verdicts[data["track"]])
        _show(data, names)
        if data["type"] == "summary":
            data["people"] = line(Summary(0, people=people))["people"]

    backup = None
    if output is None:
        backup = path.with_name(path.name + ".bak")
        if not backup.exists():
            with atomic_output(backup) as copy:
                begin_output(copy, path)  # nobody may read it who may not read the record
                shutil.copyfile(path, copy)
            shutil.copymode(path, backup)
    _rewrite(path, target, change, overwrite=overwrite or output is None)
    return Renamed(target, backup, {track: (before[track], name) for track, name in names.items()})


def settle(path: str | os.PathLike[str]) -> Tracks:
    """Put the final verdicts on a record's frame lines, for a copy that is drawn with them; and read it."""
    record = read(Path(path), drawn=True)
    names = {verdict.track: verdict.name for verdict in record.tracks}
    if all(names[face.track] == face.name for frame in record.frames for face in frame.faces):
        return record
    _rewrite(Path(path), Path(path), lambda data: _show(data, names), overwrite=True)
    return replace(record, frames=tuple(with_names(record.frames, names)))


def _show(data: dict[str, Any], names: Mapping[int, str | None]) -> None:
    if data["type"] == "frame":
        for face in data["faces"]:
            face["name"] = names.get(face["track"], face["name"])


def _rewrite(source: Path, target: Path, change: Change, *, overwrite: bool) -> None:
    """Write the lines of `source`, each changed, to `target`, which is there as a whole or not at all."""
    with source.open("rb") as lines, atomic_output(target, overwrite) as temporary, temporary.open("wb") as file:
        for raw in filter(bytes.strip, lines):
            data = json.loads(raw)
            change(data)
            file.write(line_bytes(data))


@dataclass(frozen=True, slots=True)
class Clash:
    """One person twice on a frame."""

    name: str
    frame: int
    """Index of the first such frame."""
    tracks: tuple[int, ...]
    """All that are the person there."""


def clash(
    record: Tracks, names: Mapping[int, str | None], frames: Iterable[RecordedFrame] | None = None
) -> Clash | None:
    """Who would be twice on a frame if these tracks were called so; None if nobody. `frames` are those that the tracks
    are on, where they are at hand."""
    after = {verdict.track: verdict.name for verdict in record.tracks} | dict(names)
    for frame in record.frames if frames is None else frames:
        on = Counter(after.get(face.track) for face in frame.faces)
        for face in frame.faces:
            name = after.get(face.track)
            if face.track in names and name is not None and on[name] > 1:
                twice = sorted({other.track for other in frame.faces if after.get(other.track) == name})
                return Clash(name, frame.index, tuple(twice))
    return None


def _check(path: Path, record: Tracks, names: Mapping[int, str | None], new: bool) -> None:
    before = {verdict.track for verdict in record.tracks}
    missing = sorted(set(names).difference(before))
    if missing:
        there = f"0 to {max(before)}" if before else "none"
        raise UsageError(f"{path} has no track {', '.join(map(str, missing))}; its tracks are {there}")
    known = cast(record)
    for name in dict.fromkeys(names.values()):
        written = next((other for other in known if name is not None and same_person(name, other)), name)
        if written != name:
            raise UsageError(f"{name!r} is written {written!r} in {path}; write it so, as that is one person")
        if name is not None and name not in known and not new:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}."
            raise UsageError(f"nobody is called {name!r} in {path}; {hint} To name somebody new, add --new")
    twice = clash(record, names)
    if twice is not None:
        raise UsageError(
            f"{twice.name!r} would be twice on frame {twice.frame} of {path}, as tracks "
            f"{' and '.join(map(str, twice.tracks))}; say who the other one is as well"
        )
