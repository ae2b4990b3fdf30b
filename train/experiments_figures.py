"""What an experiment is measured by, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.errors import InputError
from engine.metrics import roc
from engine.prototypes import METHODS
from train.analysis.distances import medoid_table, spreads
from train.analysis.people import EmbeddedPeople, divide
from train.analysis.recognition import Rate, all_pairs, name_photos, verify
from train.experiments_plan import EXPERIMENTS, TITLES
from train.sampling.uniform import Classes, UniformTriplets

TRIPLETS = 20_000
"""Uniformly drawn, for the share in the right order."""


def triplet_accuracy(people: EmbeddedPeople, count: int = TRIPLETS, seed: int = 0) -> float:
    """Share of uniformly drawn triplets whose positive is nearer to the anchor than the negative.

    Raises:
        InputError: there are no triplets.
    """
    drawn = UniformTriplets(Classes(people.people)).draw(np.random.default_rng(seed), count)
    anchors, positives, negatives = (people.embeddings[drawn[:, k]] for k in range(3))
    return float(np.mean(np.einsum("td,td->t", anchors, positives) > np.einsum("td,td->t", anchors, negatives)))


def figures(people: EmbeddedPeople, closest: Sequence[str]) -> dict[str, Any]:
    """Every figure of one network on the twelve people, as plain values. Shares are 0…1, distances Euclidean.

    People are enrolled with their train photos and named on the test photos (rank-1, confusion). Verification is over
    all pairs of test photos; its accuracy is the mean of the shares of same-person pairs accepted and different-person
    pairs refused, at the threshold that is best on the dev pairs.
    """
    naming, on_dev = (people.select(people.rows("train", split)) for split in ("test", "dev"))
    test, dev, train = (people.select(people.rows(split)) for split in ("test", "dev", "train"))
    if len(set(test.people)) < 2:
        raise InputError("the test photos show fewer than two people; nothing can be told apart")
    group = [people.names.index(name) for name in closest]
    medoid = name_photos(naming, divide(naming))
    verification = verify(test)
    apart = medoid_table(train)
    inside = medoid.among(group)
    return {
        "rank1": {m: _rate(name_photos(naming, divide(naming), m).rank1) for m in METHODS},
        "rank1_dev": _rate(name_photos(on_dev, divide(on_dev)).rank1),
        "closest": list(closest),
        "closest_confusion": _rate(inside) if inside else None,
        "confusion": medoid.confusion.tolist(),
        "people": list(people.names),
        "verification_accuracy": verification.roc.accuracy(roc(*all_pairs(dev)).best),
        "verification_area": verification.roc.area,
        "tar": {f"{far:g}": _rate(rate) for far, rate in verification.tar.items()},
        "pairs": {"same": verification.same, "different": verification.different},
        "triplets_in_order": {"train": triplet_accuracy(train), "test": triplet_accuracy(test)},
        "median_distance_within": float(np.median(np.concatenate([s.pairs for s in spreads(test)]))),
        "smallest_medoid_distance": float(apart[np.triu_indices(len(apart), 1)].min()),
    }


def _rate(rate: Rate) -> dict[str, float]:
    return {"value": rate.value, "low": rate.low, "high": rate.high, "count": rate.count}


def _percent(rate: Mapping[str, float] | None) -> str:
    if rate is None:
        return "–"
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"


def row_title(key: str) -> str:
    """`nn1-triplet` → `NN1, triplet`; `nn1-pretrained` → `NN1, pretrained only`."""
    network, _, loss = key.partition("-")
    if network not in TITLES:
        return key
    return f"{TITLES[network]}, {'pretrained only' if loss == 'pretrained' else loss}"


def order() -> list[str]:
    """The rows of the table: each network pretrained only, then with both losses."""
    keys: list[str] = []
    for network, loss in EXPERIMENTS:
        if f"{network}-pretrained" not in keys:
            keys.append(f"{network}-pretrained")
        keys.append(f"{network}-{loss}")
    return keys


def markdown(rows: Mapping[str, Mapping[str, Any]], how: Sequence[str]) -> str:
    """The table as Markdown, and under it the sentences `how`. Rows that are not there yet say so."""
    names = [*(key for key in rows if key not in order()), *order()]
    lines = [
        "| network and loss | rank-1, medoid | confused inside the closest trio | verification | area under ROC "
        "| TAR at FAR 1e-2 | TAR at FAR 1e-3 | triplets in order | faces learned from |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for key in names:
        if key not in rows:
            lines.append(f"| {row_title(key)} | not run yet | | | | | | | |")
            continue
        row = rows[key]
        f = row["figures"]
        lines.append(
            f"| {row_title(key)} | {_percent(f['rank1']['medoid'])} | {_percent(f['closest_confusion'])} "
            f"| {100 * f['verification_accuracy']:.1f} | {f['verification_area']:.3f} "
            f"| {_percent(f['tar']['0.01'])} | {_percent(f['tar']['0.001'])} "
            f"| {100 * f['triplets_in_order']['test']:.1f} | {row.get('faces', '')} |"
        )
    return "\n".join([*lines, "", "\n\n".join(how), ""])
