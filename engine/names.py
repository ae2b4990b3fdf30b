"""People's names: how they are kept, and when two of them are one."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from engine.errors import InputError, UsageError


def clean_name(name: str) -> str:
    """A person's name as it is kept and drawn: in Unicode's composed form (NFC), on one line, without outer spaces.

    Any length and any script, slashes included: a name is never used as a path.

    Raises:
        InputError: nothing is left of it.

    Example:
        >>> clean_name(" Kim\\t Chaewon ")
        'Kim Chaewon'
    """
    decodable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", unicodedata.normalize("NFC", decodable)).strip()
    if not line:
        raise InputError(f"{name!r} is no name; give the person's folder a name with letters in it")
    return line


def asked_name(name: str) -> str:
    """The same for a name that somebody has typed.

    Raises:
        UsageError: nothing is left of it.
    """
    try:
        return clean_name(name)
    except InputError:
        raise UsageError(f"{name!r} is no name; it takes a letter at least") from None


def same_person(one: str, other: str) -> bool:
    """Whether two clean names differ at most in upper and lower case: `Yuri` and `yuri` are one folder on many
    computers and one person to everybody who reads them."""
    return one.casefold() == other.casefold()


def person_at(people: Sequence[str], name: str) -> int:
    """The position of `name` in `people`, exactly as it is written there after cleaning.

    Raises:
        UsageError: nobody is called so; says who is called nearly so.

    Example:
        >>> person_at(["Minju", "Yuri"], " Yuri")
        1
    """
    clean = asked_name(name)
    if clean in people:
        return list(people).index(clean)
    folded = {other.casefold(): other for other in people}
    near = [folded[key] for key in difflib.get_close_matches(clean.casefold(), folded, 3)]
    what = f"did you mean {' or '.join(near)}?" if near else f"it holds {_some(people)}"
    raise UsageError(f"{clean!r} is not in the gallery; {what}")


def _some(people: Sequence[str], count: int = 12) -> str:
    more = f" and {len(people) - count} more" if len(people) > count else ""
    return ", ".join(people[:count]) + more
