"""Names as pixels: one antialiased mask a name and size, drawn once and kept.

OpenCV 5 carries its own fonts: `sans` (Latin, Greek, Cyrillic, Hebrew; variable weight) falls through to `uni`
(Hangul, kana, Han). For what they lack, joined Arabic above all, there is DejaVu Sans, which Matplotlib brings along.
What neither has, such as 𝕱𝖆𝖓, is drawn as the plain letters that Unicode says it stands for; where it stands for none,
as Thai, Devanagari and emoji do, it comes out as `?`; `unsupported` tells beforehand, and a TrueType file given as
`font` cures it.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from stream.visual_order import visual_order

BUILT_IN = ("sans", "italic", "uni")
WEIGHT = 600
"""Semibold: thin strokes drown in compression."""
LIGHT = 450
"""For the Latin letters in a text that is thickened as a whole."""
SMALLEST = 9
"""Pixels; below this no script can be read, so a name that is too wide is cut instead."""


def clean(text: str) -> str:
    """`text` on one line: composed, without control characters and what XML forbids, and with single spaces.

    Example:
        >>> clean(" yu\\nri ")
        'yu ri'
    """
    composed = unicodedata.normalize("NFC", text)
    printable = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or c in "\ufffe\uffff" else c for c in composed
    )
    return " ".join(printable.split())


class Glyphs:
    """Draws names with one font and remembers what it drew. Safe to share between threads.

    Args:
        font: `sans`, `italic`, `uni`, or the path of a TrueType/OpenType file.
        capacity: how many masks are kept; the least recently used goes first.

    Raises:
        InputError: the font file is missing or is not a font.

    Example:
        >>> Glyphs().mask("유리", 20, max_width=200).shape[0]
        26
    """

    def __init__(self, font: str | Path = "sans", capacity: int = 512) -> None:
        self.font = str(font)
        if self.font not in BUILT_IN:
            _check_font(self.font)
        self._faces = [_Face(self.font)]
        """Asked in turn; the second one is there once it was needed."""
        self._capacity = capacity
        self._masks: OrderedDict[tuple[str, int, int], NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def mask(self, text: str, size: int, max_width: int) -> NDArray[np.uint8]:
        """The name's label: uint8 `[h,w]`, 255 where the text covers a pixel wholly, 0 on the plate around
        it.

        The height depends on `size` (em height in pixels) and hardly ever on the text, so that labels line
        up. A name wider than `max_width` is first set smaller, down to 60 % and never below 9 px, then cut
        with an ellipsis; what is still too wide is cropped. The array is shared and read-only.
        """
        key = (text, size, max_width)
        with self._lock:
            found = self._masks.get(key)
            if found is None:
                found = self._fit(clean(text) or "?", size, max_width)
                found.setflags(write=False)
                self._masks[key] = found
                if len(self._masks) > self._capacity:
                    self._masks.popitem(last=False)
            else:
                self._masks.move_to_end(key)
        return found

    def unsupported(self, text: str) -> str:
        """The characters of `text` that this font cannot draw and shows as `?`, each once, in order.

        Example:
            >>> Glyphs().unsupported("유리 🙂")
            '🙂'
        """
        with self._lock:
            letters, face = self._written(clean(text))
            missing = [c for c in dict.fromkeys(letters) if not face.has(c)]
            return "".join(sorted(missing, key=text.find))

    def remarks(self, names: Iterable[str]) -> list[str]:
        """One sentence for each name with letters that cannot be drawn.

        Example:
            >>> Glyphs().remarks(["유리", "ณิชา"])
            ["'ณิชา' is drawn with ? for ณิชา, which the font lacks; enrol the person under a name in another script"]
        """
        return [
            f"{name!r} is drawn with ? for {missing}, which the font lacks; "
            "enrol the person under a name in another script"
            for name in names
            if (missing := self.unsupported(name))
        ]

    def _written(self, text: str) -> tuple[str, _Face]:
        """The characters to set from left to right, and in which face: the first that has all of them, joined as they
        should be, as they are or else in plain letters; where there is none, what comes nearest.
        """
        for plain in (False, True):
            for face in self._all_faces():
                letters = visual_order(face.plain(text) if plain else text)
                if all(map(face.has, letters)):
                    return letters, face
        face = self._faces[0]
        return visual_order(face.plain(text), joined=False), face

    def _all_faces(self) -> Iterator[_Face]:
        yield self._faces[0]
        if len(self._faces) == 1 and self.font == BUILT_IN[0] and (file := _second_font()) is not None:
            self._faces.append(_Face(str(file)))
        yield from self._faces[1:]

    def _fit(self, text: str, size: int, max_width: int) -> NDArray[np.uint8]:
        smallest = max(SMALLEST, round(size * 0.6))
        for smaller in range(size, min(size, smallest) - 1, -1):
            mask = self._label(text, smaller)
            if mask.shape[1] <= max_width:
                return mask
        for length in range(len(text) - 1, 0, -1):
            mask = self._label(text[:length].rstrip() + "…", smaller)
            if mask.shape[1] <= max_width:
                return mask
        return np.ascontiguousarray(mask[:, : max(1, max_width)])

    def _label(self, text: str, size: int) -> NDArray[np.uint8]:
        """Ink on a plate: the same room above and below for every text, a little more where a script needs
        it.
        """
        ink, baseline = self._trimmed(text, size)
        ascent, descent = max(size, baseline), max(round(size * 0.32), len(ink) - baseline)
        side = max(2, round(size * 0.3))
        plate = np.zeros((ascent + descent, ink.shape[1] + 2 * side), np.uint8)
        plate[ascent - baseline : ascent - baseline + len(ink), side : side + ink.shape[1]] = ink
        return plate

    def _trimmed(self, text: str, size: int) -> tuple[NDArray[np.uint8], int]:
        """The raster without empty rows and columns, and the row its baseline lies on."""
        letters, face = self._written(text)
        raster = face.raster(letters, size, _wide(letters))
        rows, columns = np.flatnonzero(raster.any(1)), np.flatnonzero(raster.any(0))
        if not len(rows):
            return np.zeros((1, max(1, size // 2)), np.uint8), 1
        top = int(rows[0])
        return raster[top : rows[-1] + 1, columns[0] : columns[-1] + 1], 2 * size - top


class _Face:
    """One font, and which characters it has."""

    def __init__(self, font: str) -> None:
        self._face = cv2.FontFace()
        if not self._face.set(font):
            raise InputError(f"font {font}: OpenCV cannot use it; give another .ttf file")
        self._had: dict[str, bool] = {"?": True, " ": True}

    def has(self, character: str) -> bool:
        """Whether it is not drawn as `?`."""
        if character not in self._had:
            unknown = self.raster("?", 32, wide=False)
            self._had[character] = not np.array_equal(self.raster(character, 32, wide=False), unknown)
        return self._had[character]

    def plain(self, text: str) -> str:
        """`text` with what is missing here replaced by the letters it stands for (Unicode's NFKC), if they are not."""
        return unicodedata.normalize("NFC", "".join(c if self.has(c) else self._plain(c) for c in text))

    def _plain(self, character: str) -> str:
        letters = unicodedata.normalize("NFKC", character)
        return letters if all(map(self.has, letters)) else character

    def raster(self, text: str, size: int, wide: bool) -> NDArray[np.uint8]:
        """White text on black with its baseline on row `2 * size`, and room to spare on every side."""
        weight = LIGHT if wide else WEIGHT
        _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), self._face, size, weight)
        canvas = np.zeros((4 * size, width + 4 * size), np.uint8)
        cv2.putText(canvas, text, (2 * size, 2 * size), (255,), self._face, size, weight)
        if wide:
            heavier = canvas[:, :-1] * min(1.0, size / 28)
            canvas[:, 1:] = np.maximum(canvas[:, 1:], heavier.astype(np.uint8))
        return canvas


def _wide(text: str) -> bool:
    """Whether there are Hangul, kana or Han letters, which OpenCV's font has in one weight only, a thin one:
    they are thickened by drawing them a second time one pixel further right."""
    return any(unicodedata.east_asian_width(c) in "WF" for c in text)


def _second_font() -> Path | None:
    """DejaVu Sans, where Matplotlib is installed; which is not imported for that."""
    found = importlib.util.find_spec("matplotlib")
    file = Path(found.origin or "").parent / "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf" if found else None
    return file if file is not None and file.is_file() else None


def _check_font(path: str) -> None:
    """OpenCV 5.0 crashes on a file that is no font, so FreeType has a look at it first."""
    if not Path(path).is_file():
        raise InputError(f"font {path}: no such file; give a .ttf file, or one of {', '.join(BUILT_IN)}")
    from PIL import ImageFont  # slow to import, and seldom needed

    try:
        ImageFont.truetype(path, 16).getbbox("a?")
    except OSError as error:
        raise InputError(f"font {path}: not a font ({error}); give a .ttf file") from error
