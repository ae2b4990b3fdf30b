"""Thresholds: what a stranger reaches, what it costs, and who may be asked."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import Gallery, archive
from engine.calibration import Calibration, best_cosines, calibrate, mixture_threshold, self_test
from engine.cohort import Cohort, cohort_for
from engine.errors import InputError, UsageError

D = 32


def unit(v: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True), np.float32)


def sphere(sha256: str = "e" * 64) -> Cohort:
    """Strangers spread evenly."""
    return Cohort(np.zeros((1, D), np.float32), np.ones(1), np.ones(1), np.eye(D) / D, 1.0, 99, 99, 99, "net", sha256)


def gallery(people: int, photos: int, alike: float = 0.0, noise: float = 0.5, seed: int = 0) -> Gallery:
    """People around random directions; `alike` pulls them towards one."""
    rng = np.random.default_rng(seed)
    common = unit(rng.normal(size=D))
    made = {}
    for n in range(people):
        middle = unit(alike * common + (1 - alike) * unit(rng.normal(size=D)))
        made[f"p{n:02}"] = unit(middle + noise * rng.normal(size=(photos, D)) / np.sqrt(D))
    return Gallery.build(made, "e" * 64, 0.5, embedder="net")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=60),
    st.lists(st.floats(-1, 1, width=16), max_size=40),
    st.floats(0, 1),
    st.sampled_from([0.01, 0.1, 0.3]),
)
def test_the_threshold_is_the_lowest_that_keeps_the_rate(
    general: list[float], own: list[float], part: float, far: float
) -> None:
    a, b = np.array(general, np.float32), np.array(own, np.float32)

    def rate(threshold: float) -> float:
        share = float((a >= threshold).mean())
        return share if not len(b) else (1 - part) * share + part * float((b >= threshold).mean())

    threshold = mixture_threshold(a, b, part, far)
    assert rate(threshold) <= far + 1e-6
    lower = [v for v in (*general, *own) if v < threshold - 1e-4]  # it is rounded up to four digits
    if lower:
        assert rate(max(lower)) > far - 1e-6


def test_a_gallery_gets_the_rate_that_was_asked_for() -> None:
    fresh = unit(np.random.default_rng(99).normal(size=(40_000, D)))
    for people, far in ((1, 0.01), (5, 0.01), (30, 0.05)):
        made = calibrate(gallery(people, 1), sphere(), far)
        measured = float((best_cosines(fresh, made) >= made.threshold).mean())
        assert 0.5 * far < measured < 1.2 * far
        assert made.calibration.source == "cohort"
        assert made.calibration.far == far


def test_more_people_and_people_who_are_alike_need_a_higher_threshold() -> None:
    one, many = (calibrate(gallery(n, 10), sphere()).threshold for n in (1, 40))
    assert many > one + 0.1
    strange, alike = (calibrate(gallery(8, 30, alike=a), sphere()) for a in (0.0, 0.5))
    assert alike.threshold > strange.threshold + 0.1
    assert alike.calibration.cohort_far is not None
    assert alike.calibration.own_far is not None
    assert alike.calibration.cohort_far < 0.01
    # Half of the strangers are of their own kind at most, so these may have twice the rate, and one unlucky photo more.
    assert alike.calibration.own_far < 0.02 + 2 / 240


def test_one_person_under_two_names_is_not_their_own_stranger() -> None:
    rng = np.random.default_rng(0)
    plain = gallery(6, 20)
    people = {name: plain.of(n) for n, name in enumerate(plain.people)}
    middle = unit(people["p00"].astype(float).mean(0))
    people["again"] = unit(middle + 0.5 * rng.normal(size=(20, D)) / np.sqrt(D))
    twice = Gallery.build(people, "e" * 64, 0.5, embedder="net")
    assert calibrate(twice, sphere()).threshold < calibrate(plain, sphere()).threshold + 0.05


def test_what_it_costs_is_counted_by_really_leaving_photos_out() -> None:
    made = calibrate(gallery(4, 6, noise=1.2), sphere())
    right = wrong = 0
    for person, name in enumerate(made.people):
        for n in range(6):
            rest = {other: made.of(k) for k, other in enumerate(made.people)}
            rest[name] = np.delete(rest[name], n, axis=0)
            without = Gallery.build(rest, "", made.threshold)
            found = without.identify(made.of(person)[n : n + 1]).names[0]
            right += found == name
            wrong += found not in (name, None)
    assert made.calibration.accept == pytest.approx(right / 24)
    assert made.calibration.wrong == pytest.approx(wrong / 24)
    assert made.calibration.photos == 24
    assert 0 < right < 24


def test_nothing_to_measure_on() -> None:
    alone = calibrate(gallery(1, 1), sphere())
    assert alone.calibration.accept is None
    assert alone.calibration.own_far is None
    tried = self_test(alone)
    assert tried.rival.tolist() == [-1]
    assert np.isnan(tried.own).all()


def test_without_a_cohort_the_threshold_stays_and_says_so() -> None:
    made = calibrate(gallery(3, 5), None, reason="nobody asked")
    assert made.threshold == 0.5
    assert made.calibration.source == "embedder"
    assert made.calibration.reason == "nobody asked"
    assert made.calibration.accept is not None


def test_strangers_by_the_million_need_no_memory_by_the_million() -> None:
    """At a rate of 0.0001 strangers are 200 000, whose scatter alone would take 51 MB at once."""
    made = gallery(2, 3)
    tracemalloc.start()
    try:
        calibrate(made, sphere(), 1e-4)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_rates_finer_than_a_cohort_can_tell() -> None:
    for far in (0.9e-5, 1e-7, 1e-300):
        with pytest.raises(UsageError, match=r"finer than .* --far 0\.00001, one face in 100 000"):
            calibrate(gallery(1, 1), sphere(), far)


def test_rates_that_are_none() -> None:
    for far in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            calibrate(gallery(1, 1), sphere(), far)


def test_it_is_kept_in_the_file(tmp_path: Path) -> None:
    made = calibrate(gallery(3, 5), sphere(), 0.02)
    made.save(tmp_path / "g.gallery")
    again = Gallery.load(tmp_path / "g.gallery")
    assert again.calibration == made.calibration
    assert again.threshold == made.threshold
    assert calibrate(again, sphere(), 0.02).sha256 == again.sha256
    assert Calibration.from_dict({"far": 0.1, "later": True}) == Calibration(far=0.1)


def test_drawn_strangers_have_the_means_and_scatter_of_the_cohort() -> None:
    rng = np.random.default_rng(0)
    centroids = (0.8 * unit(rng.normal(size=(3, D)))).astype(np.float32)
    cohort = replace(sphere(), centroids=centroids, weights=np.array([1, 2, 1.0]), scales=np.array([1, 0.5, 1]) * 0.36)
    drawn = cohort.draw(30_000)
    np.testing.assert_array_equal(drawn, cohort.draw(30_000))
    assert not np.array_equal(drawn, cohort.draw(30_000, seed=1))
    nearest = (drawn @ centroids.T).argmax(1)
    np.testing.assert_allclose(np.bincount(nearest) / 30_000, [0.25, 0.5, 0.25], atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-5)


def test_strangers_drawn_in_blocks_are_those_drawn_at_once() -> None:
    cohort, count = replace(sphere(), narrowing=0.5), 50_000
    rng = np.random.default_rng(3)
    rng.choice(1, count, p=np.ones(1))
    values, vectors = np.linalg.eigh(cohort.covariance)
    at_once = rng.standard_normal((count, D)) @ (vectors * np.sqrt(values)).T
    at_once *= rng.uniform(0.5, 1, count)[:, None]
    blocks = list(cohort.blocks(count, seed=3))
    assert [len(block) for block in blocks] == [20_000, 20_000, 10_000]
    np.testing.assert_allclose(np.concatenate(blocks), unit(at_once), atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(blocks), cohort.draw(count, seed=3))
    assert cohort.draw(0).shape == (0, D)


def test_a_cohort_as_a_file(tmp_path: Path) -> None:
    cohort = sphere()
    cohort.save(tmp_path / "c.cohort")
    np.testing.assert_array_equal(Cohort.load(tmp_path / "c.cohort").draw(100), cohort.draw(100))
    data = cohort.to_bytes()
    for cut in (0, 100, len(data) // 2, len(data) - 3):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(InputError, match="cut: not a cohort, or a damaged one"):
            Cohort.load(tmp_path / "cut")
    for change in ({"narrowing": 1.5}, {"weights": np.array([-1.0])}, {"covariance": np.full((D, D), np.nan)}):
        (tmp_path / "odd").write_bytes(replace(cohort, **change).to_bytes())
        with pytest.raises(InputError, match="odd: not a cohort"):
            Cohort.load(tmp_path / "odd")
    header, arrays = archive.read("cohort", data)
    (tmp_path / "odd").write_bytes(archive.write("cohort", header | {"people": float("inf")}, arrays))
    with pytest.raises(InputError, match="odd: not a cohort"):
        Cohort.load(tmp_path / "odd")
    (tmp_path / "new").write_bytes(data.replace(b"iznet.cohort/1.0", b"iznet.cohort/2.0"))
    with pytest.raises(InputError):
        Cohort.load(tmp_path / "new")
    with pytest.raises(InputError, match="no such file; make a cohort"):
        Cohort.load(tmp_path / "none")


def test_a_cohort_of_another_embedder(tmp_path: Path) -> None:
    path = tmp_path / "c.cohort"
    sphere("a" * 64).save(path)
    with pytest.raises(InputError, match=r"c\.cohort: the strangers were embedded by net \(aaaa.* iznet train cohort"):
        cohort_for("other", "b" * 64, path)
    assert cohort_for("net", "a" * 64, path)[0] is not None
    found, reason = cohort_for("other", "b" * 64)
    assert found is None
    assert "not by other" in reason or "no cohort" in reason


def test_the_shipped_cohort_belongs_to_the_shipped_embedder_and_is_nobody() -> None:
    from engine.cohort import shipped_path
    from engine.modelfile import ModelFile

    if not shipped_path().is_file():
        pytest.skip("no cohort in engine/models")
    cohort = Cohort.load(shipped_path())
    model = ModelFile.shipped("embedder")
    cohort.check_embedder(model.name, model.sha256)
    assert len(cohort.centroids) >= 100
    assert cohort.fewest >= 10
    assert np.linalg.norm(cohort.centroids, axis=1).max() < 0.95  # a single face's embedding has length 1
