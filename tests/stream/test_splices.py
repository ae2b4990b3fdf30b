"""Files that were put one behind the other: each part's sound stays with its pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from stream.splices import _shifts, find_splices
from tests.stream.media import Extra, Video, audio, read, relabel, write

PARTS = 4
FRAMES = 60


def spliced(tmp_path: Path, extras: list[Extra], parts: int = PARTS) -> Path:
    """The same broadcast several times, whose clock begins anew each time."""
    one = write(tmp_path / "one.ts", Video(frames=FRAMES, time_base=Fraction(1, 90000)), extras)
    path = tmp_path / "spliced.ts"
    path.write_bytes(one.read_bytes() * parts)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("seconds", [Fraction(13, 5), Fraction(11, 5)])
def test_sound_stays_with_the_pictures_of_its_part(tmp_path: Path, suffix: str, seconds: Fraction) -> None:
    """Sound that is longer than its pictures was later with every part, and no longer in step with any lips."""
    path = spliced(tmp_path, [audio("eng", codec="mp2", seconds=float(seconds))])
    report = relabel(path, tmp_path / f"b.{suffix}")
    one, copy = read(tmp_path / "one.ts"), read(tmp_path / f"b.{suffix}")
    assert len(copy.times) == PARTS * FRAMES
    # The first packet of each part, by the picture that it is with.
    first = one.packets[1][0]
    begins = [when for when, data in copy.packets[1] if data == first[1]]
    lead = first[0] - one.times[0]
    wanted = [copy.times[part * FRAMES] + lead for part in range(PARTS)]
    assert len([w for w in wanted if min(abs(b - w) for b in begins) <= Fraction(1, 500)]) == PARTS
    left_out = PARTS * len(one.packets[1]) - len(copy.packets[1])
    assert (left_out > 0) == (seconds > Fraction(12, 5))
    assert any("is spliced, for which" in note for note in report.notes) == (left_out > 0)


def test_nothing_is_found_where_no_clock_is_set_back(tmp_path: Path) -> None:
    path = spliced(tmp_path, [audio("eng", seconds=2.4)], parts=1)
    shown = [int(t * 90000) for t in read(path).times]
    assert find_splices(path, "mpegts", 0, [1], shown) is None


def test_parts_whose_pictures_are_not_in_the_copy(tmp_path: Path) -> None:
    """A run that was interrupted: no more is known than what it had."""
    path = spliced(tmp_path, [audio("eng", seconds=2.4)])
    relabel(path, tmp_path / "b.mkv")
    one = [int(t * 90000) for t in read(tmp_path / "one.ts").times]
    step = one[-1] - one[-2]
    shift = one[-1] + step - one[0]
    shown = [*one, *(t + shift for t in one[: FRAMES // 2])]
    splices = find_splices(path, "mpegts", 0, [1], shown)
    assert splices is not None
    assert splices.shifts == (Fraction(0), Fraction(shift, 90000))


@pytest.mark.parametrize(
    ("parts", "shown", "shifts"),
    [
        ([[0, 4, 8], [0, 4, 8]], [0, 4, 8, 12, 16, 20], [0, 12]),
        ([[0, 4, 8], [0, 4, 8]], [0, 4, 8, 12], [0, 12]),  # interrupted
        ([[0, 4, 8], [0, 4, 8]], [0, 4], [0]),
        ([[0, 4, 8], [0, 4, 8], [0, 4, 8]], [0, 4, 8, 12, 16, 20], [0, 12]),
        ([[0, 4, 9000], [8, 12]], [0, 4, 8, 12], []),  # one wrong time
        ([[0, 4, 8], [0, 3, 8]], [0, 4, 8, 12, 16, 20], []),  # a picture that nobody could decode
        ([[0, 4, 8], []], [0, 4, 8], []),
    ],
)
def test_what_is_in_doubt_is_left_as_it_is(parts: list[list[int]], shown: list[int], shifts: list[int]) -> None:
    assert _shifts(parts, shown) == shifts
