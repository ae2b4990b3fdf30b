"""Names as somebody types them."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.names import LONGEST_NAME, asked_name, person_at


@pytest.mark.parametrize(
    "name",
    [
        "Yuri",
        "민주",
        "👩‍🎤",
        "دانا",
        "42",
        "!!!",
        "é",
        "می\u200cشا",
        "Unknown Pleasures",
        "unknown soldier 2",
        "x" * LONGEST_NAME,
    ],
)
def test_names_that_can_be_given(name: str) -> None:
    assert asked_name(f" {name}\n") == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (" \t", "it takes a letter"),
        ("\u200b", "that can be seen"),
        (" \u200d\ufe0f\u00ad ", "that can be seen"),
        ("\u3164", "that can be seen"),  # a letter, yet nothing is drawn for it
        ("\u0301", "that can be seen"),
        ("\ud800", r"'\\ud800' is no name; it takes whole characters"),
        ("a\ude00", r"'a\\ude00' is no name; it takes whole characters"),
        ("Bob\udc00", "it takes whole characters"),
        ("x" * (LONGEST_NAME + 1), f"{LONGEST_NAME + 1} characters; {LONGEST_NAME} are the most"),
        ("unknown", "people without a name"),
        (" Unknown  12 ", "people without a name"),
        ("unknown, track 3", "people without a name"),
        ("\u202eBob", r"U\+202E"),
        ("Bob\u200f", r"U\+200F"),
        ("a\u2066b", r"U\+2066"),
    ],
)
def test_names_that_cannot(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        asked_name(name)


def test_whoever_bears_such_a_name_already_is_found() -> None:
    assert person_at(["Yuri", "unknown 1", "\u202eBob"], "unknown 1") == 1
    assert person_at(["Yuri", "unknown 1", "\u202eBob"], "\u202eBob") == 2
