"""Letters in the pictures: which installed fonts have them, and what none has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager

FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Noto Sans CJK JP",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Sans",
    "Arial Unicode MS",
)
"""In this order; the first, which Matplotlib brings along, has Latin, Greek and Cyrillic letters."""


@cache
def families() -> tuple[str, ...]:
    """Those of `FAMILIES` that are installed."""
    here = set(font_manager.get_font_names())
    return tuple(family for family in FAMILIES if family in here)


@cache
def _letters() -> frozenset[int]:
    found: set[int] = set()
    for family in families():
        found |= font_manager.get_font(font_manager.findfont(family)).get_charmap().keys()
    return frozenset(found)


def missing(names: Iterable[str]) -> str:
    """The letters of `names` that no font here has, each once, in order.

    Example:
        >>> missing(["yuri", "Ärger"])
        ''
    """
    return "".join(dict.fromkeys(c for name in names for c in name if ord(c) not in _letters()))
