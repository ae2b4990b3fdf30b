"""How times and lengths are said, one way on the terminal, on sheets and on pages: to a tenth of a second."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Time as on a player.

    Example:
        >>> clock(3723.46), clock(12.04)
        ('1:02:03.5', '0:12.0')
    """
    tenths = round(10 * round(abs(seconds), 1))  # as `length` rounds, or a video would be shorter than who fills it
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if seconds < 0 and tenths else ""
    return f"{sign}{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{sign}{minutes}:{rest / 10:04.1f}"


def length(seconds: float) -> str:
    """A stretch of time; what is there at all is not said to be nothing.

    Example:
        >>> length(6.24), length(0.04), length(0.0)
        ('6.2 s', '0.1 s', '0.0 s')
    """
    return f"{max(seconds, 0.1) if seconds > 0 else 0.0:.1f} s"


def share(part: float) -> str:
    """A part of the whole, 0…1.

    Example:
        >>> share(0.1234)
        '12.3 %'
    """
    return f"{100 * part:.1f} %"
