"""NN1, NN2 and InceptionV3: the tables they come from, row by row, and layers against slow definitions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from train.models import nn1, nn2  # noqa: E402
from train.models.facenet_layers import L2Pooling, LocalResponseNormalization, Maxout  # noqa: E402
from train.models.inception_v3 import build_inception_v3, load_imagenet  # noqa: E402
from train.models.nn1 import build_nn1  # noqa: E402
from train.models.nn2 import MODULES, build_nn2  # noqa: E402


@pytest.fixture(autouse=True)
def _clear() -> None:
    keras.utils.clear_session(free_memory=True)


def rows(module: object) -> list[list[str]]:
    """The table in a module's docstring, without head and rule."""
    lines = [line for line in (module.__doc__ or "").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def rounds_to(count: int, printed: str) -> bool:
    """Whether the paper's rounded figure says `count`, e.g. 9,472 is 9K and 1,588,464 is 1.6M."""
    number, unit = re.fullmatch(r"([\d.]+)([KMB])", printed).groups()  # type: ignore[union-attr]
    scale = {"K": 1e3, "M": 1e6, "B": 1e9}[unit]
    step = 10 ** -len(number.partition(".")[2])
    return bool(abs(count / scale - float(number)) <= step / 2 + 1e-9)


def count_of(model: Any, row: str) -> int:
    """Parameters of the layers that a row of the table names."""
    prefix = row.split(" (")[0].replace("fully conn", "fully_connected")
    if found := re.match(r"inception \((\w+)\)", row):
        prefix = f"inception_{found[1]}_"
    return sum(
        layer.count_params()
        for layer in model.layers
        if layer.name == prefix or (prefix.endswith("_") and layer.name.startswith(prefix))
    )


def assert_sides(model: Any) -> None:
    """What the tables print as output sizes."""
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    if model.name == "nn1":
        assert shapes["conv1"] == (110, 110, 64)
        assert shapes["rnorm1"] == (55, 55, 64)
        assert shapes["pool2"] == (28, 28, 192)
        assert shapes["pool3"] == (14, 14, 384)
        assert shapes["pool4"] == (7, 7, 256)
        assert shapes["fc1"] == shapes["fc2"] == (32 * 128,)
    else:
        assert shapes["norm1"] == (56, 56, 64)
        middle = [(14, 14, 640)] * 5
        assert [shapes[f"inception_{m.name}"] for m in MODULES] == [
            (28, 28, 256),
            (28, 28, 320),
            *middle,
            *[(7, 7, 1024)] * 3,
        ]


BIASES_OF_4A = 256 + 96 + 192 + 32 + 64 + 128


@pytest.mark.parametrize(("module", "build", "total"), [(nn1, build_nn1, 140_025_664), (nn2, build_nn2, 7_456_304)])
def test_every_row_of_the_table_holds(module: object, build: object, total: int) -> None:
    """The documented count is the layer's, and rounds to what the paper prints."""
    model = build()  # type: ignore[operator]
    assert_sides(model)
    seen = 0
    for name, *_, printed, here in rows(module):
        if name == "total":
            assert int(here.replace(",", "")) == model.count_params() == total == seen
            assert rounds_to(total, printed)
        elif here not in ("0", ""):
            count = count_of(model, name)
            assert count == int(here.replace(",", "")), name
            rounded = count - BIASES_OF_4A if name == "inception (4a)" else count
            assert rounds_to(rounded, printed), (name, count, printed)
            seen += count


def test_counts_with_batch_normalisation_and_on_smaller_faces() -> None:
    """Each convolution gives its biases for a scale and a shift of each channel, two moments beside them."""
    plain = build_nn2(96)
    channels = sum(layer.filters for layer in plain.layers if isinstance(layer, keras.layers.Conv2D))
    batch = build_nn2(96, "batch")
    assert plain.count_params() == 7_456_304
    assert batch.count_params() == plain.count_params() + 3 * channels
    assert sum(int(np.prod(v.shape)) for v in batch.trainable_variables) == plain.count_params() + channels
    assert not [layer for layer in batch.layers if isinstance(layer, LocalResponseNormalization)]
    small = build_nn1(96)
    assert small.count_params() == 140_025_664 - (49 - 9) * 256 * 8192


def test_inception_v3_takes_weights_from_a_file(tmp_path: Path) -> None:
    """And with the fused normalisation computes what Keras' own network does, moments included."""
    keras.utils.set_random_seed(3)
    body = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(75, 75, 3))
    file = tmp_path / "inception.weights.h5"
    body.save_weights(file)
    model = build_inception_v3(75, file)
    faces = np.random.default_rng(0).uniform(0, 255, (8, 75, 75, 3)).astype(np.float32)
    features = body(faces / 127.5 - 1, training=True).numpy().mean(axis=(1, 2))
    dense = model.get_layer("fully_connected")
    expected = features @ dense.kernel.numpy() + dense.bias.numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model(faces, training=True).numpy(), expected, atol=2e-3)
    pairs = zip(model.variables[:-2], body.variables, strict=True)
    moved = [(here.numpy(), theirs.numpy()) for here, theirs in pairs if "moving_mean" in theirs.path]
    assert len(moved) == 94
    for here, theirs in moved:  # variances differ by n / (n - 1): the fused kernel's is the unbiased estimate
        np.testing.assert_allclose(here, theirs, atol=1e-3)
    assert body.count_params() == 21_802_784
    assert model.count_params() == 21_802_784 + 2048 * 128 + 128
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 21_768_352 + 262_272


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    for file, message in (("none", "no such file"), ("damaged", "not the weights"), ("other", "not the weights")):
        path = tmp_path / f"{file}.weights.h5"
        if file == "damaged":
            path.write_bytes(b"no HDF5")
        elif file == "other":
            other.save_weights(path)
        with pytest.raises(InputError, match=rf"{file}\.weights\.h5: {message}"):
            load_imagenet(other if file != "other" else build_nn2(32), path)
    with pytest.raises(ValueError, match="at least 75"):
        build_inception_v3(64)


