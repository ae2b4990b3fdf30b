"""Frame rates and SMPTE timecode: how editors count frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

DEFAULT_RATE = Fraction(25)
"""Of a video of one frame, which has no rate of its own."""

_FASTEST = 1000
_SLACK = Fraction(1, 100)
"""Part of the usual distance between frames by which the mean one may differ and still count."""
_COARSE = Fraction(1, 8)
"""Part of it that a tick may be at most for a step one tick longer to be the same step, rounded."""
_NTSC = Fraction(1000, 1001)
"""What television slowed 24, 30 and 60 frames a second down by when it got colour."""


def nominal_rate(pts: Sequence[int], time_base: Fraction) -> Fraction:
    """The frame rate an editor would give a video whose frames stand at `pts`: a whole number of frames a second, or
    such a multiple of 24 or 30 slowed down by 1000/1001.

    It is what the frames keep on average, unless most of them keep another.

    Example:
        >>> nominal_rate([0, 33, 67, 100, 133], Fraction(1, 1000))
        Fraction(30, 1)
        >>> nominal_rate([0, 1001, 2002, 3003], Fraction(1, 30000))
        Fraction(30000, 1001)
    """
    if len(pts) < 2:
        return DEFAULT_RATE
    steps = [b - a for a, b in pairwise(pts)]
    usual = median_low(steps)
    span = (pts[-1] - pts[0]) * time_base
    mean = _standard(len(steps) / span)
    # Missing frames lower the mean; rounding to ticks alone leaves it beside the usual step.
    rounding = min(Fraction(1), usual * _COARSE)

    def is_usual(rate: Fraction) -> bool:
        return abs(usual - 1 / (rate * time_base)) <= max(rounding, usual * _SLACK)

    if is_usual(mean):
        return mean
    # Coarse ticks round a step either way (33 or 34 ms at 30 a second): only all together, and those missing, tell it.
    often = Counter(steps)
    alike = {step: often[step] for step in often if abs(step - usual) <= rounding}
    one = Fraction(sum(step * times for step, times in alike.items()), sum(alike.values()))
    filled = _standard(sum(max(1, round(step / one)) * times for step, times in often.items()) / span)
    # Unless the other steps are no whole numbers of it, and nothing is missing.
    return filled if is_usual(filled) else _standard(1 / (one * time_base))


def is_steady(pts: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    """Whether every frame lies less than half a frame from its place at a constant `rate`."""
    scale = time_base * rate
    over, under = 2 * scale.numerator, scale.denominator  # whole numbers: an hour has a hundred thousand frames
    return all(abs((p - pts[0]) * over - 2 * i * under) < under for i, p in enumerate(pts))


def _standard(rate: Fraction) -> Fraction:
    whole = min(_FASTEST, max(1, round(rate)))
    slowed = [whole * _NTSC] if whole % 24 == 0 or whole % 30 == 0 else []
    return min([Fraction(whole), *slowed], key=lambda standard: abs(standard - rate))


def is_drop_frame(rate: Fraction) -> bool:
    """Whether timecode at this rate leaves numbers out to keep up with the clock: 29.97 and its multiples.

    Example:
        >>> is_drop_frame(Fraction(30000, 1001)), is_drop_frame(Fraction(24000, 1001))
        (True, False)
    """
    return rate.denominator == 1001 and (rate / _NTSC) % 30 == 0


def timecode(frame: int, rate: Fraction) -> str:
    """The SMPTE timecode of a frame counted from 0, `HH:MM:SS:FF`; `HH:MM:SS;FF` where it is drop-frame.

    Drop-frame leaves out the first two numbers (four at 59.94) of every minute but each tenth. After 24 hours it
    starts again.

    Source: SMPTE ST 12-1.

    Example:
        >>> timecode(1800, Fraction(30000, 1001)), timecode(1800, Fraction(30))
        ('00:01:00;02', '00:01:00:00')
    """
    base = round(rate)
    drop = is_drop_frame(rate)
    if drop:
        dropped = base // 15
        minute = 60 * base - dropped
        tens, rest = divmod(frame, 10 * minute + dropped)
        frame += dropped * (9 * tens + max(0, rest - dropped) // minute)
    seconds, frames = divmod(frame, base)
    hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}{';' if drop else ':'}{frames:02}"
