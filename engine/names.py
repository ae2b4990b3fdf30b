"""People's names: how they are kept, and when two of them are one."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from engine.errors import InputError, UsageError

LONGEST_NAME = 300
"""Characters of a name that is given."""
LONGEST_FILE_NAME = 255
"""Bytes of a file's or folder's name, in all usual file systems."""

_STRANGER = re.compile(r"unknown(?:,? (?:track )?\d+)?", re.IGNORECASE)
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Unicode's Bidi_Control: unseen themselves, and what stands behind them may be drawn backwards."""
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of characters as UTF-16 writes them, which no file can hold. Those in between stand for bytes that are no
UTF-8."""
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"))
"""Unicode's categories of what is not seen by itself."""
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols that nothing is drawn for: Hangul fillers, Braille without a dot."""


def clean_name(name: str) -> str:
    """A person's name as it is kept and drawn: in Unicode's composed form (NFC), on one line, without outer spaces.

    Any length and any script, slashes included: a name is never used as a path.

    Raises:
        InputError: nothing is left of it that can be seen, or it holds half of a character.

    Example:
        >>> clean_name(" Kim\\t Chaewon ")
        'Kim Chaewon'
    """
    if _HALF.search(name):
        raise InputError(f"{name!r} is no name, for it holds half of a character; write it anew")
    decodable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", unicodedata.normalize("NFC", decodable)).strip()
    if not any(map(_is_seen, line)):
        raise InputError(f"{name!r} is no name; give the person's folder a name with letters in it")
    return line


def asked_name(name: str) -> str:
    """The same for a name that is given anew, typed or as a folder's; those that are borne already may be older.

    Raises:
        UsageError: nothing is left of it, it is longer than `LONGEST_NAME`, people without a name are called so
            (`unknown 2`), or it holds half of a character or one that turns the direction of writing.

    Example:
        >>> asked_name(" Yuri ")
        'Yuri'
    """
    clean = _looked_for(name)
    if len(clean) > LONGEST_NAME:
        raise UsageError(f"a name of {len(clean)} characters; {LONGEST_NAME} are the most")
    if is_strangers(clean):
        raise UsageError(f"{clean!r} is what people without a name are called; choose another name")
    if turn := _DIRECTION.search(clean):
        raise UsageError(
            f"the name holds an unseen character that turns the direction of writing (U+{ord(turn[0]):04X}); "
            "write it without"
        )
    return clean


def _is_seen(character: str) -> bool:
    """Whether it stands for itself: no space, no accent that needs a letter, nothing that only guides others."""
    return unicodedata.category(character) not in _UNSEEN and character not in _BLANK


def is_strangers(name: str) -> bool:
    """Whether people without a name are called by this clean name.

    Example:
        >>> is_strangers("Unknown 3"), is_strangers("Unknown Pleasures")
        (True, False)
    """
    return _STRANGER.fullmatch(name) is not None


def case_folded(name: str) -> str:
    """What all ways of writing a clean name in upper and lower case have in common."""
    return name.casefold()


def same_person(one: str, other: str) -> bool:
    """Whether two clean names differ at most in upper and lower case: `Yuri` and `yuri` are one folder on many
    computers and one person to everybody who reads them."""
    return case_folded(one) == case_folded(other)


def person_at(people: Sequence[str], name: str) -> int:
    """The position of `name` in `people`, exactly as it is written there after cleaning.

    Raises:
        UsageError: nobody is called so; says who is called nearly so.

    Example:
        >>> person_at(["Minju", "Yuri"], " Yuri")
        1
    """
    clean = _looked_for(name)
    if clean in people:
        return list(people).index(clean)
    folded = {case_folded(other): other for other in people}
    near = [folded[key] for key in difflib.get_close_matches(case_folded(clean), folded, 3)]
    what = f"did you mean {' or '.join(near)}?" if near else f"it holds {_some(people)}"
    raise UsageError(f"{clean!r} is not in the gallery; {what}")


def _looked_for(name: str) -> str:
    try:
        return clean_name(name)
    except InputError:
        needed = "whole characters" if _HALF.search(name) else "a letter, digit or sign at least that can be seen"
        raise UsageError(f"{name!r} is no name; it takes {needed}") from None


def _some(people: Sequence[str], count: int = 12) -> str:
    more = f" and {len(people) - count} more" if len(people) > count else ""
    return ", ".join(people[:count]) + more
