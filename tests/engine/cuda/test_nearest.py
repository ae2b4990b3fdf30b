"""The search for the nearest person and the scaling to length one against what the product does on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.cuda.kernels import PARTIAL_BYTES, DeviceGallery, Kernels
from engine.embedder import unit
from engine.nearest import two_nearest
from tests.engine.cuda.host import address

Found = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]


def run(
    kernels: Kernels, embeddings: NDArray[np.float32], prototypes: NDArray[np.float32], owners: NDArray[np.int32]
) -> Found:
    gallery = DeviceGallery(address(prototypes), address(owners), *prototypes.shape)
    count = len(embeddings)
    scratch = np.full(PARTIAL_BYTES * count * gallery.blocks, 77, np.uint8)
    who, first, second = np.full(count, -7, np.int32), np.full(count, -7, np.float32), np.full(count, -7, np.float32)
    kernels.nearest(
        address(embeddings), count, gallery, address(scratch), address(who), address(first), address(second)
    )
    return who, first, second


def agree(
    found: Found, embeddings: NDArray[np.float32], prototypes: NDArray[np.float32], owners: NDArray[np.int32]
) -> None:
    who, first, second = two_nearest(embeddings, prototypes, owners)
    np.testing.assert_allclose(found[1], first, atol=1e-5)
    np.testing.assert_allclose(found[2], second, atol=1e-5)
    clear = first - second > 1e-5
    np.testing.assert_array_equal(found[0][clear], who[clear])


def vectors(rng: np.random.Generator, count: int, dimension: int) -> NDArray[np.float32]:
    return unit(rng.normal(size=(count, dimension)).astype(np.float32))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 12),
    st.integers(1, 200),
    st.integers(1, 60),
    st.sampled_from([4, 32, 100, 128, 132, 512]),
    st.integers(0, 2**16),
)
def test_the_same_answers(
    cooperating: Kernels, count: int, prototypes: int, people: int, dimension: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    gallery = vectors(rng, prototypes, dimension)
    owners = rng.integers(0, people, prototypes, np.int32)
    embeddings = vectors(rng, count, dimension)
    agree(run(cooperating, embeddings, gallery, owners), embeddings, gallery, owners)


def test_a_gallery_that_every_block_goes_through_in_strides(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.cuda.kernels._BLOCKS", 3)
    rng = np.random.default_rng(1)
    gallery, embeddings = vectors(rng, 1011, 32), vectors(rng, 9, 32)
    owners = rng.integers(0, 300, len(gallery), np.int32)
    assert DeviceGallery(0, 0, len(gallery), 32).blocks == 3
    agree(run(kernels, embeddings, gallery, owners), embeddings, gallery, owners)


def test_blocks_grow_with_the_gallery_and_are_bounded() -> None:
    blocks = [DeviceGallery(0, 0, count, 128).blocks for count in (0, 1, 32, 33, 10_000, 10_000_000)]
    assert blocks == [1, 1, 1, 2, 313, 512]


def test_of_equal_cosines_the_earlier_prototype_wins(cooperating: Kernels) -> None:
    rng = np.random.default_rng(2)
    gallery = np.tile(vectors(rng, 1, 64), (300, 1))
    for start in (0, 3, 34, 298):
        owners = np.arange(300, dtype=np.int32)
        gallery[:start] = -gallery[-1]
        who, first, second = run(cooperating, gallery[-1:].copy(), gallery, owners)
        assert who.tolist() == [start]
        np.testing.assert_allclose([first[0], second[0]], 1, atol=1e-6)


def test_one_person_has_no_rival(cooperating: Kernels) -> None:
    rng = np.random.default_rng(3)
    gallery, embeddings = vectors(rng, 50, 128), vectors(rng, 3, 128)
    owners = np.full(50, 4, np.int32)
    who, first, second = run(cooperating, embeddings, gallery, owners)
    assert who.tolist() == [4] * 3
    np.testing.assert_allclose(first, (embeddings @ gallery.T).max(1), atol=1e-6)
    assert second.tolist() == [-1.0] * 3


def test_what_is_not_finite_is_nobody(cooperating: Kernels) -> None:
    rng = np.random.default_rng(4)
    gallery, embeddings = vectors(rng, 40, 128), vectors(rng, 4, 128)
    owners = np.arange(40, dtype=np.int32)
    embeddings[1, 17] = np.nan
    embeddings[2, 127] = np.inf
    gallery[5, 3] = np.nan  # says nothing about anybody, and spoils nobody else
    found = run(cooperating, embeddings, gallery, owners)
    agree(found, embeddings, gallery, owners)
    assert found[0][1] == -1
    assert (found[1][1], found[2][1]) == (-1, -1)


def test_nothing_is_searched_for_no_embedding(kernels: Kernels) -> None:
    gallery = DeviceGallery(16, 16, 1, 128)
    kernels.nearest(16, 0, gallery, 16, 0, 0, 0)


@pytest.mark.parametrize(("embeddings", "dimension"), [(4, 128), (16, 126)])
def test_what_cannot_be_read_in_fours_is_refused(embeddings: int, dimension: int, kernels: Kernels) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        kernels.nearest(embeddings, 1, DeviceGallery(16, 16, 1, dimension), 16, 0, 0, 0)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (4, 128), (9, 512), (17, 33)])
def test_unit_vectors(rows: int, columns: int, in_place: bool, cooperating: Kernels) -> None:
    rng = np.random.default_rng(rows * columns)
    given_ = (rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-20, 18, (rows, 1))).astype(np.float32)
    given_[rows // 2] = 0
    expected = unit(given_)
    out = given_ if in_place else np.full((rows + 1, columns), 7, np.float32)
    cooperating.normalise(address(given_), address(out), rows, columns)
    np.testing.assert_allclose(out[:rows], expected, rtol=2e-7)
    if not in_place:
        assert (out[rows] == 7).all()


def test_rows_that_are_not_finite_spoil_no_other(kernels: Kernels) -> None:
    values = np.ones((3, 128), np.float32)
    values[1, 5] = np.nan
    out = np.empty_like(values)
    kernels.normalise(address(values), address(out), 3, 128)
    np.testing.assert_allclose(out[[0, 2]], 128**-0.5, rtol=1e-6)
    assert np.isnan(out[1, 5])
