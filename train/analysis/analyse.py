"""The whole analysis of a set of embeddings: figures for the JSON, pictures for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.metrics import OpenSet
from engine.prototypes import METHODS, Method
from train.analysis import fonts, plots, tsne
from train.analysis.distances import Spread, medoid_table, medoids, spreads
from train.analysis.people import TRAIN, EmbeddedPeople, divide
from train.analysis.recognition import FARS, Naming, Rate, Verification, closest_group, name_photos, verify
from train.snapshots import Snapshot

SHOWN = 24
"""People in the pictures, at most: those with the most photos. The figures are of all."""
OPEN_FARS = (0.01, 0.05)
CURVE_POINTS = 200
"""Of a curve in the JSON, at most."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to analyse; see `iznet analyse --help`."""

    photos_each: int = 10
    draws: int = 20
    perplexity: float = tsne.PERPLEXITY
    iterations: int = tsne.ITERATIONS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PlotSequence:
    """Maps of the same photos at several moments of a training."""

    title: str
    maps: tuple[tuple[str, NDArray[np.float32]], ...]
    people: EmbeddedPeople


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything the report shows."""

    source: str
    embedder: str
    people: EmbeddedPeople
    naming: dict[Method, Naming]
    verification: Verification
    curve: OpenSet
    spreads: list[Spread]
    table: NDArray[np.float64]
    """`[P,P]` Euclidean distances between medoids."""
    group: tuple[int, ...]
    """The closest people, or those that were named."""
    map: tsne.Map
    sequence: PlotSequence | None
    how: str
    """How photos were divided, in words."""
    notes: tuple[str, ...] = field(default=())

    @property
    def shown(self) -> tuple[int, ...]:
        """The people in the pictures, in order of their names: the closest ones and those with the most photos."""
        sizes = np.bincount(self.people.labels, minlength=len(self.people.names)).astype(float)
        sizes[list(self.group)] = np.inf
        order = np.argsort(-sizes, kind="stable")
        return tuple(sorted(int(n) for n in order[:SHOWN]))


def analyse(
    people: EmbeddedPeople,
    source: str,
    embedder: str,
    settings: Settings = Settings(),
    *,
    group: tuple[int, ...] | None = None,
    snapshots: Sequence[Snapshot] = (),
    notes: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Analysis:
    """Measure and draw `people`.

    Args:
        people: at least two, with two photos or more each.
        source: what they are, for the title.
        embedder: the network's name.
        settings: how.
        group: look-alikes whose confusion is told separately; None finds the three whose medoids are closest.
        snapshots: of a training, for the sequence of plots.
        notes: that belong into the report.
        say: is told what happens next.

    Raises:
        InputError: too few people or photos.
    """
    divisions = divide(people, settings.photos_each, settings.draws, settings.seed)
    count = len(people.names)
    if count < 2:
        raise InputError(f"{source}: an analysis compares at least two people, there is {count}")
    say("naming")
    naming = {method: name_photos(people, divisions, method) for method in METHODS}
    split = TRAIN in people.splits
    if split:
        probes = people.select(divisions[0].probes)
        how = (
            f"People are enrolled with their train photos ({len(divisions[0].enrolled)}) and named on the others "
            f"({len(divisions[0].probes)}); verification is over all pairs of the latter."
        )
    else:
        probes = people
        how = (
            f"{settings.draws} times, up to {settings.photos_each} photos of everybody are drawn to enrol (never more "
            f"than half of a person's), and the others are named; verification is over all pairs of photos."
        )
    say("verification")
    try:
        verification = verify(probes, seed=settings.seed)
    except ValueError:
        raise InputError(
            f"{source}: the photos to be named hold no two of one person, or of one person only; "
            "verification needs pairs of both kinds"
        ) from None
    if group is None:
        group = closest_group(medoids(people))
    say("t-SNE")
    mapped = tsne.arrange(people.embeddings, settings.perplexity, settings.iterations, settings.seed)
    found = list(notes)
    if mapped.note:
        found.append(f"t-SNE: {mapped.note}.")
    sequence = _sequence(snapshots, settings, say) if snapshots else None
    if letters := fonts.missing(people.names):
        found.append(f"No font here has the letters {letters}: the pictures show boxes instead; tables are whole.")
    if count > SHOWN:
        found.append(f"Pictures show {SHOWN} of the {count} people: the closest and those with the most photos.")
    found.extend(
        f"TAR at FAR {far:g} rests on {verification.different} pairs of different people: at this rate not one of them "
        "may be accepted, so it says little."
        for far in FARS
        if verification.different * far < 1
    )
    return Analysis(
        source=source,
        embedder=embedder,
        people=people,
        naming=naming,
        verification=verification,
        curve=naming["medoid"].open_set(),
        spreads=spreads(people),
        table=medoid_table(people),
        group=group,
        map=mapped,
        sequence=sequence,
        how=how,
        notes=tuple(found),
    )


def _sequence(snapshots: Sequence[Snapshot], settings: Settings, say: Callable[[str], None]) -> PlotSequence:
    first = snapshots[0]
    if any(s.people.people != first.people.people for s in snapshots):
        raise InputError("the snapshots are of different photos; give a folder with those of one training")
    maps: list[tuple[str, NDArray[np.float32]]] = []
    start = None
    for n, snapshot in enumerate(snapshots):
        say(f"t-SNE of snapshot {n + 1} of {len(snapshots)}")
        mapped = tsne.arrange(
            snapshot.people.embeddings, settings.perplexity, settings.iterations, settings.seed, start
        )
        # Each map begins where the last one ended, so that people keep their places as far as they do.
        start = mapped.points
        maps.append((f"{snapshot.samples:,} samples", mapped.points))
    return PlotSequence(first.title, tuple(maps), first.people)


def to_dict(analysis: Analysis) -> dict[str, Any]:
    """Plain values for JSON: every figure, table and curve of the report. Shares are 0…1."""
    a = analysis
    names = a.people.names
    inside = a.naming["medoid"].among(a.group)
    keep = _thin(len(a.verification.roc.far))
    curve = _thin(len(a.curve.far))
    return {
        "source": a.source,
        "embedder": a.embedder,
        "photos": len(a.people.people),
        "people": list(names),
        "how": a.how,
        "notes": list(a.notes),
        "rank1": {method: rate(naming.rank1) for method, naming in a.naming.items()},
        "closest": [names[n] for n in a.group],
        "closest_confusion": rate(inside) if inside else None,
        "confusion": a.naming["medoid"].confusion.tolist(),
        "verification": {
            "pairs": {"same": a.verification.same, "different": a.verification.different},
            "area_under_roc": a.verification.roc.area,
            "tar_at_far": {f"{far:g}": rate(r) for far, r in a.verification.tar.items()},
            "roc": {
                "far": a.verification.roc.far[keep].round(6).tolist(),
                "tar": a.verification.roc.tar[keep].round(6).tolist(),
            },
        },
        "open_set": {
            "dir_at_far": {f"{far:g}": a.curve.at(far)[0] for far in OPEN_FARS},
            "threshold_at_far": {f"{far:g}": _finite(a.curve.at(far)[1]) for far in OPEN_FARS},
            "far": a.curve.far[curve].round(6).tolist(),
            "dir": a.curve.dir[curve].round(6).tolist(),
        },
        "distances": {
            "kind": "Euclidean between unit vectors, 0 to 2, not squared",
            "medoids": a.table.round(5).tolist(),
            "within": {
                s.name: {"photos": s.photos, "median": _finite(s.median), "largest": _finite(s.largest)}
                for s in a.spreads
            },
        },
        "tsne": {
            "perplexity": a.map.perplexity,
            "iterations": a.map.iterations,
            "note": a.map.note,
            "points": a.map.points.round(3).tolist(),
            "people": list(a.people.people),
        },
    }


def rate(value: Rate) -> dict[str, float]:
    """A share as plain values."""
    return {"value": value.value, "low": value.low, "high": value.high, "count": value.count}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _thin(count: int) -> NDArray[np.intp]:
    """Positions of at most `CURVE_POINTS` of `count` points, denser at the start, first and last among them."""
    if count <= CURVE_POINTS:
        return np.arange(count)
    return np.unique(np.round(np.geomspace(1, count, CURVE_POINTS)).astype(np.intp) - 1)


def pictures(analysis: Analysis) -> dict[str, bytes]:
    """PNG files by name: `tsne`, `sequence` (where there are snapshots), `boxplots`, `roc`, `confusion`, `open_set`."""
    a, shown = analysis, analysis.shown
    names = a.people.names
    between = a.table[np.triu_indices(len(names), 1)]
    rows = np.array(shown)
    made = {
        "tsne": plots.tsne_plot(a.map.points, a.people.labels, names, shown),
        "boxplots": plots.boxplots([a.spreads[n] for n in shown], float(between.min())),
        "roc": plots.roc_plot(a.verification.roc, a.verification.different),
        "open_set": plots.open_set_plot(a.curve, len(a.naming["medoid"].truth)),
        "confusion": plots.confusion_plot(
            a.naming["medoid"].confusion[np.ix_(rows, rows)],
            [names[n] for n in shown],
            [shown.index(n) for n in a.group],
        ),
    }
    if a.sequence is not None:
        people = a.sequence.people
        made["sequence"] = plots.tsne_sequence(
            a.sequence.maps, people.labels, people.names, tuple(range(min(SHOWN, len(people.names))))
        )
    return made
