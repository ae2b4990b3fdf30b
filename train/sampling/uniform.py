"""Uniformly random triplets and pairs of photos, without listing them all.

Choosing the classes uniformly would show the pairs of a small class too often: of the nine triplets of C₁ = {Γ, Λ} and
C₂ = {★, ◇, □} three hold the pair (Γ, Λ), but half of the draws would. So the anchor's class is drawn with weights, by
a segment tree; the pair in it and the negative outside it are uniform. There are two sets of weights:

- C(nᵢ,2) makes every *pair* of anchor and positive equally likely. Its triplets are not quite: a pair's chance is
  shared among the N−nᵢ photos outside its class, and (Γ, Λ) comes in a quarter of the draws.
- C(nᵢ,2)·(N−nᵢ), the number of triplets whose anchor is in Cᵢ, makes every *triplet* equally likely: (Γ, Λ) comes in
  exactly a third. Where the classes are of one size, or many, the two hardly differ.

Everything is drawn as whole numbers, so the probabilities are exact, not rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from train.sampling.segment_tree import partition

Index = NDArray[np.intp]


class Classes:
    """Which photos belong to which class, in the order that the samplers count them in.

    Example:
        >>> classes = Classes(["b", "a", "b"])
        >>> classes.sizes.tolist(), classes.order.tolist()
        ([1, 2], [1, 0, 2])
    """

    def __init__(self, labels: Sequence[str] | Sequence[int] | NDArray[np.integer], count: int | None = None) -> None:
        """Sort photos by their `labels`.

        Args:
            labels: of each photo: names, or numbers from 0.
            count: how many classes there are, where labels are numbers and some classes may have no photo.

        Raises:
            ValueError: a number outside 0 … `count`−1.
        """
        given = np.asarray(labels)
        numbers = given if count is not None else np.unique(given, return_inverse=True)[1]
        if count is not None and len(given) and (given.min() < 0 or given.max() >= count):
            raise ValueError(f"labels run from {given.min()} to {given.max()}, there are {count} classes")
        self.sizes: NDArray[np.int64] = np.bincount(numbers.astype(np.intp), minlength=count or 0).astype(np.int64)
        """`[m]` photos of each class."""
        self.order: Index = np.argsort(numbers, kind="stable").astype(np.intp)
        """`[N]` positions of the photos, class by class."""
        self.starts: NDArray[np.int64] = np.cumsum(self.sizes) - self.sizes
        """`[m]` where each class begins in `order`."""

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.order)

    @property
    def pairs(self) -> NDArray[np.int64]:
        """`[m]` C(nᵢ,2), the pairs within each class."""
        return self.sizes * (self.sizes - 1) // 2

    def pair(self, owner: Index, first: Index, second: Index) -> tuple[Index, Index]:
        """Photos `first` (0 … n−1) and `second` (0 … n−2, the first one not counted) of the classes `owner`."""
        start = self.starts[owner]
        return self.order[start + first], self.order[start + second + (second >= first)]

    def outside(self, owner: Index, number: Index) -> Index:
        """Photo `number` (0 … N−nᵢ−1) of those that do not belong to the classes `owner`."""
        return self.order[number + np.where(number >= self.starts[owner], self.sizes[owner], 0)]


class UniformTriplets:
    """Draws (anchor, positive, negative): two photos of one class in either order, and any photo of another class.

    Classes of one photo serve as negatives only, empty ones not at all.

    Example:
        >>> sampler = UniformTriplets(Classes([0, 0, 1, 1, 1]))
        >>> sampler.total, sampler.draw(np.random.default_rng(0), 4).shape
        (9, (4, 3))
    """

    def __init__(self, classes: Classes, over: Literal["triplets", "pairs"] = "triplets") -> None:
        """Prepare to draw from `classes`.

        Args:
            classes: the photos.
            over: what is equally likely: every triplet, or every pair of anchor and positive.

        Raises:
            InputError: nobody has two photos, or there is only one class: there are no triplets.
        """
        triplets = classes.pairs * (len(classes) - classes.sizes)
        if not triplets.any():
            raise InputError(
                f"no triplet can be made of classes with {classes.sizes.tolist()} photos: one class needs two photos, "
                "and another class needs one"
            )
        self.classes = classes
        self.total = int(triplets.sum())
        """How many triplets there are, the order of anchor and positive not counted."""
        weights = triplets if over == "triplets" else np.where(triplets > 0, classes.pairs, 0)
        self.points = int(weights.sum())
        """How many whole numbers the segment tree divides among the classes."""
        self._tree, self._owners = partition(weights.tolist())

    def owner(self, points: Index) -> Index:
        """The anchor's class for each of `points`, 0 … `self.points`−1."""
        return self._owners[self._tree.find(points)]

    def draw(self, rng: np.random.Generator, count: int) -> Index:
        """`[count,3]` positions of anchors, positives and negatives."""
        owner = self.owner(rng.integers(0, self.points, count))
        sizes = self.classes.sizes[owner]
        anchor, positive = self.classes.pair(owner, rng.integers(0, sizes), rng.integers(0, sizes - 1))
        negative = self.classes.outside(owner, rng.integers(0, len(self.classes) - sizes))
        return np.stack([anchor, positive, negative], axis=1)


