"""Galleries on the disk: several writers, changes, what is left of somebody who was removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Gallery
from engine.calibration import Calibration
from engine.errors import OutputError, UsageError
from engine.file_lock import locked
from engine.gallery_edit import edit, split_pair
from engine.photos import Photos
from tests.engine.galleries import with_people

ROOT = Path(__file__).resolve().parents[2]
D = 16


def vectors(seed: int, count: int = 3) -> NDArray[np.float32]:
    v = np.random.default_rng(seed).normal(size=(count, D))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    people = {
        name: Photos(
            vectors(n), tuple(f"{name}/{k}.jpg" for k in range(3)), thumbnails=(b"\xff\xd8" + bytes([n]) * 9,) * 3
        )
        for n, name in enumerate(("ann", "ben", "cho"))
    }
    Gallery.build(people, "", 0.5).save(tmp_path / "g.gallery")
    return tmp_path / "g.gallery"


def test_who_is_removed_is_gone(path: Path) -> None:
    before = path.read_bytes()
    assert b"ben/1.jpg" in before
    assert vectors(1)[1].tobytes() in before
    Gallery.update(path, lambda g: edit(g, remove=["ben"]))
    after = path.read_bytes()
    assert Gallery.load(path).people == ("ann", "cho")
    assert b"ben" not in after
    for photo in vectors(1):
        assert photo.tobytes() not in after
        assert photo[:4].tobytes() not in after
    assert b"\xff\xd8" + b"\x01" * 9 not in after
    assert b"\xff\xd8" + b"\x02" * 9 in after
    assert [p.name for p in path.parent.iterdir()] == ["g.gallery"]


def test_renaming_changes_the_name_alone(path: Path) -> None:
    own = Calibration("cohort", far=0.05, cohort_far=0.05)  # of strangers that nobody names again
    replace(Gallery.load(path), calibration=own, threshold=0.25).save(path, overwrite=True)
    before = Gallery.load(path)
    after = Gallery.update(path, lambda g: edit(g, rename=["ann=Zoë / 2=3"]))
    assert (after.threshold, after.calibration) == (0.25, own)
    assert after.people == ("Zoë / 2=3", "ben", "cho") == Gallery.load(path).people
    np.testing.assert_array_equal(after.of(0), before.of(0))
    assert after.identify(vectors(0)).names[0] == "Zoë / 2=3"
    back = Gallery.update(path, lambda g: edit(g, rename=["Zoë / 2=3=ann"]))
    assert back.people == before.people
    np.testing.assert_array_equal(back.embeddings, before.embeddings)


@pytest.mark.parametrize(
    ("remove", "rename", "message"),
    [
        (["bem"], [], "'bem' is not in the gallery; did you mean ben"),
        (["nobody at all"], [], "it holds ann, ben, cho"),
        (["ann", "ben", "cho"], [], "nobody would be left"),
        ([], ["ann=ben"], "'ben' is in the gallery already"),
        ([], ["ann=BEN"], "'ben' is in the gallery already"),
        ([], ["ann= "], "is no name"),
        ([], ["ann"], "write OLD=NEW"),
        ([], ["dan=eve"], "'dan' is not in the gallery"),
        (["ann"], ["ann=eve"], "'ann' is not in the gallery"),
    ],
)
def test_changes_that_cannot_be_meant_leave_the_file_alone(
    path: Path, remove: list[str], rename: list[str], message: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        Gallery.update(path, lambda g: edit(g, remove, rename))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["g.gallery"]


def test_case_may_be_changed_and_long_names_given(path: Path) -> None:
    assert edit(Gallery.load(path), rename=["ann=Ann"]).people == ("Ann", "ben", "cho")
    assert "x" * 300 in edit(Gallery.load(path), rename=["ann=" + "x" * 300]).people
    assert split_pair("a=b=c", ["a=b"]) == ("a=b", "c")
    assert split_pair("a=b=c", ["a"]) == ("a", "b=c")


def test_a_change_waits_for_who_holds_the_file_and_reading_does_not(path: Path) -> None:
    held, done = threading.Event(), threading.Event()

    def change() -> None:
        held.wait()
        Gallery.update(path, lambda g: edit(g, remove=["ann"]))
        done.set()

    other = threading.Thread(target=change)
    other.start()
    with locked(path):
        held.set()
        assert not done.wait(0.2)
        assert Gallery.load(path).people == ("ann", "ben", "cho")
    other.join()
    assert Gallery.load(path).people == ("ben", "cho")
    assert [p.name for p in path.parent.iterdir()] == ["g.gallery"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_whoever_could_not_read_it_still_cannot(path: Path, mode: int) -> None:
    path.chmod(mode)
    Gallery.update(path, lambda g: edit(g, rename=["ann=Ann"]))
    assert path.stat().st_mode & 0o777 == mode
    Gallery.load(path).save(path, overwrite=True)
    assert path.stat().st_mode & 0o777 == mode
    umask = os.umask(0o027)
    try:
        Gallery.load(path).save(path.with_name("new.gallery"))
    finally:
        os.umask(umask)
    assert path.with_name("new.gallery").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege on Windows")
def test_behind_a_link_the_file_itself_is_changed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.gallery"
    link.parent.mkdir()
    link.symlink_to(path)
    Gallery.update(link, lambda g: edit(g, rename=["ann=Ann"]))
    Gallery.load(path).without(["ben"]).save(link, overwrite=True)
    assert link.is_symlink()
    assert Gallery.load(path).people == ("Ann", "cho")
    assert [p.name for p in link.parent.iterdir()] == ["link.gallery"]
    path.unlink()
    Gallery.build({"dan": vectors(3)}, "", 0.5).save(link)
    assert Gallery.load(path).people == ("dan",)
    link.unlink()
    link.symlink_to(tmp_path / "no" / "g.gallery")
    with pytest.raises(OutputError, match=r"link\.gallery: the folder .*no does not exist"):
        Gallery.build({"dan": vectors(3)}, "", 0.5).save(link)


def test_nothing_is_lost_when_many_add_at_once(path: Path) -> None:
    def add(n: int) -> None:
        for k in range(4):
            someone = {f"new {n} {k}": Photos(vectors(10 * n + k))}
            Gallery.update(path, partial(with_people, more=someone))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Gallery.load(path).people) == {"ann", "ben", "cho"} | {
        f"new {n} {k}" for n in range(1, 6) for k in range(4)
    }
    assert [p.name for p in path.parent.iterdir()] == ["g.gallery"]


def test_nothing_is_lost_between_processes(path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from engine.gallery import Gallery
from engine.photos import Photos
from tests.engine.galleries import with_people
for k in range(5):
    name = f"{sys.argv[2]} {k}"
    Gallery.update(Path(sys.argv[1]), lambda g: with_people(g, {name: Photos(np.eye(1, 16, k, dtype=np.float32))}))
"""
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), who], cwd=ROOT) for who in ("x", "y")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert len(Gallery.load(path).people) == 13


