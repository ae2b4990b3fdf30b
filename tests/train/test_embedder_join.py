"""Two embedders as one: it answers what their answers say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from train import embedder_join  # noqa: E402
from train.data.faces import FaceSet, Split  # noqa: E402
from train.embedder import embed  # noqa: E402
from train.embedder_join import Joint, build, join, spoilt  # noqa: E402
from train.embedder_memory import MEAN_OFF  # noqa: E402
from train.models.dlib_resnet import DlibDesign  # noqa: E402
from train.models.embedder import EmbedderDesign  # noqa: E402

DESIGN = DlibDesign(channels=(4, 6, 6), blocks=(1, 2, 1), dimension=5, side=40)
RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (24, 112, 112, 3), dtype=np.uint8)


def network(seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    return DESIGN.build()


def unit(x: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(
    "other",
    [DESIGN, EmbedderDesign(stem=4, channels=(4, 6), blocks=(0, 1), dimension=7), replace(DESIGN, top=20)],
)
def test_the_joint_network_answers_the_joint_answer(other: Any) -> None:
    first, second = network(1), other.build()
    x, y = embed(first, FACES), embed(second, FACES)
    joint = Joint.fit(x, y, 0.7, 4)
    both = build(first, second, joint)
    np.testing.assert_allclose(embed(both, FACES), joint(x, y), atol=1e-5)


def test_components_keep_the_directions_in_which_most_happens() -> None:
    x, y = unit(RNG.normal(size=(300, 6))), unit(RNG.normal(size=(300, 3)) * [5, 1, 0.1] + [0, 2, 0])
    joint = Joint.fit(x, y, 1.5, 4)
    both = np.concatenate([x, 1.5 * y], axis=1).astype(np.float64)
    mean = both.mean(axis=0)
    _, sizes, rows = np.linalg.svd(both - mean, full_matrices=False)
    np.testing.assert_allclose(joint.kernel @ joint.kernel.T, rows[:4].T @ rows[:4], atol=1e-4)
    assert sizes[3] > 1.001 * sizes[4]
    expected = unit((both - MEAN_OFF * mean) @ rows[:4].T)
    np.testing.assert_allclose(joint(x, y) @ joint(x, y).T, expected @ expected.T, atol=1e-4)


def people(count: int, each: int, seed: int) -> FaceSet:
    rng = np.random.default_rng(seed)
    looks = rng.integers(0, 256, (count, 1, 7, 7, 3)) + rng.integers(-40, 40, (count, each, 7, 7, 3))
    pictures = np.clip(looks, 0, 255).astype(np.uint8).repeat(16, 2).repeat(16, 3)
    names = tuple(f"p{n}" for n in range(count) for _ in range(each))
    n = count * each
    files = tuple(f"{i}.jpg" for i in range(n))
    return FaceSet(pictures.reshape(n, 112, 112, 3), files, ("celeb",) * n, names, ("",) * n)


def test_of_the_weights_the_one_with_which_most_people_are_recognised_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (0.01, 1.0, 100.0)  # the first alone, both, the second alone
    monkeypatch.setattr(embedder_join, "WEIGHTS", weights)
    split = Split(people(10, 4, 0), people(30, 4, 1), people(6, 4, 2), people(1, 1, 3))
    network(1).save(tmp_path / "first.keras")
    network(2).save(tmp_path / "second.keras")
    said: list[str] = []
    both = join(tmp_path / "first.keras", tmp_path / "second.keras", split, 4, said.append)
    figures = [[float(w) for w in re.sub("[:,]", "", line).split() if w[0].isdigit()] for line in said]
    assert [f[0] for f in figures] == [w for w in weights for _ in ("as they are", "spoilt")]
    sums = {w: sum(f[1] + f[2] for f in figures if f[0] == w) for w in weights}
    assert both.get_layer("join_weight").scale == max(sums, key=lambda w: sums[w])
    assert min(sums.values()) < max(sums.values()), "the choice is to be one"


def test_spoilt_faces_are_always_the_same_and_worse() -> None:
    faces = people(3, 2, 4)
    once = spoilt(faces)
    np.testing.assert_array_equal(once, spoilt(faces))
    assert np.abs(once.astype(int) - faces.centre()).mean() > 2


def test_what_is_no_embedder_is_refused(tmp_path: Path) -> None:
    split = Split(*(people(2, 2, n) for n in range(4)))
    network(1).save(tmp_path / "first.keras")
    pixels = keras.Input((112, 112, 3))
    keras.Model(pixels, keras.layers.Flatten()(pixels)).save(tmp_path / "flat.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK")
    chips = keras.Input((150, 150, 3))
    keras.Model(chips, keras.layers.Dense(2, name="head_dense")(chips)).save(tmp_path / "chips.keras")
    for name in ("flat.keras", "broken.keras", "none.keras", "chips.keras"):
        with pytest.raises(InputError, match=rf"{name} is not an embedder; give the embedder\.keras of a training"):
            join(tmp_path / "first.keras", tmp_path / name, split)
