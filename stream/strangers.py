"""Who among the unknown is the same person: one number each over the whole video.

Pure logic over the mean embeddings of tracks; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 128
"""Rows that are compared with all others at a time; with ten thousand tracks a table of all pairs would be 800 MB."""


def number_strangers(
    embeddings: NDArray[np.float32],
    apart: Sequence[Collection[int]],
    similarity: float,
    alone: Collection[int] = (),
) -> NDArray[np.intp]:
    """`[N]` numbers 1, 2, … in order of first appearance; equal numbers are the same person.

    Average-linkage clustering of the cosines (Sokal & Michener 1958): two groups are one person while the mean cosine
    between their tracks is at least `similarity`, and no track of one was seen beside one of the other.

    Args:
        embeddings: `[N,D]` unit, a row a track, in order of appearance.
        apart: of every row the rows that stood on one frame with it; whoever names the other, is named by it.
        similarity: cosine from which two are the same.
        alone: rows that are nobody else, whatever they look like.

    Example:
        >>> rows = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> number_strangers(rows, [(), (), ()], 0.5).tolist()
        [1, 2, 1]
    """
    rows = [row for row in range(len(embeddings)) if row not in alone]
    place = {row: n for n, row in enumerate(rows)}
    kept_apart = [{place[other] for other in apart[row] if other in place and other != row} for row in rows]
    groups = [[rows[n] for n in group] for group in average_linkage(embeddings[rows], kept_apart, similarity)]
    numbers = np.zeros(len(embeddings), np.intp)
    for number, group in enumerate(sorted([*groups, *([row] for row in alone)], key=min), 1):
        numbers[group] = number
    return numbers


def average_linkage(embeddings: NDArray[np.floating], apart: list[set[int]], least: float) -> list[list[int]]:
    """The rows in groups: the two with the largest mean cosine are joined, again and again, down to `least`.

    The mean cosine between two groups is the dot product of their means, so sums are all that is kept, and memory grows
    with the rows and not with their pairs. With this linkage no cosine grows when two groups are joined (Bruynooghe
    1977), so what a group's nearest was is a bound for what it is, and it is looked for again only when its turn comes.

    Args:
        embeddings: `[N,D]` unit.
        apart: of every row those that it may not be joined with, symmetric; used up.
        least: groups with a smaller mean cosine are not joined.
    """
    sums = embeddings.astype(np.float64)
    count = len(sums)
    size = np.ones(count)
    groups = [[row] for row in range(count)]
    nearest, best = np.zeros(count, np.intp), np.full(count, -np.inf)
    stale = np.zeros(count, np.bool_)
    """Where `best` is a bound, as the nearest has been joined since."""

    def look(rows: NDArray[np.intp]) -> None:
        cosines = (sums[rows] / size[rows, None]) @ sums[:count].T / size[:count]
        for line, row in zip(cosines, rows.tolist(), strict=True):
            line[[row, *apart[row]]] = -np.inf
        nearest[rows], best[rows], stale[rows] = cosines.argmax(axis=1), cosines.max(axis=1), False

    def rename(old: int, new: int) -> None:
        for other in apart[old]:
            apart[other].discard(old)
            apart[other].add(new)

    for start in range(0, count, _AT_ONCE):
        look(np.arange(start, min(start + _AT_ONCE, count)))
    while count and best[one := int(best[:count].argmax())] >= least:
        if stale[one]:
            look(np.array([one]))
            continue
        a, b = sorted((one, int(nearest[one])))
        sums[a] += sums[b]
        size[a] += size[b]
        groups[a] += groups[b]
        rename(b, a)
        apart[a] |= apart[b]
        stale[:count] |= (nearest[:count] == a) | (nearest[:count] == b)
        stale[a] = True
        best[a] = best[one]
        count -= 1
        if b != count:  # the last one takes the free place
            for values in (sums, size, nearest, best, stale):
                values[b] = values[count]
            groups[b] = groups[count]
            rename(count, b)
            apart[b] = apart[count]
            nearest[:count][nearest[:count] == count] = b
    return groups[:count]
