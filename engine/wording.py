"""How counts are said, and what to install, one way everywhere."""

from __future__ import annotations


def count(number: int, noun: str, several: str | None = None) -> str:
    """A number and its noun; `several` where the plural is not made with an s.

    Example:
        >>> count(1, "frame"), count(0, "frame"), count(2, "person", "people")
        ('1 frame', '0 frames', '2 people')
    """
    return f"{number} {noun if number == 1 else several or noun + 's'}"


def count_people(number: int) -> str:
    """`1 person`, `2 people`."""
    return count(number, "person", "people")


def install(extra: str | None = None) -> str:
    """The command that installs IZ*Net, with an extra or anew as it is. It is on no index: the sources are needed.

    Example:
        >>> install("export")
        ".venv/bin/pip install -e '.[export]' in IZ*Net's source tree"
        >>> install()
        ".venv/bin/pip install -e . in IZ*Net's source tree"
    """
    what = "." if extra is None else f"'.[{extra}]'"
    return f".venv/bin/pip install -e {what} in IZ*Net's source tree"
