"""Strangers to measure a gallery against: what faces that nobody enrolled look like to an embedder, in aggregates.

A cohort holds no one's face and no one's embedding. It says how the embeddings of thousands of people lie on the
sphere: a few hundred cluster means, how many strangers each stands for and how widely they scatter. Strangers that
never existed are drawn from that. `train.cohort` makes it; like a gallery it belongs to one embedder.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import archive
from engine.embedder import unit
from engine.errors import InputError
from engine.modelfile import SHIPPED
from engine.output_file import write_output

SCHEMA = "iznet.cohort/1.0"

_BLOCK = 20_000
"""Strangers drawn at once; their scatter takes 20 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """A mixture of normal distributions around cluster means, brought to the sphere.

    Example:
        >>> c = Cohort(np.eye(2, dtype=np.float32), np.ones(2), np.ones(2), np.zeros((2, 2)), 1.0, 9, 20, 4, "", "")
        >>> sorted(set(map(tuple, c.draw(50).tolist())))
        [(0.0, 1.0), (1.0, 0.0)]
    """

    centroids: NDArray[np.float32]
    """`[K,D]` means of unit vectors, so shorter than 1."""
    weights: NDArray[np.float64]
    """`[K]` how much of all strangers each cluster stands for; every person counts the same."""
    scales: NDArray[np.float64]
    """`[K]` variance around each mean, as a multiple of the common one."""
    covariance: NDArray[np.float64]
    """`[D,D]` common covariance around the means."""
    narrowing: float
    """The standard deviation of each stranger is taken between this part of the cluster's and the whole of it, evenly.
    Fitted in `train.cohort`: real strangers lie in finer clumps than the clusters (each is one person), so they
    resemble galleries more often than plain normal distributions say."""
    people: int
    """Behind the whole cohort."""
    faces: int
    """Behind the whole cohort."""
    fewest: int
    """People behind the smallest cluster."""
    embedder: str
    """The name of the network that made the vectors."""
    embedder_sha256: str

    def draw(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """`[count,D]` unit vectors of strangers that never existed, always the same for one seed."""
        return np.concatenate(list(self.blocks(count, seed)))

    def blocks(self, count: int, seed: int = 0) -> Iterator[NDArray[np.float32]]:
        """The same, some at a time: `[n,D]` with n ≤ 20 000, so that millions need little more memory than these."""
        rng = np.random.default_rng(seed)
        cluster = rng.choice(len(self.centroids), count, p=self.weights / self.weights.sum())
        values, vectors = np.linalg.eigh(self.covariance)
        root = (vectors * np.sqrt(np.maximum(values, 0))).T
        # One stream of numbers holds the scatter of all and then how narrow it is for each.
        narrowness = rng if count <= _BLOCK else self._after_scatter(rng, count)
        for start in range(0, max(count, 1), _BLOCK):
            here = cluster[start : start + _BLOCK]
            scatter = rng.standard_normal((len(here), len(root))) @ root
            narrow = narrowness.uniform(self.narrowing, 1, len(here))
            scatter *= (narrow * np.sqrt(self.scales[here]))[:, None]
            yield unit((self.centroids[here] + scatter).astype(np.float32))

    def _after_scatter(self, rng: np.random.Generator, count: int) -> np.random.Generator:
        """A generator that stands where `rng` will when the scatter of all has been drawn."""
        ahead = copy.deepcopy(rng)
        passed = np.empty((_BLOCK, self.centroids.shape[1]))
        for start in range(0, count, _BLOCK):
            ahead.standard_normal(out=passed[: count - start])
        return ahead

    def check_embedder(self, name: str, sha256: str, path: Path | str = "the cohort") -> None:
        """Refuse an embedder whose vectors cannot be compared with these.

        Raises:
            InputError: it is not the network that made the cohort.
        """
        if sha256 != self.embedder_sha256:
            raise InputError(
                f"{path}: the strangers were embedded by {self.embedder or 'unknown'} ({self.embedder_sha256[:12]}…), "
                f"not by {name or 'unknown'} ({sha256[:12]}…); make a cohort for that one with: iznet train cohort"
            )

    def to_bytes(self) -> bytes:
        """The file's contents (see `engine.archive`); equal cohorts give equal bytes."""
        header = {
            "schema": SCHEMA,
            "embedder": {"name": self.embedder, "sha256": self.embedder_sha256},
            "narrowing": self.narrowing,
            "people": self.people,
            "faces": self.faces,
            "fewest": self.fewest,
        }
        arrays = {
            "centroids": self.centroids.astype(np.float32),
            "weights": self.weights.astype(np.float32),
            "scales": self.scales.astype(np.float32),
            "covariance": self.covariance.astype(np.float32),
        }
        return archive.write("cohort", header, arrays)

    def save(self, path: Path) -> None:
        """Write the file, replacing an older one.

        Raises:
            OutputError: it cannot be written.
        """
        write_output(path, self.to_bytes(), overwrite=True)

    @classmethod
    def load(cls, path: Path | str) -> Cohort:
        """Read a cohort.

        Raises:
            InputError: missing, no cohort, damaged, or of a newer major version.
        """
        path = Path(path)
        try:
            header, arrays = archive.read("cohort", path.read_bytes())
            name, _, version = str(header["schema"]).partition("/")
            if name != SCHEMA.partition("/")[0]:
                raise ValueError(f"its schema is {header['schema']!r}")
            if int(version.split(".")[0]) > int(SCHEMA.partition("/")[2].split(".")[0]):
                raise InputError(f"{path}: of schema {header['schema']}, newer than this version reads; update IZ*Net")
            cohort = cls(
                arrays["centroids"],
                arrays["weights"].astype(np.float64),
                arrays["scales"].astype(np.float64),
                arrays["covariance"].astype(np.float64),
                narrowing=float(header["narrowing"]),
                people=int(header["people"]),
                faces=int(header["faces"]),
                fewest=int(header["fewest"]),
                embedder=str(header["embedder"]["name"]),
                embedder_sha256=str(header["embedder"]["sha256"]),
            )
            cohort._check()
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; make a cohort with: iznet train cohort") from None
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); name a file of `iznet train cohort`"
            ) from error
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(
                f"{path}: not a cohort, or a damaged one ({error}); make it again with: iznet train cohort"
            ) from None
        return cohort

    def _check(self) -> None:
        if self.centroids.ndim != 2 or self.centroids.dtype != np.float32:
            raise ValueError(f"its centroids are {self.centroids.dtype} {self.centroids.shape}")
        count, dimension = self.centroids.shape
        if self.weights.shape != (count,) or self.scales.shape != (count,) or self.covariance.shape != (dimension,) * 2:
            raise ValueError("its arrays do not fit together")
        arrays = (self.centroids, self.weights, self.scales, self.covariance)
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("it holds numbers that are not finite")
        if not 0 <= self.narrowing <= 1:
            raise ValueError(f"its narrowing is {self.narrowing}")
        if (self.weights < 0).any() or self.weights.sum() <= 0 or (self.scales < 0).any():
            raise ValueError("its weights or scales are negative")


def shipped_path() -> Path:
    """Where the cohort of the shipped embedder lies."""
    return SHIPPED / "embedder.cohort"


def cohort_for(name: str, sha256: str, path: Path | None = None) -> tuple[Cohort | None, str]:
    """The cohort to use with an embedder.

    Args:
        name: of the embedder, for messages.
        sha256: its fingerprint.
        path: the cohort that was asked for; None takes the one beside the shipped embedder.

    Returns:
        The cohort; or None and the reason why there is none, which only happens where none was asked for.

    Raises:
        InputError: the one that was asked for is missing, damaged or of another embedder.
    """
    if path is not None:
        cohort = Cohort.load(path)
        cohort.check_embedder(name, sha256, path)
        return cohort, ""
    shipped = shipped_path()
    if not shipped.is_file():
        return None, "no cohort of strangers is installed"
    cohort = Cohort.load(shipped)
    try:
        cohort.check_embedder(name, sha256, shipped.name)
    except InputError as error:
        return None, str(error)
    return cohort, ""
