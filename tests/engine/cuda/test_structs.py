"""What Python writes is what the kernels read, and what the host computes is what IEEE 754 says."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from engine.cuda import structs
from engine.cuda.kernels import PARTIAL_BYTES
from tests.engine.cuda.host import HostModule


@pytest.mark.parametrize("struct", structs.ALL, ids=lambda s: s.__name__)
def test_structs_have_the_layout_of_the_headers(struct: type[ctypes.Structure], module: HostModule) -> None:
    name = struct.__name__.encode()
    assert module.library.iznet_layout(name) == ctypes.sizeof(struct)
    for field in struct._fields_:
        offset = getattr(struct, field[0]).offset
        assert module.library.iznet_layout(name + b"." + field[0].encode()) == offset, field[0]


def test_what_is_no_field_is_said(module: HostModule) -> None:
    assert module.library.iznet_layout(b"LetterboxJob.colour") == -1


def test_parameters_fit_what_every_gpu_takes() -> None:
    assert max(ctypes.sizeof(struct) for struct in structs.ALL) <= 4096


def test_scratch_memory_is_as_large_as_a_finding(module: HostModule) -> None:
    assert module.library.iznet_layout(b"Nearest") == PARTIAL_BYTES


def test_halves_round_as_numpy_rounds_them(module: HostModule) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, 20_000, np.uint32)
    halves = np.arange(0, 0x7C00, 7).astype(np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[:-1] + halves[1:]) / 2  # exactly between two halves: to the even one
    edges = np.array([0, 65504, 65519.996, 65520, 1e9, 2.0**-24, 2.0**-25, 2.0**-25 * 1.001, np.inf, 1e-45], np.float32)
    values = np.concatenate([bits.view(np.float32), halves, ties, np.nextafter(ties, 0), edges, -edges])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values.astype(np.float16)
    found = np.array([module.library.iznet_half_bits(float(v)) for v in values], np.uint16).view(np.float16)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(found[numbers].view(np.uint16), expected[numbers].view(np.uint16))
    assert np.isnan(found[~numbers]).all()


def test_a_launch_that_cannot_be_is_refused(module: HostModule) -> None:
    with pytest.raises(RuntimeError, match="no such kernel"):
        module.function("letterbox_u8_f64", 8).launch((1, 1, 1), (32, 1, 1), b"", 0)
    with pytest.raises(RuntimeError, match="another size"):
        module.function("decode", 8).launch((1, 1, 1), (32, 1, 1), b"12345678", 0)
    job = bytes(structs.NormaliseJob())
    with pytest.raises(RuntimeError, match="whole warps"):
        module.function("normalise", len(job)).launch((1, 1, 1), (33, 1, 1), job, 0)
