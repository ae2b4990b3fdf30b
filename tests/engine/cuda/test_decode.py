"""The decoding kernel against `engine.decoding.candidates`: the same faces, in the same order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.cuda.kernels import HeadMap, Kernels, claims
from engine.decoding import CHANNELS, candidates
from tests.engine.cuda.host import HostModule, address

Heads = list[tuple[NDArray[np.float32], int]]


def heads(
    seed: int, pictures: int, width: int, height: int, strides: Sequence[int] = (8, 16, 32), boxes: int = 1
) -> Heads:
    """Output maps as a detector gives them, with a few broken claims among them."""
    rng = np.random.default_rng(seed)
    made = []
    for stride in strides:
        head = rng.normal(1, 2, (pictures, height // stride, width // stride, boxes, CHANNELS)).astype(np.float32)
        head[..., 0] = rng.random(head.shape[:-1])
        flat = head.reshape(-1, CHANNELS)
        rows = rng.integers(0, len(flat), (5, max(1, len(flat) // 20)))
        flat[rows[0], rng.integers(0, CHANNELS, rows[0].shape)] = np.nan
        flat[rows[1], rng.integers(1, CHANNELS, rows[1].shape)] = np.inf
        flat[rows[2], 5:] = np.tile(flat[rows[2], 5:7], 5)  # landmarks in one place
        flat[rows[3], 1:5] = -5  # inside out
        flat[rows[4], 1] = 1000  # cut off by the picture's edge
        made.append((head.reshape(pictures, height // stride, width // stride, boxes * CHANNELS), stride))
    return made


def expected(maps: Heads, picture: int, threshold: float, size: tuple[int, int]) -> NDArray[np.float32]:
    parts = [
        candidates(np.ascontiguousarray(one), stride, threshold, *map(float, size))
        for head, stride in maps
        for one in np.split(head[picture], head.shape[3] // CHANNELS, axis=2)
    ]
    return np.concatenate(parts)


def run(
    kernels: Kernels, maps: Heads, threshold: float, sizes: Sequence[tuple[int, int]], capacity: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    told = [HeadMap(address(h), h.shape[1], h.shape[2], stride, h.shape[3] // CHANNELS) for h, stride in maps]
    room = claims(told) if capacity is None else capacity
    faces, counts = np.full((len(sizes), room, CHANNELS), -7, np.float32), np.full(len(sizes), -7, np.int32)
    kernels.decode(told, sizes, threshold, address(faces), address(counts), room)
    return faces, counts


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**16), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.sampled_from([0, 0.3, 0.9, 1.0])
)
def test_the_same_faces_in_the_same_order(
    cooperating: Kernels, seed: int, across: int, down: int, boxes: int, threshold: float
) -> None:
    width, height = 64 * across, 64 * down
    maps = heads(seed, 3, width, height, boxes=boxes)
    sizes = [(width, height), (width - 7, height), (width, max(1, height - 31))]
    faces, counts = run(cooperating, maps, threshold, sizes)
    for n, size in enumerate(sizes):
        wanted = expected(maps, n, threshold, size)
        assert counts[n] == len(wanted)
        np.testing.assert_array_max_ulp(faces[n, : counts[n]], wanted, maxulp=1)
        assert (faces[n, counts[n] :] == -7).all()


def test_a_picture_of_the_usual_size(cooperating: Kernels) -> None:
    maps = heads(3, 1, 640, 384)
    faces, counts = run(cooperating, maps, 0.5, [(640, 360)])
    wanted = expected(maps, 0, 0.5, (640, 360))
    assert 1000 < counts[0] == len(wanted)
    np.testing.assert_array_max_ulp(faces[0, : counts[0]], wanted, maxulp=1)


@pytest.mark.parametrize("capacity", [0, 1, 7, 40])
def test_what_does_not_fit_is_counted_and_not_written(capacity: int, cooperating: Kernels) -> None:
    maps = heads(4, 2, 128, 128)
    wanted = [expected(maps, n, 0.2, (128, 128)) for n in range(2)]
    assert min(map(len, wanted)) > 40
    guarded = np.full((2 * capacity + 4, CHANNELS), -7, np.float32)
    counts = np.empty(2, np.int32)
    told = [HeadMap(address(h), h.shape[1], h.shape[2], stride) for h, stride in maps]
    cooperating.decode(told, [(128, 128)] * 2, 0.2, address(guarded), address(counts), capacity)
    assert counts.tolist() == [len(part) for part in wanted]
    np.testing.assert_array_max_ulp(
        guarded[: 2 * capacity], np.concatenate([part[:capacity] for part in wanted]), maxulp=1
    )
    assert (guarded[2 * capacity :] == -7).all()


def test_more_pictures_than_one_launch_takes(kernels: Kernels, module: HostModule) -> None:
    maps = heads(5, 70, 32, 32)
    sizes = [(32 - n % 5, 32) for n in range(70)]
    before = len(module.launches)
    faces, counts = run(kernels, maps, 0.1, sizes)
    assert module.launches[before:] == ["decode"] * 3
    for n in (0, 31, 32, 63, 64, 69):
        np.testing.assert_array_max_ulp(faces[n, : counts[n]], expected(maps, n, 0.1, sizes[n]), maxulp=1)


def test_other_strides_and_numbers_of_maps(kernels: Kernels) -> None:
    for strides in ((4,), (32, 8), (4, 8, 16, 32, 64)):
        maps = heads(6, 1, 64, 128, strides)
        faces, counts = run(kernels, maps, 0.4, [(64, 128)])
        np.testing.assert_array_max_ulp(faces[0, : counts[0]], expected(maps, 0, 0.4, (64, 128)), maxulp=1)


@pytest.mark.parametrize("number", [0, 9])
def test_a_wrong_number_of_maps_is_refused(number: int, kernels: Kernels) -> None:
    with pytest.raises(ValueError, match="1 to 8 output maps"):
        kernels.decode([HeadMap(0, 1, 1, 8)] * number, [(8, 8)], 0.5, 0, 0, 1)
