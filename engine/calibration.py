"""Where the line between a name and "unknown" is drawn for a gallery, and what it is expected to cost.

A larger gallery has more people whom a stranger may resemble, and a gallery of people who are alike has more still, so
the threshold is found anew for every gallery. Two kinds of strangers stand at its door:

- the *cohort*: people in general (`engine.cohort`);
- the *enrolled people themselves*, each as a stranger to the gallery of all the others. They tell what a stranger of
  their own kind would reach: among the members of one group a cohort of people in general is far too optimistic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine import prototypes
from engine.cohort import Cohort
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.gallery import Gallery

FAR = 0.01
"""Share of strangers' faces that may be given a name, unless another one is asked for."""
FINEST = 1e-5
"""The smallest such share: two million drawn strangers tell it in seconds, and the thousands of people whom a cohort
stands for tell nothing finer."""
OWN_KIND = 0.5
"""Part of the strangers that is taken to be of the enrolled people's own kind, when these have many photos."""
DRAWS = 40_000
"""Strangers drawn from the cohort."""
_WORK = 400_000_000
"""Comparisons of drawn strangers with prototypes, at most; for a very large gallery fewer strangers are drawn."""
_SAMPLE = 5_000
"""Enrolled photos that are tried, at most; of more, evenly chosen ones."""
_BLOCK = 1 << 22

