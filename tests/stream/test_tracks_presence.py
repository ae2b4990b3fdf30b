"""Seconds and appearances, against a slow reference that paints a timeline."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stream.presence import PresenceLog, presence, silences


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.sets(st.integers(0, 29)),
    st.integers(-100, 100),
)
def test_presence_agrees_with_a_painted_timeline(steps: list[int], where: set[int], start: int) -> None:
    pts = [start]
    for step in steps[1:]:
        pts.append(pts[-1] + step)
    shown = sorted(i for i in where if i < len(pts))
    # Paint: a cell of a hundredth of a tick... in ticks of (n - 1), so that the mean duration is whole.
    n = max(1, len(pts) - 1)
    scaled = [p * n for p in pts]
    ends = [*scaled[1:], scaled[-1] + (pts[-1] - pts[0])]
    painted: set[int] = set()
    for i in shown:
        painted.update(range(scaled[i], ends[i]))
    found = presence(pts, Fraction(1, 10), {"a": shown} if shown else {})
    if not shown:
        assert found == ()
        return
    (person,) = found
    assert abs(person.seconds - len(painted) / n / 10) < 0.0006
    covered = sum(end - begin for begin, end in person.appearances)
    assert abs(covered - person.seconds) < 0.001 * (len(person.appearances) + 1)
    for (_, end), (begin, _) in zip(person.appearances, person.appearances[1:], strict=False):
        assert end < begin


@given(
    st.lists(st.tuples(st.integers(1, 50), st.lists(st.integers(0, 4), max_size=4), st.booleans()), max_size=40),
    st.integers(-100, 100),
    st.dictionaries(st.integers(0, 5), st.sampled_from(["a", "b"])),
    st.none() | st.fractions(1, 60, max_denominator=2),
)
def test_frames_that_come_one_by_one_say_the_same(
    frames: list[tuple[int, list[int], bool]], start: int, names: dict[int, str], longest: Fraction | None
) -> None:
    log, pts, shots, now, shot = PresenceLog(longest), [], [], start, 7
    shown: dict[str, set[int]] = {}
    for index, (step, tracks, cut) in enumerate(frames):
        now, shot = now + step, shot + cut
        pts.append(now)
        shots.append(shot)
        log.frame(now, tracks, shot)
        for track in tracks:
            if track in names:
                shown.setdefault(names[track], set()).add(index)
    for track in range(5):
        if track not in names:
            log.forget(track)
    positions = {name: sorted(where) for name, where in shown.items()}
    assert log.frames == len(frames)
    for _ in range(2):  # asking changes nothing
        silent = silences(pts, shots, longest)
        assert log.presence(Fraction(1, 10), names) == presence(pts, Fraction(1, 10), positions, silent)


def test_what_is_kept_grows_with_appearances_and_not_with_frames() -> None:
    log = PresenceLog()
    for index in range(3000):
        log.frame(index, [1] if index % 1000 < 900 else [])
    assert sum(map(len, log._runs.values())) == 3


def test_variable_frame_rate_counts_time_not_frames() -> None:
    (person,) = presence([0, 1, 2, 90, 91], Fraction(1, 30), {"yuri": [2]})
    assert person.seconds == round(88 / 30, 3)
    assert person.appearances == ((0.067, 3.0),)


def test_nobody_is_there_while_a_live_source_is_silent() -> None:
    """Neither is the time counted nor are the two appearances one."""
    pts, shots = [0, 10, 20, 5000, 5010], [0, 0, 0, 1, 1]
    silent = silences(pts, shots, Fraction(100))
    (person,) = presence(pts, Fraction(1, 100), {"yuri": range(5)}, silent)
    assert (person.seconds, person.appearances) == (0.5, ((0.0, 0.3), (50.0, 50.2)))
    assert not silences(pts, shots, None), "the picture of a file stands until the next"
    assert not silences(pts, [0] * 5, Fraction(100)), "followed on over it, so nothing was lost"


def test_a_slow_camera_is_not_silent_between_its_pictures() -> None:
    pts, shots = [0, 200, 400, 600], [0, 0, 1, 1]
    (person,) = presence(pts, Fraction(1, 100), {"yuri": range(4)}, silences(pts, shots, Fraction(100)))
    assert person.appearances == ((0.0, 8.0),)


def test_a_single_frame_lasts_no_time() -> None:
    (person,) = presence([0], Fraction(1), {"yuri": [0]})
    assert (person.seconds, person.appearances) == (0, ((0.0, 0.0),))


def test_people_come_longest_first_then_by_name() -> None:
    found = presence([0, 1, 2, 3], Fraction(1), {"b": [0], "c": [0, 1], "a": [3]})
    assert [p.name for p in found] == ["c", "a", "b"]


def test_an_empty_video_has_nobody() -> None:
    assert presence([], Fraction(1), {}) == ()
