"""Files that one process at a time may change: who else wants to is kept out, and by no one who is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import OutputError
from engine.file_lock import locked
from engine.names import LONGEST_FILE_NAME

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "g.gallery"


def held(path: Path) -> bool:
    """Whether somebody has it."""
    try:
        with locked(path, patience=0):
            return False
    except OutputError:
        return True


def test_it_keeps_others_out_until_it_ends(path: Path) -> None:
    with locked(path):
        with (
            pytest.raises(OutputError, match=r"g\.gallery: another process has been changing it for 0\.1 .* try again"),
            locked(path, patience=0.1),
        ):
            pass
        assert not held(path.with_name("other.gallery"))
    assert not held(path)
    assert not list(path.parent.iterdir())


def test_that_of_a_process_that_died_holds_nobody_up(path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from engine.file_lock import locked\n"
    code += "with locked(Path(sys.argv[1])): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False).returncode == 9
    assert len(list(path.parent.iterdir())) == 1
    assert not held(path)
    assert not list(path.parent.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege on Windows")
def test_behind_a_link_the_file_itself_is_held(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.gallery"
    link.symlink_to(path)  # which need not be there yet
    with locked(link):
        assert held(path)
        assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []


@pytest.mark.skipif(os.name != "posix", reason="names are counted in bytes there")
def test_the_longest_names_have_locks_of_their_own(path: Path) -> None:
    one, other = (path.with_name(digit.rjust(LONGEST_FILE_NAME, "-")) for digit in "12")
    with locked(one):
        assert held(one)
        assert not held(other)


def test_where_no_lock_can_be_made_that_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"g: cannot be locked for writing \(.+\); choose another place"),
        locked(tmp_path / "no folder" / "g"),
    ):
        pass