Source = Literal["embedder", "cohort"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a threshold was found. Rates are shares, 0…1; None where there was nothing to measure them on."""

    source: Source = "embedder"
    """`cohort`: found for this gallery. `embedder`: the network's own, the same for every gallery."""
    reason: str = ""
    """Why it is the embedder's."""
    far: float | None = None
    """False-accept rate that was asked for: share of strangers' faces that are given a name."""
    cohort_far: float | None = None
    """What it is for people in general."""
    own_far: float | None = None
    """What it is for people like the enrolled ones: each as a stranger to the gallery of the others."""
    accept: float | None = None
    """Share of the enrolled photos that are given the right name when each is left out in turn."""
    wrong: float | None = None
    """Share of them that are given another person's name."""
    photos: int = 0
    """How many photos `accept` and `wrong` were measured on: those of people with two or more."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """From a gallery file; unknown keys, of a later version, are passed over.

        Raises:
            ValueError, TypeError: values of another kind.
        """
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        for key, value in known.items():
            if key in ("source", "reason"):
                known[key] = str(value)
            elif value is not None:
                known[key] = int(value) if key == "photos" else float(value)
        return cls(**known)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Every tried enrolled photo against the gallery as if it had not been enrolled."""

    rows: NDArray[np.intp]
    """`[S]` which of `Gallery.embeddings` were tried."""
    own: NDArray[np.float32]
    """`[S]` cosine to the person's prototypes made without the photo; NaN for somebody with one photo."""
    rival: NDArray[np.intp]
    """`[S]` which other person is nearest; -1 where there is nobody else."""
    other: NDArray[np.float32]
    """`[S]` cosine to that one; -1 where there is none."""
    stranger: NDArray[np.float32]
    """`[S]` the same without people so close to the photo's person that they may be one and the same; NaN where nobody
    is left to compare with."""

    def verdicts(self, threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """`[S]` who is given the right name, and who another one's; rows without `own` are neither."""
        measured = ~np.isnan(self.own)
        own, other = np.where(measured, self.own, -2), self.other
        return measured & (own >= threshold) & (own >= other), measured & (other >= threshold) & (other > own)


def self_test(gallery: Gallery) -> SelfTest:
    """Try every enrolled photo (of very many, evenly chosen ones) against the gallery without it."""
    count = len(gallery.embeddings)
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(np.intp))
    whose = gallery.photo_owners[rows]
    own = np.full(len(rows), np.nan, np.float32)
    rival = np.full(len(rows), -1, np.intp)
    other = np.full(len(rows), -1, np.float32)
    stranger = np.full(len(rows), np.nan, np.float32)
    starts = np.cumsum([0, *(len(p.photos) for p in gallery.persons)])
    spreads = np.array([p.spread for p in gallery.persons])[gallery.owners]
    for person in np.unique(whose).tolist():
        here = whose == person
        mine = slice(int(starts[person]), int(starts[person + 1]))
        own[here] = prototypes.held_out(gallery.embeddings[mine], gallery.method)[rows[here] - starts[person]]
        cosines = gallery.embeddings[rows[here]] @ gallery.prototypes.T
        cosines[:, gallery.owners == person] = -np.inf
        best = cosines.argmax(1)
        found = np.isfinite(cosines.max(1))
        rival[here] = np.where(found, gallery.owners[best], -1)
        other[here] = np.where(found, cosines.max(1), -1)
        close = _too_close(gallery, person, spreads)
        if (~close & (gallery.owners != person)).any():
            cosines[:, close] = -np.inf
            stranger[here] = cosines.max(1)
    return SelfTest(rows, own, rival, other, stranger)


def _too_close(gallery: Gallery, person: int, spreads: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`[P]` prototypes of people no farther from this one than half of the photos of one of the two are."""
    cosines = (gallery.prototypes[gallery.owners == person] @ gallery.prototypes.T).max(0)
    apart = np.sqrt(np.maximum(0, 2 - 2 * cosines))
    near = apart <= np.maximum(spreads, gallery.persons[person].spread)
    return np.asarray(np.isin(gallery.owners, gallery.owners[near]), np.bool_)


def check_far(far: float) -> None:
    """Refuse a false-accept rate that no threshold can be found for.

    Raises:
        UsageError: it is not between 0 and 1, or smaller than `FINEST`.
    """
    if not 0 < far < 1:
        raise UsageError(f"a false-accept rate lies between 0 and 1, not at {far:g}; 0.01 names 1 % of strangers")
    if far < FINEST:
        raise UsageError(
            f"a false-accept rate of {far:g} is finer than strangers drawn from a cohort can tell; --far {FINEST:.5f}, "
            "one face in 100 000, is the finest"
        )


def calibrate(gallery: Gallery, cohort: Cohort | None, far: float = FAR, reason: str = "") -> Gallery:
    """The gallery with a threshold of its own.

    Strangers are a mixture of the cohort and of the enrolled people, each against the gallery without them; the
    threshold is the lowest at which no more than `far` of the mixture, and of the cohort, is given a name. The enrolled
    people's part grows with their number of photos n towards one half: it is `OWN_KIND` · n / (n + 1/far), so that the
    threshold never hangs on the one or two most unlucky photos. People closer than their spread do not count as each
    other's strangers: they may be one person enrolled twice.

    Args:
        gallery: whose threshold it is to be.
        cohort: strangers, of the same embedder; None keeps the threshold that the gallery has.
        far: false-accept rate, from `FINEST` to below 1.
        reason: why there is no cohort, to be kept in the gallery.

    Raises:
        UsageError: `far` is none of these.
        InputError: the cohort is of another embedder.
    """
    check_far(far)
    tried = self_test(gallery)
    general = np.zeros(0, np.float32)
    threshold = gallery.threshold
    own_kind = tried.stranger[~np.isnan(tried.stranger)]
    if cohort is not None:
        cohort.check_embedder(gallery.embedder, gallery.embedder_sha256)
        count = max(int(20 / far), min(DRAWS, _WORK // len(gallery.prototypes)))
        general = np.concatenate([best_cosines(faces, gallery) for faces in cohort.blocks(count)])
        part = OWN_KIND * len(own_kind) / (len(own_kind) + 1 / far)
        # People less alike than people in general are no reason to let more of these in.
        threshold = max(mixture_threshold(general, own_kind, share, far) for share in (0.0, part))
    right, wrong = tried.verdicts(threshold)
    measured = int(np.count_nonzero(~np.isnan(tried.own)))
    return replace(
        gallery,
        threshold=threshold,
        calibration=Calibration(
            source="embedder" if cohort is None else "cohort",
            reason=reason if cohort is None else "",
            far=None if cohort is None else far,
            cohort_far=_share(general >= threshold),
            own_far=_share(own_kind >= threshold),
            accept=int(right.sum()) / measured if measured else None,
            wrong=int(wrong.sum()) / measured if measured else None,
            photos=measured,
        ),
        file_sha256="",
    )


def best_cosines(faces: NDArray[np.float32], gallery: Gallery) -> NDArray[np.float32]:
    """`[N]` cosine of each unit vector `[N,D]` to the gallery's nearest prototype."""
    step = max(1, _BLOCK // len(gallery.prototypes))
    blocks = [(faces[i : i + step] @ gallery.prototypes.T).max(1) for i in range(0, len(faces), step)]
    return np.concatenate(blocks).astype(np.float32)


def mixture_threshold(general: NDArray[np.float32], own_kind: NDArray[np.float32], part: float, far: float) -> float:
    """The lowest threshold that at most `far` of a mixture of two samples reaches.

    Args:
        general: `[A]` similarities, A ≥ 1.
        own_kind: `[B]`; with B = 0 the mixture is `general` alone.
        part: what `own_kind` makes of the mixture, 0…1.

    Example:
        >>> general, own = np.linspace(0, 0.99, 100), np.linspace(0.5, 0.99, 50)
        >>> mixture_threshold(general, own, 0.0, 0.1), mixture_threshold(general, own, 0.5, 0.1)
        (0.8901, 0.9301)
    """
    values = np.concatenate([general, own_kind]).astype(np.float64)
    weights = np.repeat(
        [(1 - part if len(own_kind) else 1.0) / len(general), part / max(1, len(own_kind))],
        [len(general), len(own_kind)],
    )
    order = np.argsort(-values, kind="stable")
    reached = np.cumsum(weights[order])
    # The best values that together stay within `far` may be given a name; the next one may not.
    allowed = int(np.searchsorted(reached, far * (1 + 1e-9), side="right"))
    if allowed == len(values):
        return -1.0
    # Rounded up: four digits are more than is known, and the last bits differ between machines.
    return (math.floor(float(values[order[allowed]]) * 1e4) + 1) / 1e4


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None
