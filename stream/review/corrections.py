"""Who the tracks of a record are, by its verdicts and by what somebody who looks says since. Pure: nothing is read or
written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import NamedTuple

from engine.errors import UsageError
from engine.names import asked_name, same_person
from stream.frames import TrackVerdict
from stream.renaming import clash, renamed
from stream.takes import cast, unnamed_as
from stream.tracks import Tracks, with_names
from stream.whereabouts import Ground, Whereabouts
from stream.wording import clock


class NeedsConsent(UsageError):
    """Something that is done only if it is asked for twice.

    Args:
        words: why.
        consent: what has to be said for it to be done: `new`, `displace` or `replace`.
    """

    def __init__(self, words: str, consent: str) -> None:
        super().__init__(words)
        self.consent = consent


class Look(NamedTuple):
    """A face on a frame."""

    track: int
    frame: int
    """Its index."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Something that was said about tracks."""

    number: int
    """1, 2, 3 … of one review."""
    name: str | None
    """Who they are; None for someone unknown."""
    tracks: tuple[int, ...]
    displaced: tuple[int, ...] = ()
    """Tracks that were that person beside them, and are nobody now."""
    looks: tuple[Look, ...] = ()
    """What a gallery is to learn from it."""
    stranger: int | None = None
    """Which of the unknown they are together, where they are several."""

    @property
    def names(self) -> dict[int, str | None]:
        """What the tracks it is about are called after it."""
        return dict.fromkeys(self.displaced) | dict.fromkeys(self.tracks, self.name)


@dataclass(frozen=True, slots=True)
class History:
    """What was said of a record so far: enough for another process to go on from there."""

    original: Mapping[int, TrackVerdict] = field(default_factory=dict)
    """The verdicts on all tracks that anything was ever said of, as they were before that."""
    made: tuple[Correction, ...] = ()
    undone: tuple[Correction, ...] = ()
    """What was taken back and may be said again, the latest last."""


@dataclass(frozen=True, slots=True)
class Group:
    """One person, as far as the record knows."""

    label: str
    """A name, or `unknown 2`."""
    known: bool
    """Whether it is a name."""
    tracks: tuple[int, ...]


