"""Output files: what is refused before the work, and files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import OutputError, UsageError
from engine.output_file import (
    ROOM,
    atomic_output,
    begin_output,
    check_apart,
    check_folder,
    check_output,
    check_spared,
    finish_output,
    is_temporary,
    real_path,
    write_output,
    writing,
)

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


# Checks before the work.


def test_a_file_that_can_be_written_leaves_no_trace_of_the_check(tmp_path: Path) -> None:
    check_output(tmp_path / "a.mp4")
    assert names(tmp_path) == []


def test_an_existing_file_is_spared_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"a\.mp4 exists already; use --overwrite .*, or wait$") as caught:
        check_output(target, hint=", or wait")
    assert caught.value.exit_code == 5
    with pytest.raises(OutputError, match="exists already"), atomic_output(target):
        pytest.fail("the work was begun")
    check_output(target, overwrite=True)
    assert target.read_bytes() == b"mine"


def test_what_it_is_made_from_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"mine")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    for output in (source, tmp_path / "link.mp4", tmp_path / "hard.mp4", tmp_path / "." / "a.mp4"):
        for overwrite in (False, True):  # the message without it does not speak of a cure that is none
            with pytest.raises(OutputError, match="made from"):
                check_output(output, overwrite, ["none.mp4", source])
        with pytest.raises(OutputError, match="made from"):
            check_spared(output, [source])
    check_output(tmp_path / "b.mp4", True, [source, "rtsp://nowhere/"])


def test_outputs_need_places_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for others in (["a", "a"], ["a", "b", "./a"], ["a", "link"]):
        with pytest.raises(UsageError, match="would be one file") as caught:
            check_apart(*(os.path.join(tmp_path, other) for other in others))
        assert caught.value.exit_code == 2
    check_apart(tmp_path / "a", tmp_path / "b")


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, words in (
        ("none", "the folder .*none does not exist; make it first"),
        ("file", ".*file is a file, not a folder; choose another folder"),
    ):
        with pytest.raises(OutputError, match=rf"a\.mp4: {words}$"):
            check_output(tmp_path / folder / "a.mp4")
        with pytest.raises(OutputError, match=rf"a\.mp4: {words}$"), writing(tmp_path / folder / "a.mp4"):
            (tmp_path / folder / "a.mp4").touch()
    with pytest.raises(OutputError, match="is a folder; give a file name"):
        check_output(tmp_path, overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "none" / "a.mp4")
    with pytest.raises(OutputError, match=r"link: the folder .*none does not exist"):
        check_output(tmp_path / "link")


@posix
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for write in (check_output, lambda path, overwrite: write_output(path, "x", overwrite)):
        with pytest.raises(OutputError, match="pipe is a device or a pipe"):
            write(tmp_path / "pipe", True)
    check_output(tmp_path / "pipe", True, in_place=True)  # but it can be written to


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that takes no files of anybody")
def test_a_folder_that_takes_no_files_whatever_its_permissions_say() -> None:
    assert os.access("/proc", os.X_OK)
    with pytest.raises(OutputError, match=r"x\.mp4: no file can be written into /proc .*; choose another folder"):
        check_output("/proc/x.mp4")
    with pytest.raises(OutputError, match=r"hls: no file can be written into /proc/self"):
        check_folder(Path("/proc/self"), "hls")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="no file can be written into"):
        check_output(folder / "a.mp4")
    (tmp_path / "a.mkv").touch(0o400)
    check_output(tmp_path / "a.mkv", True)
    with pytest.raises(OutputError, match="may not be written"):
        check_output(tmp_path / "a.mkv", True, in_place=True)


def test_a_name_leaves_room_for_that_of_what_is_written_first(tmp_path: Path) -> None:
    most = "가" * 78 + "x" * (255 - ROOM - 3 * 78 - 4) + ".mp4"
    write_output(tmp_path / most, "x")
    with pytest.raises(OutputError, match=r"has 241 bytes, 1 too many; give a shorter one"):
        check_output(tmp_path / f"x{most}")
    with pytest.raises(OutputError, match="too many"):
        check_output(tmp_path / ("x" * 300))


# Writing.


def test_it_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    with atomic_output(target) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        assert is_temporary(temporary)
        assert not target.exists()
    assert target.read_bytes() == b"half"
    with pytest.raises(KeyboardInterrupt), atomic_output(target, overwrite=True) as temporary:  # noqa: PT012
        temporary.write_bytes(b"other")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["a.mp4"]
    assert target.read_bytes() == b"half"


def test_text_and_bytes(tmp_path: Path) -> None:
    write_output(tmp_path / "a", "민주\n")
    assert (tmp_path / "a").read_bytes() == "민주\n".encode()
    with pytest.raises(OutputError, match="exists already"):
        write_output(tmp_path / "a", b"\xff")
    write_output(tmp_path / "a", b"\xff", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"\xff"


def test_one_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    other = tmp_path / "b.mp4"
    with pytest.raises(OutputError, match="--overwrite"), atomic_output(other) as temporary:  # noqa: PT012
        temporary.write_bytes(b"new")
        other.write_bytes(b"theirs")
    assert other.read_bytes() == b"theirs"
    assert names(tmp_path) == ["b.mp4"]


def test_it_can_grow_in_another_folder(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with atomic_output(tmp_path / "a.mp4", folder=work) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == work
    assert names(tmp_path) == ["a.mp4", "work"]
    assert names(work) == []


@posix
def test_a_file_that_is_replaced_keeps_its_permissions_and_its_link(tmp_path: Path, umask: None) -> None:
    real, link = tmp_path / "far" / "real.jsonl", tmp_path / "link.jsonl"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link.symlink_to(real)
    for folder, permissions in ((None, 0o600), (tmp_path, 0o400)):
        real.chmod(permissions)
        with atomic_output(link, overwrite=True, folder=folder) as temporary:
            assert temporary.parent == real.parent
            assert mode(temporary) == 0o600, "from the first byte on"
            temporary.write_bytes(b"new")
            assert mode(temporary) == 0o600
        assert link.is_symlink()
        assert real.read_bytes() == b"new"
        assert mode(real) == permissions
    assert names(real.parent) == ["real.jsonl"]
    write_output(tmp_path / "new", "x")
    assert mode(tmp_path / "new") == 0o644


@posix
def test_a_link_to_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far" / "real")
    assert real_path(link) == tmp_path / "far" / "real"
    write_output(link, "x")
    assert (tmp_path / "far" / "real").read_text("utf-8") == "x"
    assert real_path(Path("a") / "b") == Path("a") / "b"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    target = tmp_path / "g.gallery"
    target.write_bytes(b"old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match=r"g\.gallery: the disk is full; free some space"):
        write_output(target, "new", overwrite=True)
    assert names(tmp_path) == ["g.gallery"]
    assert target.read_bytes() == b"old"


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def seen(what: str) -> Callable[..., object]:
        call = getattr(os, what)

        def tell(*arguments: object) -> object:
            done.append(what)
            return call(*arguments)

        return tell

    for what in ("fsync", "replace"):
        monkeypatch.setattr(os, what, seen(what))
    write_output(tmp_path / "a", "x")
    assert done == ["fsync", "replace"]


def test_many_who_write_one_file_at_once_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "a"
    contents = [bytes([n]) * 100_000 for n in range(8)]
    start = threading.Barrier(len(contents))
    failures: list[BaseException] = []

    def write(data: bytes) -> None:
        start.wait()
        try:
            for _ in range(10):
                write_output(target, data, overwrite=True)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert target.read_bytes() in contents
    assert names(tmp_path) == ["a"]


@posix
def test_what_grows_under_a_name_of_its_own(tmp_path: Path, umask: None) -> None:
    """As a record does, that can be followed; what a killed run left under that name is nobody's any more."""
    target, part = tmp_path / "r.jsonl", tmp_path / "r.partial.jsonl"
    part.write_bytes(b"stale")
    part.chmod(0o666)
    target.write_bytes(b"old")
    target.chmod(0o640)
    begin_output(part, target)
    assert part.read_bytes() == b""
    assert mode(part) == 0o640
    part.write_bytes(b"new")
    with pytest.raises(OutputError, match="exists already"):
        finish_output(part, target, overwrite=False)
    assert target.read_bytes() == b"old"
    finish_output(part, target, overwrite=True)
    assert (target.read_bytes(), mode(target)) == (b"new", 0o640)
    assert names(tmp_path) == ["r.jsonl"]


def test_what_is_left_of_a_killed_process_is_known() -> None:
    for name in (".job.0badcafe.part.json", ".a.b.0badcafe.part"):
        assert is_temporary(Path("x") / name)
    for name in (
        "job.json",
        ".job.part.json",
        "job.0badcafe.part.json",
        ".job.0badcafe.json",
        ".job.Badcafe.part.json",
    ):
        assert not is_temporary(Path("x") / name)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full; free"),
        (errno.EACCES, "no permission to write there; choose"),
        (errno.EROFS, "no permission to write there; choose"),
        (errno.ENOENT, "the folder none does not exist; make it"),
        (errno.EFBIG, "larger than the file system"),
        (errno.EIO, r"cannot be written \(Input/output error\); choose another place"),
    ],
)
def test_refusals_of_the_system_name_the_file_and_the_cure(number: int, message: str) -> None:
    with pytest.raises(OutputError, match=rf"a\.mp4.*{message}") as caught, writing("none/a.mp4"):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == 5
