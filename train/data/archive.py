"""Zip files, folders and tables that the user gives: whatever is wrong with one is an `InputError` that names it."""

from __future__ import annotations

import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from engine.errors import InputError

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, OSError, EOFError)
"""What reading a file out of an archive raises where the file is not whole, or packed in a way unknown here."""

Read = Callable[[str], bytes]
"""Gives the contents of a file by its name.

Raises:
    InputError: it is not there, or damaged.
"""


def files_of(path: Path) -> tuple[list[str], Read]:
    """The names of all files in a zip or folder, `/` between folders, and what reads one of them.

    What macOS adds to every archive (`__MACOSX`, `._NAME`) is left out. `\\` in an archive, as some Windows programs
    write it, divides folders.

    Raises:
        InputError: it is missing, no zip, damaged, or asks for a password.
    """
    if path.is_dir():
        names = dict.fromkeys(sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()), "")

        def fetch(name: str) -> bytes:
            return (path / name).read_bytes()
    else:
        archive = _opened(path)
        names = {info.filename.replace("\\", "/"): info.filename for info in archive.infolist() if not info.is_dir()}

        def fetch(name: str) -> bytes:
            return archive.read(names[name])

    def read(name: str) -> bytes:
        if name not in names:
            raise InputError(f"{path}: {name or 'a file without a name'} is not in it")
        try:
            return fetch(name)
        except DAMAGE as error:
            raise InputError(f"{path}: {name} cannot be read ({error})") from None

    return [name for name in names if not _of_macos(name)], read


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; give a zip or a folder with pictures") from None
    except (NotImplementedError, zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: not a readable zip file ({error}); give a zip or a folder") from None
    if any(info.flag_bits & 1 for info in archive.infolist()):
        raise InputError(f"{path}: asks for a password; unpack it and give the folder")
    return archive


def _of_macos(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def rows_of_file(path: Path, columns: Sequence[str], wanted: str) -> list[dict[str, str]]:
    """`rows_of` a file.

    Args:
        path: of the file.
        columns: that it has to have.
        wanted: what to give instead, where it cannot be read.

    Raises:
        InputError: it cannot be read, is not UTF-8, no table, or has other columns.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give {wanted}") from None
    return rows_of(data, columns, str(path))


def rows_of(data: bytes, columns: Sequence[str], where: str) -> list[dict[str, str]]:
    """The rows of a table in UTF-8 with a header and commas, without the blank ones; what a row lacks is empty.

    Args:
        data: the file; a byte-order mark, as spreadsheets write it, is passed over.
        columns: that it has to have.
        where: what to call it.

    Raises:
        InputError: it is not UTF-8, no table, or has other columns.

    Example:
        >>> rows_of(b"person,file\\nAnn\\n", ["person"], "people.csv")
        [{'person': 'Ann', 'file': ''}]
    """
    try:
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="")
        rows = list(table)
    except UnicodeDecodeError:
        raise InputError(f"{where} is not UTF-8; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{where} is no table ({error})") from None
    found = table.fieldnames or []
    if absent := [name for name in columns if name not in found]:
        wanted = " and ".join([", ".join(columns[:-1]), columns[-1]]) if columns[1:] else columns[0]
        raise InputError(
            f"{where} is no table with the columns {wanted}, divided by commas: "
            f"{', '.join(absent)} not in its first line"
        )
    return rows
