"""What enrolment says about every photo and every person."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine.calibration import self_test
from engine.gallery import Gallery


@dataclass(frozen=True, slots=True)
class Skipped:
    """A photo that was not used, or not without a remark."""

    person: str
    """Empty where it lies in nobody's folder."""
    file: str
    """Relative to the folder of people."""
    reason: str


@dataclass(frozen=True, slots=True)
class PersonReport:
    """How one person came out. Distances are Euclidean between unit vectors, 0…2."""

    name: str
    photos: int
    """Used."""
    prototypes: int
    """How many vectors stand for the person."""
    medoid: str
    """The file of the most typical photo."""
    spread: float
    """Median distance from the medoid to the person's other photos; 0 with one photo."""
    nearest: str | None
    """The person whose prototype is closest; None for somebody alone."""
    distance: float | None
    """To that prototype."""
    too_close: bool
    """The distance is no larger than the larger of the two people's spreads: the other person is as near to
    somebody's prototype as half of their own photos are, so the two will be confused."""
    accept: float | None
    """Share of the person's photos that the others alone would name right; None with one photo."""


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What became of a folder of people."""

    people: tuple[PersonReport, ...]
    """Everybody in the gallery."""
    skipped: tuple[Skipped, ...]
    """Photos that could not be used, or are probably of somebody else, and why."""
    notes: tuple[Skipped, ...]
    """Photos that were used, but that somebody should look at."""
    left_out: tuple[str, ...]
    """People without a single usable photo; they are not in the gallery."""
    duplicates: tuple[tuple[str, ...], ...]
    """Files of the same picture in several people's folders."""
    gallery: Gallery = field(repr=False)

    @property
    def warnings(self) -> list[str]:
        """What somebody should act on, a sentence each: people too alike or unlike themselves, left out, duplicates."""
        found = [
            f"{p.name} and {p.nearest} are {p.distance:.2f} apart, closer than their spread; add clearer photos of both"
            for p in self.people
            if p.too_close and not self._said_before(p)
        ]
        found += [
            f"none of {p.name}'s {p.photos} photos would be named by the others: they seem to show several people; "
            "sort them out"
            for p in self.people
            if p.accept == 0
        ]
        found += [f"the same picture is in several people's folders: {', '.join(files)}" for files in self.duplicates]
        found += [f"{name} is left out: no usable photo" for name in self.left_out]
        return found

    def _said_before(self, person: PersonReport) -> bool:
        return any(
            p.too_close and p.nearest == person.name and p.name == person.nearest and p.name < person.name
            for p in self.people
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return gallery_dict(self.gallery, self.people) | {
            "skipped": [{"person": s.person, "file": s.file, "reason": s.reason} for s in self.skipped],
            "notes": [{"person": s.person, "file": s.file, "note": s.reason} for s in self.notes],
            "left_out": list(self.left_out),
            "duplicates": [list(files) for files in self.duplicates],
            "warnings": self.warnings,
        }


def describe(gallery: Gallery) -> tuple[PersonReport, ...]:
    """A line for everybody in a gallery."""
    tried = self_test(gallery)
    right, _ = tried.verdicts(gallery.threshold)
    whose = gallery.photo_owners[tried.rows]
    reports = []
    for n, (person, near) in enumerate(zip(gallery.persons, gallery.neighbours(), strict=True)):
        other = None if near is None else gallery.persons[near[0]]
        away = None if near is None else near[1]
        mine = whose == n
        reports.append(
            PersonReport(
                name=person.name,
                photos=len(person.photos),
                prototypes=int((gallery.owners == n).sum()),
                medoid=person.photos[person.medoid],
                spread=person.spread,
                nearest=other.name if other else None,
                distance=away,
                too_close=bool(other and away is not None and away <= max(person.spread, other.spread)),
                accept=float(right[mine].mean()) if len(person.photos) > 1 and mine.any() else None,
            )
        )
    return tuple(reports)


def gallery_dict(gallery: Gallery, people: tuple[PersonReport, ...]) -> dict[str, Any]:
    """A gallery in plain values for JSON; rates and distances to four digits."""
    return {
        "threshold": gallery.threshold,
        "calibration": {key: _short(value) for key, value in asdict(gallery.calibration).items()},
        "prototypes": gallery.method,
        "embedder": {"name": gallery.embedder, "sha256": gallery.embedder_sha256},
        "people": [{key: _short(value) for key, value in asdict(person).items()} for person in people],
    }


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def threshold_lines(gallery: Gallery) -> list[str]:
    """Where the threshold comes from and what it is expected to cost, in words."""
    c = gallery.calibration
    if c.source == "cohort":
        lines = [f"Threshold {gallery.threshold:.4f}: found for this gallery, for {_percent(c.far)} false accepts."]
        rates = [f"{_percent(c.cohort_far)} of people in general"]
        if c.own_far is not None:
            rates.append(f"{_percent(c.own_far)} of people like the enrolled ones")
        lines.append(f"Strangers' faces that would be given a name: about {', '.join(rates)}.")
    else:
        lines = [f"Threshold {gallery.threshold:.4f}: the embedder's own, not calibrated for this gallery."]
        if c.reason:
            lines.append(f"Why: {c.reason}")
        if c.own_far is not None:
            lines.append(f"Faces of people like the enrolled ones that would be given a name: {_percent(c.own_far)}.")
    if c.accept is not None:
        wrong = f", {_percent(c.wrong)} another person's" if c.wrong else ""
        lines.append(
            f"Enrolled photos that would be given their name, each left out in turn: {_percent(c.accept)}{wrong} "
            f"({c.photos} photos)."
        )
    return lines


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"