def test_of_two_that_make_the_same_new_file_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "new.gallery"
    errors: list[str] = []

    def make(n: int) -> None:
        try:
            Gallery.build({f"p{n}": vectors(n)}, "", 0.5).save(path)
        except OutputError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=make, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3
    assert all("exists already" in message for message in errors)
    assert len(Gallery.load(path).people) == 1


def test_a_full_disk_leaves_the_old_gallery(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        Gallery.update(path, lambda g: edit(g, remove=["ann"]))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["g.gallery"]


def test_adding_photos_to_somebody(path: Path) -> None:
    more = with_people(Gallery.load(path), {"ann": Photos(vectors(9, 2), ("new/1.jpg", "new/2.jpg"))})
    ann = more.photos(0)
    assert ann.files == ("ann/0.jpg", "ann/1.jpg", "ann/2.jpg", "new/1.jpg", "new/2.jpg")
    assert ann.thumbnails[3:] == (b"", b"")
    np.testing.assert_array_equal(ann.embeddings, np.concatenate([vectors(0), vectors(9, 2)]))
    more.save(path, overwrite=True)
    assert Gallery.load(path).photos(0).thumbnails == ann.thumbnails
    assert np.isnan(Gallery.load(path).landmarks).all()


def test_five_thousand_people(tmp_path: Path) -> None:
    people = {f"person {n:04}": vectors(n, 2) for n in range(5000)}
    gallery = Gallery.build(people, "", 0.5)
    gallery.save(tmp_path / "large.gallery")
    floats = gallery.embeddings.nbytes + gallery.prototypes.nbytes + gallery.landmarks.nbytes
    assert (tmp_path / "large.gallery").stat().st_size < floats + 300 * 5000
    again = Gallery.update(tmp_path / "large.gallery", lambda g: g.without(["person 0007"]))
    assert len(again.people) == 4999
    assert again.identify(again.prototypes[-1:]).nearest.tolist() == [4998]
    assert len(again.neighbours()) == 4999


def test_galleries_of_the_first_version_are_read(tmp_path: Path) -> None:
    """Without calibration, landmarks and thumbnails, as version 1.0 wrote them."""
    from engine import archive

    e = np.eye(2, D, dtype=np.float32)
    people = [{"name": n, "photos": [f"{n}/1.jpg"], "medoid": 0, "spread": 0.0, "radius": 0.0} for n in ("a", "b")]
    header = {
        "schema": "iznet.gallery/1.0",
        "threshold": 0.459,
        "embedder": {"name": "net", "sha256": "f" * 64},
        "method": "medoid",
        "made_by": "iznet 0.1.0",
        "people": people,
    }
    owners = np.arange(2, dtype=np.int32)
    data = archive.write("gallery", header, {"prototypes": e, "owners": owners, "embeddings": e})
    (tmp_path / "old.gallery").write_bytes(data)
    old = Gallery.load(tmp_path / "old.gallery")
    assert old.people == ("a", "b")
    assert old.threshold == 0.459
    assert old.calibration.source == "embedder"
    assert old.thumbnails == ()
    assert old.identify(e).names == ["a", "b"]
    changed = Gallery.update(tmp_path / "old.gallery", lambda g: edit(g, rename=["a=c"]))
    assert changed.people == ("b", "c")
    assert b"iznet.gallery/1.1" in (tmp_path / "old.gallery").read_bytes()
