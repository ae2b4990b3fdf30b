"""From embeddings to names, as pure logic."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.gallery import Gallery
from stream.identity import Identity, face_quality

THRESHOLD = 0.5


def axis(*weights: float) -> NDArray[np.float32]:
    """A unit vector with these weights on the first axes of 128."""
    vector = np.zeros(128, np.float32)
    vector[: len(weights)] = weights
    return (vector / np.linalg.norm(vector)).astype(np.float32)


YENA, YURI = axis(1), axis(0, 1)
STRANGER = axis(0, 0, 1)


@pytest.fixture
def identity() -> Identity:
    people = {"yena": YENA[None], "yuri": YURI[None]}
    return Identity(Gallery.build(people, embedder_sha256="0" * 64, threshold=THRESHOLD))


def test_evidence_gives_the_nearest_name_and_its_cosine(identity: Identity) -> None:
    identity.see(0, [7], 0.0)
    assert identity.naming(7).verdict == "unknown"
    identity.add(7, axis(0.8, 0.2), 0.9, 0.0)
    naming = identity.naming(7)
    assert (naming.verdict, naming.name) == ("named", "yena")
    assert naming.similarity == pytest.approx(0.8 / np.hypot(0.8, 0.2), abs=1e-5)


def test_a_stranger_stays_unknown(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    identity.add(1, STRANGER, 0.9, 0.0)
    assert (identity.naming(1).verdict, identity.naming(1).name) == ("unknown", None)


def test_one_bad_look_among_many_changes_nothing(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    for i in range(7):
        identity.add(1, axis(1, 0.1, 0.3), 0.8, float(i))
    identity.add(1, YURI, 0.5, 9.0)
    assert identity.naming(1).name == "yena"


@pytest.mark.parametrize("bad", range(50))
def test_one_bad_frame_among_fifty(identity: Identity, bad: int) -> None:
    """One frame shows, as clearly as the others, what looks like somebody else: wherever it comes, the track has its
    name when the look-ahead of two seconds is over."""
    looks = set()
    for frame in range(50):
        time = frame / 25
        identity.see(0, [1], time)
        if identity.wants(1, 0.7, time):
            identity.add(1, axis(0.1, 1) if frame == bad else axis(1, 0.1, 0.3), 0.7, time)
            looks.add(frame)
    assert identity.naming(1).name == "yena"
    assert 2 <= len(looks) < 10
    assert len(looks) > 2 or bad not in looks, "a look that contradicts the others asks for one more"


def test_look_alikes_are_told_apart_by_many_looks_and_never_share_a_name() -> None:
    """Two people whose prototypes have a cosine of 0.85, and looks so noisy that single ones mistake them."""
    ann, bea = axis(1), axis(0.85, 0.5268)
    gallery = Gallery.build({"ann": ann[None], "bea": bea[None]}, embedder_sha256="0" * 64, threshold=THRESHOLD)
    single = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        identity = Identity(gallery)
        identity.see(0, [1, 2], 0.0)
        for look in range(8):
            for track, face in ((1, ann), (2, bea)):
                noisy = face + rng.normal(0, 0.15, 128).astype(np.float32)
                single += int(noisy @ ann > noisy @ bea) != (track == 1)
                identity.add(track, noisy / np.linalg.norm(noisy), 0.8, float(look))
                names = [identity.naming(track).name for track in (1, 2)]
                assert names[0] is None or names[0] != names[1]
        assert names == ["ann", "bea"], seed
    assert single > 10, "the case is a real one"


def test_a_good_look_outweighs_several_poor_ones(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    for i in range(3):
        identity.add(1, YURI, 0.1, float(i))
    identity.add(1, YENA, 0.9, 4.0)
    assert identity.naming(1).name == "yena"


def test_two_on_one_frame_never_share_a_name(identity: Identity) -> None:
    identity.see(0, [1, 2], 0.0)
    identity.add(1, axis(0.7, 0, 0.4), 0.9, 0.0)
    identity.add(2, axis(0.9, 0, 0.2), 0.9, 0.0)
    assert identity.naming(2).name == "yena"
    assert (identity.naming(1).verdict, identity.naming(1).name) == ("conflict", None)


def test_two_that_never_meet_may_be_one_person(identity: Identity) -> None:
    for track, start in ((1, 0.0), (2, 5.0)):
        identity.see(0, [track], start)
        identity.add(track, YENA, 0.9, start)
    assert identity.naming(1).name == identity.naming(2).name == "yena"


def test_meeting_later_settles_who_keeps_the_name(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    identity.add(1, axis(0.9, 0, 0.3), 0.9, 0.0)
    identity.see(0, [2], 1.0)
    identity.add(2, YENA, 0.9, 1.0)
    assert identity.naming(1).name == "yena"
    identity.see(0, [1, 2], 2.0)
    assert identity.naming(1).verdict == "conflict"
    assert identity.naming(2).name == "yena"


def test_tracks_of_different_shots_do_not_compete(identity: Identity) -> None:
    for shot, track in ((0, 1), (1, 2)):
        identity.see(shot, [track], float(shot))
        identity.add(track, YENA, 0.9, float(shot))
    assert [identity.naming(t).name for t in (1, 2)] == ["yena", "yena"]


def test_a_face_is_looked_at_when_new_when_better_and_now_and_then(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    assert identity.wants(1, 0.6, 0.0)
    identity.add(1, YENA, 0.6, 0.0)
    assert not identity.wants(1, 0.6, 0.04), "the same face a frame later says nothing new"
    assert identity.wants(1, 0.9, 0.04), "a much better look is always worth it"
    assert identity.wants(1, 0.6, 1.0), "a second opinion"
    assert not identity.wants(1, 0.1, 1.0), "not from a much worse look"


def test_a_new_poor_face_waits_a_moment_for_a_better_one(identity: Identity) -> None:
    identity.see(0, [1], 10.0)
    assert not identity.wants(1, 0.2, 10.0)
    assert identity.wants(1, 0.2, 10.3)


def test_a_steady_face_is_embedded_a_few_times_only(identity: Identity) -> None:
    looks = 0
    for frame in range(30 * 60):
        time = frame / 30
        identity.see(0, [1], time)
        if identity.wants(1, 0.7, time):
            identity.add(1, YENA, 0.7, time)
            looks += 1
    assert looks == Identity.looks


def looked_at(identity: Identity, face: NDArray[np.float32], until: float) -> list[float]:
    """When a steady face is looked at, seconds."""
    times = []
    for frame in range(round(30 * until)):
        time = frame / 30
        identity.see(0, [1], time)
        if identity.wants(1, 0.7, time):
            identity.add(1, face, 0.7, time)
            times.append(time)
    return times


def test_a_track_beyond_doubt_is_looked_at_seldom(identity: Identity) -> None:
    assert len(looked_at(identity, YENA, 2.0)) == 2


def test_a_face_on_the_brink_takes_more_looks(identity: Identity) -> None:
    close = THRESHOLD + 0.03
    assert len(looked_at(identity, axis(close, 0, np.sqrt(1 - close**2)), 2.0)) == 4


def test_a_track_beyond_doubt_is_looked_at_again_after_a_while(identity: Identity) -> None:
    times = looked_at(identity, YENA, 6.0)
    assert np.diff(times)[1] == pytest.approx(Identity.check, abs=0.05)


def test_a_blurred_face_counts_for_less_but_is_not_looked_at_again_at_once(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    identity.add(1, YURI, 0.7, 0.0, sharpness=0.1)
    assert not identity.wants(1, 0.7, 0.04)
    identity.add(1, YENA, 0.7, 0.5, sharpness=1.0)
    assert identity.naming(1).name == "yena"


def test_without_a_gallery_nobody_is_embedded() -> None:
    identity = Identity(None)
    identity.see(0, [1], 0.0)
    assert not identity.wants(1, 1.0, 0.0)
    assert identity.naming(1).verdict == "unknown"


FRONTAL = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [70, 92]], np.float32)
BOX = np.array([10, 10, 100, 110], np.float32)


def test_quality_falls_with_size_score_and_turning_away() -> None:
    full = face_quality(BOX, 0.9, FRONTAL)
    assert face_quality(BOX, 0.5, FRONTAL) < full
    assert face_quality((BOX / 4).astype(np.float32), 0.9, (FRONTAL / 4).astype(np.float32)) < full / 2
    turned = FRONTAL.copy()
    turned[2, 0] = 40
    assert face_quality(BOX, 0.9, turned) < full
    # Rolling the head is no harm: alignment undoes it.
    angle = np.deg2rad(30)
    roll = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    rolled = ((FRONTAL - 60) @ roll.T + 60).astype(np.float32)
    assert face_quality(BOX, 0.9, rolled) == pytest.approx(full, rel=0.05)


def test_quality_of_nonsense_is_zero() -> None:
    assert face_quality(np.zeros(4, np.float32), 1.0, np.zeros((5, 2), np.float32)) == 0.0


def test_a_track_that_goes_on_an_ended_one_is_found_by_its_face(identity: Identity) -> None:
    for track, look in ((1, YENA), (2, YURI), (3, axis(1, 0.2))):
        identity.see(0, [track], float(track))
        identity.add(track, look, 0.9, float(track))
    assert identity.reunion(3, [1, 2]) == 1
    assert identity.reunion(3, [2]) is None
    identity.see(0, [1, 3], 9.0)
    assert identity.reunion(3, [1, 2]) is None, "they were seen side by side"


def test_a_joined_track_brings_its_evidence_and_its_company(identity: Identity) -> None:
    identity.see(0, [1], 0.0)
    identity.see(0, [2, 3], 1.0)
    identity.add(1, axis(0.6, 0, 0.8), 0.9, 0.0)
    assert identity.naming(1).verdict == "named"
    before = identity.naming(1).similarity
    identity.add(3, axis(1, 0, 0.1), 0.9, 1.0)
    identity.add(2, axis(0.75, 0, 0, 0.66), 0.9, 1.0)
    identity.join(3, 1)
    assert identity.naming(1).name == "yena"
    assert identity.naming(1).similarity != before, "more is known now"
    assert identity.naming(2).verdict == "conflict", "the joined track stands beside it now"
    assert identity.reunion(2, [1]) is None


def test_strangers_are_numbered_over_shots(identity: Identity) -> None:
    other = axis(0, 0, 0, 1)
    for track, (shot, look) in enumerate([(0, STRANGER), (1, other), (2, axis(0, 0, 1, 0.1)), (3, YENA)]):
        identity.see(shot, [track], float(track))
        identity.add(track, look, 0.9, float(track))
    identity.see(4, [9], 9.0)
    assert identity.strangers() == {0: 1, 1: 2, 2: 1}, "named ones and those never looked at are no strangers"


@pytest.mark.parametrize(
    ("looks", "numbers"),
    [
        ([(0.5, 0.1), (0.5, 0.1)], [1, 2]),
        ([(0.5, 0.1), (0.5, 1.0)], [1, 2]),
        ([(0.5, 1.0), (0.5, 0.3)], [1, 1]),
    ],
)
def test_who_was_never_seen_clearly_is_nobody_elses_likeness(
    identity: Identity, looks: list[tuple[float, float]], numbers: list[int]
) -> None:
    """Blurred faces, lamps and hands all look like each other to an embedder."""
    for track, (quality, sharpness) in enumerate(looks):
        identity.see(track, [track], float(track))
        identity.add(track, STRANGER, quality, float(track), sharpness)
    assert list(identity.strangers().values()) == numbers


def test_one_clear_look_is_enough(identity: Identity) -> None:
    for track in (0, 1):
        identity.see(track, [track], float(track))
        for sharpness in (0.1, 1.0, 0.1):
            identity.add(track, STRANGER, 0.5, float(track), sharpness)
    identity.see(1, [2], 1.5)
    identity.add(2, STRANGER, 0.5, 1.5, 0.1)
    identity.join(2, 1)
    assert identity.strangers() == {0: 1, 1: 1}


def crowd(identity: Identity, shots: int, settled: bool, seed: int = 3) -> list[int]:
    """So many shots of people who are known, known less well, strangers or never looked at; the tracks."""
    random = np.random.default_rng(seed)
    people = [YENA, YURI, *(axis(*random.normal(size=6)) for _ in range(5))]
    tracks: list[int] = []
    for shot in range(shots):
        here = list(range(len(tracks), len(tracks) + 12))
        tracks += here
        for start in range(0, 12, 4):
            identity.see(shot, here[start : start + 5], float(shot))
        for track in here[1:]:
            look = people[random.integers(len(people))] + random.normal(0, 0.05, 128).astype(np.float32)
            identity.add(track, look / np.linalg.norm(look), 0.9, float(shot), random.choice([0.1, 1.0]))
        if settled:
            identity.settle(shot)
    return tracks


def test_shots_that_are_over_keep_their_names_and_their_strangers() -> None:
    gallery = Gallery.build({"yena": YENA[None], "yuri": YURI[None]}, embedder_sha256="0" * 64, threshold=THRESHOLD)
    going_on, settled = Identity(gallery), Identity(gallery)
    tracks = crowd(going_on, 9, settled=False)
    crowd(settled, 9, settled=True)
    namings = [going_on.naming(track) for track in tracks]
    assert {naming.verdict for naming in namings} == {"named", "conflict", "unknown"}
    assert [settled.naming(track) for track in tracks] == namings
    numbers = settled.strangers()
    assert numbers == going_on.strangers()
    assert 1 < len(set(numbers.values())) < len(numbers), "some are alone and some are met again"
    settled.settle(99)  # nobody was in it
    assert settled.strangers() == numbers


def test_little_is_kept_of_a_track_whose_shot_is_over() -> None:
    gallery = Gallery.build({"yena": YENA[None]}, embedder_sha256="0" * 64, threshold=THRESHOLD)
    crowd(Identity(gallery), 2, settled=True)  # what the first use loads stays outside
    identity = Identity(gallery)
    tracemalloc.start()
    tracks = len(crowd(identity, 120, settled=True))
    kept = tracemalloc.get_traced_memory()[0] / tracks
    tracemalloc.stop()
    assert kept < 1200, "bytes: a mean of 512, a name, a place"


def known_as_yena(identity: Identity, looks: int = 3) -> None:
    """Track 1 is Yena beyond doubt, at 0, 1 … seconds."""
    for time in range(looks):
        identity.see(0, [1], float(time))
        assert identity.add(1, axis(1, 0.1, 0.3), 0.8, float(time)) is None


def test_one_look_that_contradicts_a_track_is_asked_about_and_changes_nothing_yet(identity: Identity) -> None:
    known_as_yena(identity)
    before = identity.naming(1)
    assert not identity.wants(1, 0.8, 2.1)
    assert identity.add(1, YURI, 0.8, 2.1) is None
    assert not identity.is_certain(1)
    assert identity.naming(1) == before, "it is not averaged in"
    assert identity.wants(1, 0.8, 2.2), "asked at once, and of a settled track"
    assert identity.add(1, axis(1, 0.2), 0.8, 2.2) is None
    assert identity.is_certain(1)
    assert identity.naming(1).name == "yena"


def test_a_second_look_that_agrees_with_it_parts_them(identity: Identity) -> None:
    known_as_yena(identity)
    before = identity.naming(1)
    identity.add(1, YURI, 0.8, 2.5)
    assert identity.add(1, axis(0, 1, 0.2), 0.7, 2.6) == 2.0, "until then it may have been Yena"
    identity.see(0, [2], 2.6)
    assert identity.part(1, 2) == 2.5, "from then on it was not"
    assert identity.naming(1) == before
    assert identity.naming(2).name == "yuri"
    assert identity.is_certain(1)
    assert identity.is_certain(2)


def test_what_changed_all_at_once_and_contradicts_is_beyond_doubt(identity: Identity) -> None:
    known_as_yena(identity)
    assert not identity.wants(1, 0.8, 2.3)
    assert identity.wants(1, 0.8, 2.3, changed=2.2)
    assert identity.add(1, YURI, 0.8, 2.3) == 2.2
    identity.see(0, [2], 2.3)
    assert identity.part(1, 2) == 2.3
    assert identity.naming(2).name == "yuri"


def test_a_change_that_is_none_of_the_person_is_forgotten(identity: Identity) -> None:
    known_as_yena(identity)
    assert identity.wants(1, 0.8, 2.3, changed=2.2)
    assert identity.add(1, axis(1, 0.2), 0.8, 2.3) is None
    assert identity.is_certain(1)
    assert not identity.wants(1, 0.8, 2.4)


def test_a_change_is_not_forgotten_before_the_face_is_seen_clearly(identity: Identity) -> None:
    known_as_yena(identity)
    assert not identity.wants(1, 0.05, 2.3, changed=2.2), "turned away: nothing to be seen"
    assert identity.wants(1, 0.5, 2.5)
    assert identity.add(1, YURI, 0.5, 2.5, sharpness=0.1) is None, "too blurred to say anything"
    assert identity.wants(1, 0.5, 2.6)
    assert identity.add(1, YURI, 0.5, 2.6) == 2.2


def test_a_face_between_two_takes_two_looks_even_after_a_change(identity: Identity) -> None:
    """As like the track as strangers may be, and not as one person's looks are."""
    known_as_yena(identity)
    between = axis(0.35, 0.94)
    assert identity.wants(1, 0.8, 2.3, changed=2.2)
    assert identity.add(1, between, 0.8, 2.3) is None
    assert identity.add(1, between, 0.8, 2.4) == 2.2


