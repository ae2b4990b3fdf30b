"""Names as pixels."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InputError
from stream.glyphs import Glyphs, clean


@pytest.fixture(scope="module")
def glyphs() -> Glyphs:
    return Glyphs()


@pytest.mark.parametrize(
    "name", ["유리", "최예나", "さくら", "ヒトミ", "宮脇咲良", "Юрий", "Łódź", "Ñandú", "שרה", "يوري"]
)
def test_the_built_in_font_has_the_scripts_it_is_said_to_have(glyphs: Glyphs, name: str) -> None:
    assert glyphs.unsupported(name) == ""


def test_hebrew_runs_from_right_to_left(glyphs: Glyphs) -> None:
    word, first, last = (trimmed(glyphs.mask(text, 40, 400)) for text in ("שרי", "ש", "י"))
    np.testing.assert_array_equal(trimmed(word[:, -first.shape[1] :]), first)
    np.testing.assert_array_equal(trimmed(word[:, : last.shape[1]]), last)


def test_numbers_and_latin_words_keep_their_order_among_them(glyphs: Glyphs) -> None:
    mixed, number = trimmed(glyphs.mask("שרה 12", 40, 400)), trimmed(glyphs.mask("12", 40, 400))
    np.testing.assert_array_equal(trimmed(mixed[:, : number.shape[1]]), number)


def test_arabic_letters_are_joined(glyphs: Glyphs) -> None:
    """A word is one stroke after the other without gaps, which its letters by themselves are not."""
    word = "سلمى"
    ink = trimmed(glyphs.mask(word, 64, 900)) > 0
    assert ink.any(0).all()
    apart = " ".join(word)
    assert not (trimmed(glyphs.mask(apart, 64, 900)) > 0).any(0).all()
    assert glyphs.unsupported(word) == ""


def test_arabic_is_drawn_from_right_to_left_even_without_a_font_that_joins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.glyphs._second_font", lambda: None)
    bare = Glyphs()
    assert bare.unsupported("دار") == ""
    ink, last = trimmed(bare.mask("دار", 64, 900)), trimmed(bare.mask("ر", 64, 900))
    np.testing.assert_array_equal(ink[-len(last) :, : last.shape[1]], last)


def trimmed(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_letters_without_a_glyph_are_told(glyphs: Glyphs) -> None:
    assert glyphs.unsupported("Ann 🙂 ไท? 🙂") == "🙂ไท"
    assert glyphs.unsupported("why?") == ""


@pytest.mark.parametrize(
    ("name", "plain"),
    [("𝕱𝖆𝖓", "Fan"), ("𝖓\u0303", "ñ"), ("🄰 유리", "A 유리"), ("㍿", "株式会社"), ("ﷺ", "صلى الله عليه وسلم")],
)
def test_letters_without_a_glyph_are_drawn_plain_where_unicode_says_how(glyphs: Glyphs, name: str, plain: str) -> None:
    np.testing.assert_array_equal(glyphs.mask(name, 40, 900), glyphs.mask(plain, 40, 900))
    assert glyphs.remarks([name]) == []


def test_letters_are_drawn_as_they_are_where_a_font_has_them(glyphs: Glyphs) -> None:
    for name, plain in (("Ｆａｎ", "Fan"), ("①", "1")):
        assert glyphs.mask(name, 40, 900).shape != glyphs.mask(plain, 40, 900).shape
    assert glyphs.unsupported("𝕱🙂") == "🙂"


def test_names_with_letters_that_cannot_be_drawn_are_remarked_on(glyphs: Glyphs) -> None:
    (remark,) = glyphs.remarks(["유리", "ไท", "Ann"])
    assert "'ไท'" in remark
    assert "another script" in remark


def test_different_names_give_different_masks_of_one_height(glyphs: Glyphs) -> None:
    names = ["유리", "Ann", "Юрий", "さくら", "gjpq", "ace"]
    masks = [glyphs.mask(name, 24, 1000) for name in names]
    assert len({m.shape[0] for m in masks}) == 1
    assert len({m.tobytes() for m in masks}) == len(names)
    for mask in masks:
        assert mask.dtype == np.uint8
        assert mask.max() == 255
        # a plate has a margin on every side
        assert not mask[0].any()
        assert not mask[-1].any()
        assert not mask[:, :2].any()
        assert not mask[:, -2:].any()
        grey = (mask > 0) & (mask < 255)
        assert grey.mean() > 0.01  # antialiased


def test_letters_are_as_high_as_asked(glyphs: Glyphs) -> None:
    for size in (12, 24, 48, 96):
        ink = glyphs.mask("H", size, 1000) > 127
        high = int(ink.any(1).sum())
        assert 0.6 * size <= high <= 0.8 * size


def test_accents_and_descenders_are_not_cut(glyphs: Glyphs) -> None:
    for text in ("Ấ", "Åj", "ỹ", "ي"):
        mask = glyphs.mask(text, 40, 1000)
        # the same text much larger, scaled down, has its ink in the same rows
        large = glyphs.mask(text, 160, 4000)
        rows, large_rows = np.flatnonzero(mask.any(1)), np.flatnonzero(large.any(1)) / 4
        assert abs(len(rows) - (large_rows[-1] - large_rows[0])) <= 3


def test_names_that_are_too_wide_are_set_smaller_then_cut(glyphs: Glyphs) -> None:
    name = "a name as long as a folder's name can be"
    whole = glyphs.mask(name, 20, 1000)
    smaller = glyphs.mask(name, 20, whole.shape[1] * 8 // 10)
    cut = glyphs.mask(name, 20, 100)
    assert smaller.shape[1] <= whole.shape[1] * 8 // 10
    assert smaller.shape[0] < whole.shape[0]
    assert 60 < cut.shape[1] <= 100
    assert glyphs.mask(name, 20, 3).shape[1] <= 3


def test_clean_makes_one_line() -> None:
    assert clean("  a\tb\r\nc  ") == "a b c"
    assert clean("\ud800x") == "x"
    assert clean("e\u0301") == "é"
    assert clean("여자") == "여자"  # jamo are put together


@pytest.mark.parametrize("empty", ["", "   ", "\n", "\ud800"])
def test_a_name_of_nothing_still_has_a_label(glyphs: Glyphs, empty: str) -> None:
    assert glyphs.mask(empty, 20, 100).any()


def test_masks_are_kept_and_the_store_is_bounded() -> None:
    small = Glyphs(capacity=3)
    first = small.mask("a", 20, 100)
    assert small.mask("a", 20, 100) is first
    assert not first.flags.writeable
    for name in "bcd":
        small.mask(name, 20, 100)
    assert len(small._masks) == 3
    again = small.mask("a", 20, 100)
    assert again is not first
    np.testing.assert_array_equal(again, first)


def test_threads_can_share_one(glyphs: Glyphs) -> None:
    expected = {n: glyphs.mask(n, 20, 200).tobytes() for n in "abcdefgh"}
    wrong: list[str] = []
    shared = Glyphs(capacity=2)

    def work() -> None:
        wrong.extend(n for n in "abcdefgh" * 5 if shared.mask(n, 20, 200).tobytes() != expected[n])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_font_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.ttf.*no such file"):
        Glyphs(tmp_path / "no.ttf")
    bad = tmp_path / "bad.ttf"
    bad.write_bytes(b"not a font" * 50)
    with pytest.raises(InputError, match=r"bad\.ttf.*not a font"):
        Glyphs(bad)