class UniformPairs:
    """Draws pairs of photos: of one class, each as likely as any other, and of two classes, likewise.

    Example:
        >>> pairs = UniformPairs(Classes([0, 0, 1, 1, 1]))
        >>> pairs.positives, pairs.negatives
        (4, 6)
        >>> pairs.draw_positive(np.random.default_rng(0), 5).shape
        (5, 2)
    """

    def __init__(self, classes: Classes) -> None:
        """Prepare to draw from `classes`.

        Raises:
            InputError: nobody has two photos, or there is only one class.
        """
        crossing = classes.sizes * (len(classes) - classes.sizes)
        if not classes.pairs.any() or not crossing.any():
            raise InputError(
                f"pairs of both kinds cannot be made of classes with {classes.sizes.tolist()} photos: one class needs "
                "two photos, and another class needs one"
            )
        self.classes = classes
        self.positives = int(classes.pairs.sum())
        """How many pairs of one class there are."""
        self.negatives = int(crossing.sum()) // 2
        """How many pairs of two classes there are."""
        self._positive, self._positive_owners = partition(classes.pairs.tolist())
        self._negative, self._negative_owners = partition(crossing.tolist())

    def draw_positive(self, rng: np.random.Generator, count: int) -> Index:
        """`[count,2]` photos of one class: the class by a segment tree over C(nᵢ,2), the pair uniform in it."""
        owner = self._positive_owners[self._positive.find(rng.integers(0, self.positives, count))]
        sizes = self.classes.sizes[owner]
        return np.stack(self.classes.pair(owner, rng.integers(0, sizes), rng.integers(0, sizes - 1)), axis=1)

    def draw_negative(self, rng: np.random.Generator, count: int) -> Index:
        """`[count,2]` photos of two classes: the first one's class by a segment tree over nᵢ·(N−nᵢ), both uniform."""
        owner = self._negative_owners[self._negative.find(rng.integers(0, 2 * self.negatives, count))]
        sizes = self.classes.sizes[owner]
        first = self.classes.order[self.classes.starts[owner] + rng.integers(0, sizes)]
        return np.stack([first, self.classes.outside(owner, rng.integers(0, len(self.classes) - sizes))], axis=1)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Index, NDArray[np.bool_]]:
        """`[count,2]` pairs, shuffled, and whether each is of one class: half of them (rounded down) are."""
        same = np.arange(count) < count // 2
        pairs = np.concatenate([self.draw_positive(rng, int(same.sum())), self.draw_negative(rng, int((~same).sum()))])
        shuffled = rng.permutation(count)
        return pairs[shuffled], same[shuffled]