def test_blurred_looks_contradict_nobody(identity: Identity) -> None:
    known_as_yena(identity)
    for time in (2.5, 2.6, 2.7):
        assert identity.add(1, YURI, 0.8, time, sharpness=0.1) is None
    assert identity.naming(1).name == "yena"


def test_looks_that_contradict_a_track_and_each_other_part_nobody(identity: Identity) -> None:
    known_as_yena(identity)
    for number in range(4):
        other = np.zeros(128, np.float32)
        other[10 + number] = 1
        assert identity.add(1, other, 0.8, 2.5 + number / 10) is None
    assert identity.is_certain(1)
    assert identity.naming(1).name == "yena"


def test_of_three_looks_the_first_may_be_the_odd_one(identity: Identity) -> None:
    known_as_yena(identity, looks=1)
    assert identity.add(1, YURI, 0.8, 0.3) is None
    assert identity.add(1, YURI, 0.8, 0.4) is None, "nobody saw a change"
    assert identity.naming(1).name == "yuri"


def test_a_face_that_has_become_another_little_by_little_is_looked_at_again(identity: Identity) -> None:
    known_as_yena(identity)
    later = 2.0 + Identity.drift
    assert not identity.wants(1, 0.8, later, likeness=0.9)
    assert identity.wants(1, 0.8, later, likeness=0.4)
    assert not identity.wants(1, 0.8, later - 0.1, likeness=0.4)


def test_who_was_never_seen_clearly_goes_on_nobody(identity: Identity) -> None:
    """Whatever is blurred looks like whatever else is."""
    for track, sharpness in ((1, 1.0), (2, 0.1), (3, 0.1), (4, 1.0)):
        identity.see(0, [track], float(track))
        identity.add(track, YENA, 0.9, float(track), sharpness)
    assert identity.reunion(3, [1, 2]) is None
    assert identity.reunion(4, [2, 3]) is None
    assert identity.reunion(4, [1, 2]) == 1
