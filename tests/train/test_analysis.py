"""The analysis against slow definitions, and the report on people of one's own making."""

from __future__ import annotations

import base64
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from engine.errors import InputError, UsageError
from train.analysis.analyse import Settings, analyse, pictures, to_dict
from train.analysis.distances import medoid_table, medoids, spreads
from train.analysis.fonts import missing
from train.analysis.people import Division, EmbeddedPeople, divide
from train.analysis.recognition import all_pairs, closest_group, name_photos, verify
from train.analysis.report import html
from train.analysis.source import find_group
from train.analysis.tsne import arrange, fitting_perplexity
from train.snapshots import Snapshot, read_snapshots, save_snapshot

QUICK = Settings(photos_each=3, draws=4, iterations=250)


def crowd(sizes: tuple[int, ...], noise: float = 0.5, seed: int = 0, splits: bool = False) -> EmbeddedPeople:
    """People as noisy directions of a sphere."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), 16))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors, names, parts = [], [], []
    for person, size in enumerate(sizes):
        for n in range(size):
            v = centres[person] + noise * rng.normal(size=16) / 4
            vectors.append(v / np.linalg.norm(v))
            names.append(f"p{person:02d}")
            parts.append(("train", "train", "dev", "test")[n % 4])
    order = rng.permutation(len(vectors))
    return EmbeddedPeople(
        np.array(vectors, np.float32)[order],
        tuple(names[i] for i in order),
        tuple(parts[i] for i in order) if splits else (),
    )


# --- Distances --------------------------------------------------------------------------------------------------------


def test_distances_are_euclidean_and_never_squared() -> None:
    """Opposite unit vectors are 2 apart, orthogonal ones √2; squared they would be 4 and 2."""
    vectors = np.array([[1, 0], [1, 0], [-1, 0], [0, 1]], np.float32)
    people = EmbeddedPeople(vectors, ("a", "a", "b", "c"))
    np.testing.assert_allclose(medoid_table(people), [[0, 2, 2**0.5], [2, 0, 2**0.5], [2**0.5, 2**0.5, 0]], atol=1e-6)
    assert spreads(people)[0].pairs.tolist() == [0]
    assert spreads(people)[1].pairs.size == 0
    assert np.isnan(spreads(people)[1].median)


def test_medoids_and_spreads_by_hand() -> None:
    people = crowd((5, 7, 3))
    for person, name in enumerate(people.names):
        mine = people.embeddings[np.array(people.people) == name].astype(np.float64)
        totals = [float(np.linalg.norm(mine - v, axis=1).sum()) for v in mine]
        np.testing.assert_array_equal(medoids(people)[person], mine[int(np.argmin(totals))].astype(np.float32))
        pairs = sorted(float(np.linalg.norm(v - w)) for v, w in itertools.combinations(mine, 2))
        np.testing.assert_allclose(sorted(spreads(people)[person].pairs), pairs, atol=1e-5)


@pytest.mark.parametrize("count", [3, 8, 45])
def test_the_closest_three(count: int) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 16)).astype(np.float32)
    points[[0, 2, count - 1]] = points[0] + 0.1 * rng.normal(size=(3, 16)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert closest_group(points) == (0, 2, count - 1) if count > 3 else (0, 1, 2)


# --- Naming and verification ------------------------------------------------------------------------------------------


def test_nobody_is_named_by_their_own_photo() -> None:
    people = crowd((6, 4, 9, 2))
    divisions = divide(people, photos_each=3, draws=7)
    assert len(divisions) == 7
    labels = people.labels
    for d in divisions:
        assert sorted([*d.enrolled, *d.probes]) == list(range(21))
        assert np.bincount(labels[d.enrolled]).tolist() == [3, 2, 3, 1]
    assert len({tuple(d.enrolled) for d in divisions}) > 1


def test_the_train_split_enrols() -> None:
    people = crowd((8, 8), splits=True)
    (division,) = divide(people)
    assert {people.splits[i] for i in division.enrolled} == {"train"}
    assert {people.splits[i] for i in division.probes} == {"dev", "test"}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (("train", "train", "dev", "dev"), "b has no photo in the train split"),
        (("train",) * 4, "all photos are in the train split"),
    ],
)
def test_splits_that_cannot_be_used(splits: tuple[str, ...], message: str) -> None:
    people = EmbeddedPeople(np.eye(4, dtype=np.float32), ("a", "a", "b", "b"), splits)
    with pytest.raises(InputError, match=message):
        divide(people)


def test_a_single_photo_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="b has a single photo"):
        divide(EmbeddedPeople(np.eye(3, dtype=np.float32), ("a", "a", "b")))


def test_naming_by_the_nearest_medoid_by_hand() -> None:
    people = crowd((6, 5, 7), noise=1.2, seed=3)
    divisions = divide(people, 3, 5)
    naming = name_photos(people, divisions)
    right: dict[int, list[bool]] = {}
    row = 0
    confused = np.zeros((3, 3), int)
    for d in divisions:
        prototypes = []
        for person in range(3):
            mine = [people.embeddings[i].astype(float) for i in d.enrolled if people.labels[i] == person]
            prototypes.append(min(mine, key=lambda v: sum(np.linalg.norm(v - w) for w in mine)))
        for i in d.probes:
            named = int(np.argmin([np.linalg.norm(people.embeddings[i] - p) for p in prototypes]))
            assert naming.named[row] == named
            right.setdefault(int(i), []).append(named == people.labels[i])
            confused[people.labels[i], named] += 1
            row += 1
    assert naming.rank1.value == pytest.approx(np.mean([np.mean(v) for v in right.values()]))
    assert naming.rank1.low <= naming.rank1.value <= naming.rank1.high
    np.testing.assert_array_equal(naming.confusion, confused)
    assert naming.rank1.value < 1, "too easy to prove anything"


def test_confusion_inside_a_group_counts_only_that() -> None:
    """Of four photos of a and b one of each is taken for the other, one of a for c, one of b is right."""
    e = np.eye(3, dtype=np.float32)
    people = EmbeddedPeople(
        np.stack([e[0], e[1], e[2], e[1], e[2], e[0], e[1], e[2]]), ("a", "b", "c", "a", "a", "b", "b", "c")
    )
    naming = name_photos(people, [Division(np.arange(3), np.arange(3, 8))])
    inside = naming.among((0, 1))
    assert inside is not None
    assert (inside.value, inside.count) == (0.5, 4)
    alone = naming.among((2,))
    assert alone is not None
    assert alone.value == 0


def test_a_stranger_is_somebody_whose_own_prototype_is_gone() -> None:
    people = crowd((5, 5, 5), noise=0.3)
    naming = name_photos(people, divide(people, 2, 1))
    curve = naming.open_set()
    others = [
        max(s for j, s in enumerate(row) if j != t) for row, t in zip(naming.similarities, naming.truth, strict=True)
    ]
    for threshold in (0.2, 0.5, 0.8):
        at = int(np.flatnonzero(curve.thresholds >= threshold)[-1])
        assert curve.far[at] == pytest.approx(np.mean(np.array(others) >= threshold))


def test_verification_is_over_all_pairs() -> None:
    people = crowd((4, 6, 3), noise=1.0)
    s, same = all_pairs(people)
    v = verify(people, rounds=20)
    assert (v.same, v.different) == (6 + 15 + 3, 13 * 12 // 2 - 24)
    pairs = list(itertools.combinations(range(13), 2))
    for k in (0, 17, 77):
        i, j = pairs[k]
        assert s[k] == pytest.approx(float(people.embeddings[i] @ people.embeddings[j]), abs=1e-6)
        assert same[k] == (people.people[i] == people.people[j])
    for far, rate in v.tar.items():
        assert rate.low <= rate.value <= rate.high or far == 1e-3
    with pytest.raises(ValueError, match="pairs of both kinds"):
        verify(EmbeddedPeople(np.eye(2, dtype=np.float32), ("a", "b")))


# --- t-SNE ------------------------------------------------------------------------------------------------------------


def test_perplexity_is_lowered_with_a_note() -> None:
    assert fitting_perplexity(150, 452) == (150, "")
    value, note = fitting_perplexity(150, 31)
    assert value == 10
    assert "10 instead of 150" in note
    assert "31 photos" in note


def test_a_map_keeps_people_together_and_is_repeatable() -> None:
    people = crowd((12, 12, 12), noise=0.2)
    mapped = arrange(people.embeddings, iterations=300)
    again = arrange(people.embeddings, iterations=300)
    np.testing.assert_array_equal(mapped.points, again.points)
    apart = np.linalg.norm(mapped.points[:, None] - mapped.points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert np.mean(people.labels[apart.argmin(axis=1)] == people.labels) == 1
    assert mapped.note
    with pytest.raises(InputError, match="at least 4"):
        arrange(people.embeddings[:3])


def test_a_collapsed_network_can_be_mapped() -> None:
    points = arrange(np.tile(np.eye(1, 8, dtype=np.float32), (12, 1)), iterations=250).points
    assert np.isfinite(points).all()


# --- The whole --------------------------------------------------------------------------------------------------------


class Images(HTMLParser):
    """Collects the pictures and everything that would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[NDArray[np.uint8]] = []
        self.outside: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            assert values["alt"]
            kind, _, data = (values["src"] or "").partition(",")
            assert kind == "data:image/png;base64"
            picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            self.pictures.append(np.asarray(picture, np.uint8))
        elif tag in ("script", "link", "iframe"):
            self.outside.append(tag)
        self.outside += [v for k, v in attrs if v and k in ("href", "src") and not v.startswith("data:")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_with_every_picture_and_figure(tmp_path: Path) -> None:
    people = crowd((12, 10, 9, 8), noise=0.8, splits=True)
    for step in (0, 5):
        kept = EmbeddedPeople(np.roll(people.embeddings, step, 0), people.people, people.splits)
        save_snapshot(tmp_path, step, Snapshot(kept, step * 32, "NN1, triplet"))
    snapshots = read_snapshots(tmp_path)
    result = analyse(people, "<Group> & co", "net", QUICK, snapshots=snapshots, notes=["a <note>"])
    page = html(result, pictures(result))
    parser = Images()
    parser.feed(page.removeprefix("<!doctype html>"))
    assert parser.outside == []
    assert parser.open == []
    assert len(parser.pictures) == 6
    for picture in parser.pictures:
        assert picture.shape[1] >= 900
        assert (picture < 250).any(axis=2).mean() > 0.003, "nothing is drawn"
    assert "&lt;Group&gt; &amp; co" in page
    assert "a &lt;note&gt;" in page
    assert "viewport" in page
    assert "<b>Euclidean</b>" in page
    assert "not squared" in page
    assert "perplexity 13 instead of 150" in page
    assert f"{100 * result.naming['medoid'].rank1.value:.1f} %" in page
    assert "NN1, triplet" in page


def test_json_holds_what_the_report_shows() -> None:
    people = crowd((12, 10, 9, 8), noise=0.8)
    result = analyse(people, "group", "net", QUICK, group=(1, 3))
    record = json.loads(json.dumps(to_dict(result)))
    assert record["closest"] == ["p01", "p03"]
    assert record["rank1"].keys() == {"medoid", "centroid", "kmeans"}
    assert record["verification"]["tar_at_far"].keys() == {"0.01", "0.001"}
    assert record["distances"]["kind"].startswith("Euclidean")
    np.testing.assert_allclose(record["distances"]["medoids"], medoid_table(people), atol=1e-4)
    far, tar = record["verification"]["roc"]["far"], record["verification"]["roc"]["tar"]
    assert len(far) == len(tar) <= 200
    assert (far[0], tar[0], far[-1], tar[-1]) == (0, 0, 1, 1)
    assert np.sum(record["confusion"]) == 4 * sum(n - min(3, n // 2) for n in (12, 10, 9, 8))
    assert len(record["tsne"]["points"]) == 39
    assert any("perplexity" in note for note in record["notes"])


def test_a_large_crowd_is_drawn_in_part() -> None:
    result = analyse(crowd((4,) * 30), "crowd", "net", QUICK)
    assert len(result.shown) == 24
    assert set(result.group) <= set(result.shown)
    assert any("24 of the 30" in note for note in result.notes)
    assert len(pictures(result)) == 5


def test_too_little_is_said() -> None:
    with pytest.raises(InputError, match="at least two people"):
        analyse(crowd((5,)), "one", "net", QUICK)
    lonely = EmbeddedPeople(np.eye(4, dtype=np.float32), ("a", "a", "b", "b"), ("train", "test", "train", "test"))
    with pytest.raises(InputError, match="no two of one person"):
        analyse(lonely, "pairs", "net", QUICK)


def test_snapshots_of_different_photos_are_refused() -> None:
    one, other = crowd((6, 6)), crowd((6, 7))
    with pytest.raises(InputError, match="different photos"):
        analyse(one, "x", "net", QUICK, snapshots=[Snapshot(one, 0, "t"), Snapshot(other, 1, "t")])


def test_groups_are_given_by_name() -> None:
    people = crowd((2, 2, 2))
    assert find_group(people, "p02, p00") == (2, 0)
    with pytest.raises(UsageError, match="'nobody' is not one of the people"):
        find_group(people, "p00,nobody")
    with pytest.raises(UsageError, match="at least two"):
        find_group(people, "p00")


def test_names_are_shortened_in_pictures_only() -> None:
    people = crowd((6, 6, 6))
    long = {"p00": "Ä" * 60, "p01": "b", "p02": "𐎠𐎡"}
    named = EmbeddedPeople(people.embeddings, tuple(long[p] for p in people.people))
    result = analyse(named, "names", "net", QUICK)
    assert re.search("Ä{60}", html(result, pictures(result)))
    assert any("letters 𐎠𐎡:" in note for note in result.notes)


def test_letters_that_a_font_has_are_not_missing() -> None:
    assert missing(["Minju", "Ёлка", "Ω"]) == ""
    assert missing(["a𐎠b𐎡𐎠"]) == "𐎠𐎡"
