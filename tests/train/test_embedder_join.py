"""Two embedders as one: what both see is mapped to what they were taught."""

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
from train.data.faces import FaceSet, Split  # noqa: E402
from train.embedder import embed  # noqa: E402
from train.embedder_data import Targets  # noqa: E402
from train.embedder_join import Joint, body, build, join, open_embedder, spoilt  # noqa: E402
from train.embedder_memory import MEAN_OFF  # noqa: E402
from train.models.dlib_resnet import DlibDesign  # noqa: E402
from train.models.embedder import EmbedderDesign  # noqa: E402
from train.teachers import Teachers  # noqa: E402

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
    x, y = embed(body(first), FACES), embed(body(second), FACES)
    sizes = float(np.sqrt(np.square(x).mean())), 3.0
    features = np.concatenate([x / sizes[0], y / sizes[1]], axis=1)
    targets = unit(RNG.normal(size=(len(FACES), 5)))
    joint = Joint.fit(features, targets, np.ones(len(FACES)), 4)
    both = build(first, second, joint, sizes)
    np.testing.assert_allclose(embed(both, FACES), joint(features), rtol=1e-4, atol=1e-5)


def test_the_map_is_the_one_with_the_least_squares_of_rows_that_count() -> None:
    x, y = RNG.normal(size=(300, 9)), unit(RNG.normal([0.0, 1.0, 0.0, 0.0], 1.0, (300, 4)))
    twice = np.repeat([1.0, 2.0], 150)
    ridge = 0.3
    joint = Joint.fit(x, y, twice, 4, ridge)
    # Another way: rows that count twice stand there twice, and the ridge is rows of their own.
    rows, wanted = (np.concatenate([a, a[150:]]) for a in (x, np.asarray(y, np.float64)))
    centred, answers = rows - rows.mean(axis=0), wanted - wanted.mean(axis=0)
    weight = np.sqrt(ridge * len(rows) * np.square(centred).mean()) * np.eye(9)
    kernel = np.linalg.lstsq(np.concatenate([centred, weight]), np.concatenate([answers, np.zeros((9, 4))]))[0]
    expected = unit((x - rows.mean(axis=0)) @ kernel + (1 - MEAN_OFF) * wanted.mean(axis=0))
    np.testing.assert_allclose(joint(x) @ joint(x).T, expected @ expected.T, atol=1e-4)


def test_components_keep_the_directions_in_which_the_answers_differ() -> None:
    x = RNG.normal(size=(500, 6))
    y = unit(x @ np.diag([5, 3, 2, 0.1, 0.1, 0.1]))
    joint = Joint.fit(x, y, np.ones(500), 3)
    assert joint.kernel.shape == (6, 3)
    assert np.linalg.norm(joint.kernel[3:]) < 0.1 * np.linalg.norm(joint.kernel[:3])
    centred = y - y.mean(axis=0)
    _, _, rows = np.linalg.svd(centred, full_matrices=False)
    best = unit((y - MEAN_OFF * y.mean(axis=0)) @ rows[:3].T)
    assert np.corrcoef((joint(x) @ joint(x).T).ravel(), (best @ best.T).ravel())[0, 1] > 0.95


def people(count: int, each: int, seed: int) -> FaceSet:
    rng = np.random.default_rng(seed)
    looks = rng.integers(0, 256, (count, 1, 7, 7, 3)) + rng.integers(-40, 40, (count, each, 7, 7, 3))
    pictures = np.clip(looks, 0, 255).astype(np.uint8).repeat(16, 2).repeat(16, 3)
    names = tuple(f"p{n}" for n in range(count) for _ in range(each))
    n = count * each
    files = tuple(f"{i}.jpg" for i in range(n))
    return FaceSet(pictures.reshape(n, 112, 112, 3), files, ("celeb",) * n, names, ("",) * n)


class MadeUp(Teachers):
    """Teachers whose answer is the mean colour of nine parts of a face."""

    def __init__(self) -> None:
        pass

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = faces[:, :111, :111].reshape(len(faces), 3, 37, 3, 37, 3).mean((2, 4)).reshape(len(faces), 27)
        return unit(parts - 128)


@pytest.mark.parametrize("remembers", [False, True])
def test_both_answer_more_nearly_what_they_were_taught_than_either(remembers: bool) -> None:
    split = Split(people(40, 4, 0), people(10, 4, 1), people(6, 4, 2), people(1, 1, 3))
    known = (lambda faces: unit(faces[:, ::28, ::28].reshape(len(faces), -1) + 1.0)) if remembers else None
    keras.utils.set_random_seed(2)
    first, second = network(1), replace(DESIGN, dimension=5 + 48 if remembers else 5).build()
    said: list[str] = []
    both = join(first, second, split, MadeUp(), known, dimension=5, say=said.append)
    pattern = re.compile(r"(first|second|both), faces (as they are|spoilt): dev people ([\d.]+) %, group ([\d.]+) %")
    lines = [found.groups() for line in said if (found := pattern.fullmatch(line))]
    assert [line[:2] for line in lines] == [
        (name, what) for name in ("first", "second", "both") for what in ("as they are", "spoilt")
    ]
    learned = split.learn.centre()
    answers = embed(both, learned)
    assert answers.shape == (160, 5)
    bank = Targets.fit(MadeUp(), split.learn, 5, known).bank
    same = np.corrcoef((answers @ answers.T).ravel(), (bank @ bank.T).ravel())[0, 1]
    alone = []
    for each in (first, second):
        features = embed(body(each), learned)
        joint = Joint.fit(features, bank, np.ones(len(bank)), 5)
        alone.append(np.corrcoef((joint(features) @ joint(features).T).ravel(), (bank @ bank.T).ravel())[0, 1])
    assert same > max(alone)


def test_spoilt_faces_are_always_the_same_and_worse() -> None:
    faces = people(3, 2, 4)
    once = spoilt(faces)
    np.testing.assert_array_equal(once, spoilt(faces))
    assert np.abs(once.astype(int) - faces.centre()).mean() > 2


def test_what_is_no_embedder_is_refused(tmp_path: Path) -> None:
    pixels = keras.Input((112, 112, 3))
    keras.Model(pixels, keras.layers.Flatten()(pixels)).save(tmp_path / "flat.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK")
    chips = keras.Input((150, 150, 3))
    keras.Model(chips, keras.layers.Dense(2, name="head_dense")(chips)).save(tmp_path / "chips.keras")
    for name in ("flat.keras", "broken.keras", "none.keras", "chips.keras"):
        with pytest.raises(InputError, match=rf"{name} is not an embedder; give the embedder\.keras of a training"):
            open_embedder(tmp_path / name)


def test_what_one_of_them_was_to_remember_must_be_said() -> None:
    split = Split(*(people(2, 2, n) for n in range(4)))

    def known(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.ones((len(faces), 3), np.float32)

    longer = replace(DESIGN, dimension=8).build()
    with pytest.raises(InputError, match="longer than 5: give the --remember"):
        join(network(1), longer, split, MadeUp(), dimension=5)
    with pytest.raises(InputError, match="neither network was trained with this file"):
        join(network(1), network(2), split, MadeUp(), known, dimension=5)