def test_every_network_gives_unit_vectors_of_128() -> None:
    faces = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    for model in (build_nn1(32, "batch"), build_nn2(32)):
        out = model(faces).numpy()
        assert out.shape == (2, 128)
        np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)


def test_maxout_is_the_largest_of_its_affine_maps() -> None:
    """h_i(x) = max_j x·W[:,j,i] + b[j,i], unit by unit."""
    rng = np.random.default_rng(0)
    layer = Maxout(5, pieces=3)
    x = rng.normal(size=(4, 7)).astype(np.float32)
    layer(x)
    kernel, bias = rng.normal(size=(7, 15)).astype(np.float32), rng.normal(size=15).astype(np.float32)
    layer.set_weights([kernel, bias])
    out = layer(x).numpy()
    for b in range(4):
        for i in range(5):
            maps = [float(x[b] @ kernel[:, j * 5 + i] + bias[j * 5 + i]) for j in range(3)]
            assert out[b, i] == pytest.approx(max(maps), abs=1e-5)


def test_maxout_can_be_any_convex_function() -> None:
    """What makes it an activation and not a layer with one: two pieces are |x|, which no rectifier is."""
    layer = Maxout(1, pieces=2)
    x = np.linspace(-2, 2, 9, dtype=np.float32)[:, None]
    layer(x)
    layer.set_weights([np.array([[1.0, -1.0]], np.float32), np.zeros(2, np.float32)])
    np.testing.assert_allclose(layer(x).numpy(), np.abs(x))


def slow_norms(x: NDArray[np.float32]) -> NDArray[np.float64]:
    batch, height, width, channels = x.shape
    out = np.zeros(x.shape)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    patch = x[b, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, c].astype(np.float64)
                    out[b, i, j, c] = np.sqrt((patch**2).sum())
    return out


def test_l2_pooling_and_its_gradient() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(L2Pooling(3)(x).numpy(), slow_norms(x), atol=1e-5)
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        tape.watch(variable)
        total = tf.reduce_sum(L2Pooling(3)(variable))
    gradient = tape.gradient(total, variable).numpy()
    for index in [(0, 0, 0, 0), (1, 2, 3, 1), (0, 3, 4, 2)]:
        step = np.zeros_like(x)
        step[index] = 1e-3
        slope = (slow_norms(x + step).sum() - slow_norms(x - step).sum()) / 2e-3
        assert gradient[index] == pytest.approx(slope, rel=2e-2)


def test_l2_pooling_of_zeros_has_a_gradient() -> None:
    variable = tf.Variable(np.zeros((1, 3, 3, 1), np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(L2Pooling(3)(variable))
    np.testing.assert_array_equal(tape.gradient(total, variable).numpy(), 0)


def test_response_normalisation_by_hand() -> None:
    x = np.random.default_rng(0).normal(0, 30, (1, 1, 2, 8)).astype(np.float32)
    out = LocalResponseNormalization()(x).numpy()
    for c in range(8):
        near = x[..., max(c - 2, 0) : c + 3].astype(np.float64)
        expected = x[..., c] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
        np.testing.assert_allclose(out[..., c], expected, rtol=1e-4)


def test_a_saved_network_is_read_back(tmp_path: Path) -> None:
    """With the layers that are not Keras' own."""
    keras.utils.set_random_seed(0)
    x = faces = keras.Input((8, 8, 3))
    for layer in (LocalResponseNormalization(), L2Pooling(3), keras.layers.Flatten(), Maxout(6, pieces=3)):
        x = layer(x)
    model = keras.Model(faces, x)
    model.save(tmp_path / "m.keras")
    shown = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(shown), model(shown), atol=1e-6)