class Corrections:
    """The verdicts on a record's tracks with corrections made one after another.

    Args:
        record: as it was read, its faces bearing the final verdicts.
        people: names that are no surprise, besides those of the record.
        earlier: what was said of the record before, some of which it may hold by now.

    Example:
        >>> corrections = Corrections(record)                               # doctest: +SKIP
        >>> corrections.name([12], "Yena", new=True).number                 # doctest: +SKIP
        1
    """

    def __init__(self, record: Tracks, people: Sequence[str] = (), earlier: History | None = None) -> None:
        before = earlier or History()
        verdicts = record.verdicts | dict(before.original)
        self._original: Mapping[int, TrackVerdict] = MappingProxyType(verdicts)
        self._ground = Ground(record)
        self._people = tuple(people)
        self._made, self._undone = before.made, before.undone
        self._touched = set(before.original)
        """Tracks that anything was ever said of, also what can no longer be done again."""
        self._count = max((each.number for each in (*self._made, *self._undone)), default=0)
        self.record = record
        """The record as it is corrected by now."""
        if earlier is not None:
            self._apply()

    @property
    def verdicts(self) -> dict[int, TrackVerdict]:
        """The verdict on every track as it is now."""
        return self.record.verdicts

    @property
    def latest(self) -> Correction | None:
        """What would be undone next."""
        return self._made[-1] if self._made else None

    @property
    def undone(self) -> Correction | None:
        """What would be done again next."""
        return self._undone[-1] if self._undone else None

    @property
    def history(self) -> History:
        """All that was said, for `earlier`."""
        return History({track: self._original[track] for track in sorted(self._touched)}, self._made, self._undone)

    @property
    def lessons(self) -> dict[Look, str]:
        """What a gallery is to learn: faces, and who they are by what was said of their tracks last."""
        learned: dict[Look, str] = {}
        for made in self._made:
            names = made.names
            learned = {look: name for look, name in learned.items() if names.get(look.track, name) == name}
            learned.update((look, made.name) for look in made.looks if made.name is not None)
        return learned

    @property
    def people(self) -> tuple[str, ...]:
        """All names that are known, those of the gallery first."""
        return tuple(dict.fromkeys((*self._people, *cast(self.record, ()))))

    def groups(self) -> list[Group]:
        """Who is who: the tracks of everybody who is on a frame, in order of appearance."""
        found: dict[tuple[bool, str], list[int]] = {}
        for verdict in self.record.tracks:
            if verdict.track in self._ground:
                found.setdefault(_key(verdict), []).append(verdict.track)
        return [Group(label, known, tuple(tracks)) for (known, label), tracks in found.items()]

    def where(self) -> Whereabouts:
        """On which frames everybody is."""
        return self._ground.called(self.record.tracks)

    def group_of(self, track: int) -> Group:
        """The person that a track is.

        Raises:
            UsageError: there is no such track.
        """
        for group in self.groups():
            if track in group.tracks:
                return group
        raise UsageError(f"there is no track {track}")

    def name(
        self,
        tracks: Collection[int],
        name: str | None,
        *,
        new: bool = False,
        displace: bool = False,
        looks: Sequence[Look] = (),
    ) -> Correction:
        """Say who tracks are; None for someone unknown. What was undone before can no longer be done again.

        Args:
            tracks: one at least.
            name: as it is written in the record or the gallery, apart from upper and lower case.
            new: whether a name may be given that nobody has so far.
            displace: whether somebody else of that name beside them becomes unknown.
            looks: what a gallery is to learn from it, faces of these tracks.

        Raises:
            NeedsConsent: the name is new, or the person would be twice on a frame.
            UsageError: no such track, no name that can be given (`asked_name`), or it is known already.
        """
        verdicts = self.verdicts
        missing = sorted(set(tracks).difference(verdicts))
        if missing or not tracks:
            raise UsageError(f"there is no track {', '.join(map(str, missing)) or 'to name'}")
        if name is not None:
            own = {verdicts[track].name for track in tracks}
            rest = [verdict for track, verdict in verdicts.items() if track not in tracks]
            name = name if name in own else self._spelt(name, new=new, verdicts=rest)
        if looks and name is None:
            raise UsageError("there is nothing to learn of somebody unknown")
        if all(verdicts[track].name == name for track in tracks) and all(
            self.lessons.get(look) == name for look in looks
        ):
            raise UsageError(f"that is {name or 'somebody unknown'} already{', and learned' if looks else ''}")
        displaced: tuple[int, ...] = ()
        there = [self.record.frames[index] for index in self._ground.frames_of(tracks)]
        while (twice := clash(self.record, dict.fromkeys(displaced) | dict.fromkeys(tracks, name), there)) is not None:
            others = [track for track in twice.tracks if track not in tracks]
            when = clock(self.record.frames[twice.frame].time)
            if not others:
                raise UsageError(
                    f"tracks {' and '.join(map(str, twice.tracks))} are on one picture at {when}, so they cannot both "
                    f"be {twice.name}; name them one by one"
                )
            if not displace:
                raise NeedsConsent(
                    f"{twice.name} would be twice on the picture at {when}, the other time as track "
                    f"{' and '.join(map(str, others))}, who would be unknown then",
                    "displace",
                )
            displaced += tuple(others)
        self._count += 1
        stranger = self._stranger(tracks) if name is None and len(tracks) > 1 else None
        made = Correction(self._count, name, tuple(tracks), displaced, tuple(looks), stranger)
        self._made += (made,)
        self._undone = ()
        self._touched.update(made.names)
        self._apply()
        return made

    def forget(self, verdicts: Mapping[int, TrackVerdict]) -> None:
        """Begin anew from these verdicts on all tracks; nothing of what was said can be undone or done again."""
        self._original = MappingProxyType(dict(verdicts))
        self._made = self._undone = ()
        self._touched.clear()
        self._apply()

    def undo(self, number: int) -> Correction:
        """Take the latest correction back.

        Raises:
            UsageError: it is not the latest, or was taken back.
        """
        latest = self.latest
        if latest is None or latest.number != number:
            raise UsageError("that is not the latest correction; only the latest can be undone")
        self._made, self._undone = self._made[:-1], (*self._undone, latest)
        self._apply()
        return latest

    def redo(self, number: int) -> Correction:
        """Say again what was taken back last.

        Raises:
            UsageError: that is not it, or something else was said since.
        """
        undone = self.undone
        if undone is None or undone.number != number:
            raise UsageError("that is not what was taken back last; only that can be done again")
        self._made, self._undone = (*self._made, undone), self._undone[:-1]
        self._apply()
        return undone

    def _apply(self) -> None:
        verdicts = dict(self._original)
        for correction in self._made:
            strangers = dict.fromkeys(correction.tracks, correction.stranger)
            for track, name in correction.names.items():
                verdicts[track] = renamed(verdicts[track], name, strangers.get(track))
        # What is said of a track in the end counts, however it was called in between.
        for track, verdict in verdicts.items():
            original = self._original[track]
            if verdict.name == original.name and (verdict.name or verdict.stranger in (None, original.stranger)):
                verdicts[track] = original
        names = {v.track: verdicts[v.track].name for v in self.record.tracks if verdicts[v.track].name != v.name}
        frames = list(self.record.frames)
        for index in self._ground.frames_of(names):
            frames[index] = with_names([frames[index]], names)[0]
        self.record = replace(self.record, frames=tuple(frames), tracks=tuple(verdicts.values()))

    def _stranger(self, tracks: Collection[int]) -> int:
        """Which of the unknown these are together: whom the record took them all for, or somebody new."""
        original = {self._original[track].stranger for track in tracks}
        if len(original) == 1 and (number := original.pop()) is not None:
            return number
        said = [made.stranger for made in self._made if made.stranger is not None]
        return 1 + max([0, *said, *(v.stranger for v in self._original.values() if v.stranger is not None)])

    def _spelt(self, given: str, *, new: bool, verdicts: Sequence[TrackVerdict]) -> str:
        """A name as it is spelt in the gallery and on the tracks that stay as they are, of these `verdicts`."""
        name = asked_name(given)
        others = (*self._people, *self.record.header.people, *(v.name for v in verdicts if v.name is not None))
        if name in others:
            return name
        known = next((other for other in others if same_person(other, name)), None)
        if known is not None:
            return known
        if not new:
            near = get_close_matches(name, self.people, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise NeedsConsent(f"nobody is called {name} so far{hint}", "new")
        return name


def _key(verdict: TrackVerdict) -> tuple[bool, str]:
    """Who a track is, as `stream.takes.unnamed` calls people without a name."""
    if verdict.name is not None:
        return True, verdict.name
    return False, unnamed_as(verdict.track, verdict.stranger)
