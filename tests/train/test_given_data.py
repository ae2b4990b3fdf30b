"""Box sets, archives and tables as people bring them: what is meant is read, what cannot be is told by name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError
from train.data.archive import rows_of
from train.data.boxes import LoadReport, load_box_set, load_pictures
from train.data.faces import read_faces, read_names, read_pairs
from train.experiments_data import read_table

BOX = [4, 6, 24, 36]
TURNED = 6
"""The EXIF orientation of a phone held upright."""


def picture(width: int = 64, height: int = 48, turned: bool = False) -> bytes:
    exif = Image.Exif()
    if turned:
        exif[0x0112] = TURNED
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "JPEG", exif=exif)
    return data.getvalue()


def zipped(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def box_set(path: Path, *entries: Any, home: str = "", more: Mapping[str, bytes | str] | None = None) -> Path:
    return zipped(path, {f"{home}boxes.json": json.dumps(entries), f"{home}a.jpg": picture(), **(more or {})})


def damage(path: Path, data: bytes) -> None:
    """Spoil the middle of a file inside an archive."""
    whole = bytearray(path.read_bytes())
    middle = whole.find(data) + len(data) // 2
    whole[middle : middle + 20] = bytes(20)
    path.write_bytes(bytes(whole))


def with_password(path: Path) -> None:
    """Mark every file of an archive as encrypted."""
    whole = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = -1
        while (place := whole.find(mark, place + 1)) >= 0:
            whole[place + flags] |= 1
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize(
    "boxes",
    [
        [[*BOX, 0.9]] * 4,
        [[4, 6, 24, 6, 24, 36, 4, 36]],
        BOX,
        [[[4, 6], [24, 36]]],
        [[1, 1, 10**400, 9]],
        [{"x": 1}],
        "x",
    ],
    ids=["with scores", "polygon", "flat", "corners", "huge", "objects", "text"],
)
def test_boxes_are_four_numbers_each_or_none_at_all(tmp_path: Path, boxes: Any) -> None:
    """Four boxes of five numbers would else pass for five of four, none of them where a face is."""
    path = box_set(tmp_path / "set.zip", {"image": "a.jpg", "boxes": boxes}, {"image": "b.jpg", "boxes": [BOX]})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.jpg", picture())
    report = LoadReport()
    first, second = load_box_set(path, report)
    assert (len(first.boxes), second.boxes.tolist()) == (0, [BOX])
    assert report.problems["malformed boxes"] == ["a.jpg"]


@pytest.mark.parametrize("flags", [["false", "false"], {"a": 1}, False, None, [0, 2]])
def test_ignore_flags_are_true_or_false(tmp_path: Path, flags: Any) -> None:
    """The text `"false"` is true to Python: every face would be ignored."""
    other = [30, 6, 50, 36]
    report = LoadReport()
    entry = {"image": "a.jpg", "boxes": [BOX, other], "ignore": flags}
    (found,) = load_box_set(box_set(tmp_path / "set.zip", entry), report)
    assert found.ignore.tolist() == [False, False]
    assert report.problems == {"malformed ignore flags": ["a.jpg"]}


def test_an_entry_a_box_is_one_picture(tmp_path: Path) -> None:
    """Else it would come as often as it has faces, with all but one of them taught to be background."""
    other = [30, 6, 50, 36]
    entries = [
        {"image": "a.jpg", "boxes": [BOX], "ignore": [True]},
        {"image": "a.jpg", "boxes": [other]},
        {"image": "./a.jpg", "boxes": [other, BOX]},
    ]
    report = LoadReport()
    (found,) = load_box_set(box_set(tmp_path / "set.zip", *entries), report)
    assert found.boxes.tolist() == [BOX, other]
    assert found.ignore.tolist() == [True, False]
    assert report.problems == {
        "image listed more than once": ["a.jpg", "a.jpg"],
        "box given twice": ["a.jpg", "a.jpg"],
    }


def test_names_are_found_however_the_folders_are_divided(tmp_path: Path) -> None:
    entries = ({"image": "in\\b.jpg", "boxes": [BOX]}, {"image": "./in/c.jpg", "boxes": [BOX]})
    path = box_set(tmp_path / "set.zip", *entries, more={"in\\b.jpg": picture(), "in/c.jpg": picture()})
    assert [p.name for p in load_box_set(path)] == ["in/b.jpg", "in/c.jpg"]
    labels: dict[str, bytes | str] = {"images\\a.jpg": picture(), "labels\\a.txt": "\ufeff0 0.5 0.5 0.25 0.5\n"}
    (found,) = load_box_set(zipped(tmp_path / "yolo.zip", labels))
    assert (found.name, found.boxes.tolist()) == ("images/a.jpg", [[24, 12, 40, 36]])


def test_files_of_a_folder_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Which pictures are kept aside hangs on it."""
    for name in ("a/x.jpg", "a-b/x.jpg", "a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture())
    assert [p.name for p in load_pictures(tmp_path)] == ["a-b/x.jpg", "a.jpg", "a/x.jpg"]


def test_a_zipped_folder_is_read_from_inside(tmp_path: Path) -> None:
    path = box_set(
        tmp_path / "set.zip",
        {"image": "a.jpg", "boxes": [BOX]},
        home="set/",
        more={"__MACOSX/set/._a.jpg": b"\0\5\x16\7", "__MACOSX/set/._boxes.json": b"x", "set/._a.jpg": b"x"},
    )
    report = LoadReport()
    assert [p.name for p in load_box_set(path, report)] == ["a.jpg"]
    assert not report.problems
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more/boxes.json", "[]")
    with pytest.raises(InputError, match=r"several boxes\.json \(set/boxes\.json, more/boxes\.json\)"):
        load_box_set(path)


def test_parts_of_a_turned_picture_are_parts_as_it_is_seen(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.jpg": picture(64, 48, turned=True), "a.txt": "0 0.5 0.25 0.5 0.25\n"}
    (found,) = load_box_set(zipped(tmp_path / "set.zip", files))
    assert found.rgb.shape[:2] == (64, 48)
    assert found.boxes.tolist() == [[12, 8, 36, 24]]


def test_a_damaged_picture_in_a_zip_is_left_out(tmp_path: Path) -> None:
    spoilt = picture(80, 60)
    path = box_set(tmp_path / "set.zip", *({"image": f"{n}.jpg", "boxes": [BOX]} for n in "ab"), more={"b.jpg": spoilt})
    damage(path, spoilt)
    report = LoadReport()
    assert [p.name for p in load_box_set(path, report)] == ["a.jpg"]
    assert report.problems == {"unreadable image": ["b.jpg"]}
    assert [p.name for p in load_pictures(path)] == ["a.jpg"]


def test_what_is_no_table_of_boxes_says_what_one_is(tmp_path: Path) -> None:
    coco = zipped(tmp_path / "coco.zip", {"boxes.json": '{"images": [], "annotations": []}'})
    with pytest.raises(InputError, match=r'is not a list of pictures, \[\{"image": "a\.jpg", "boxes": '):
        load_box_set(coco)
    with pytest.raises(InputError, match="is not JSON"):
        load_box_set(zipped(tmp_path / "deep.zip", {"boxes.json": "[" * 100_000}))


def test_pictures_of_other_kinds_are_counted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "phone.zip", {"a.heic": b"x", "notes.txt": "x"})
    with pytest.raises(InputError, match=r"no readable picture \(picture that is none of \.jpg, .*: 1 \(a\.heic\)\)"):
        load_pictures(path)


HEAD = "file,set,person,split\n"


def test_a_table_out_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "f.zip", {"people.csv": f"\ufeff{HEAD}a.jpg,celeb\r\n\r\n", "a.jpg": picture(128, 128)})
    faces = read_faces(path)
    assert (faces.files, faces.sets, faces.people) == (("a.jpg",), ("celeb",), ("",))
    (tmp_path / "n.csv").write_bytes("\ufeffperson\nann\n".encode())
    assert read_names(tmp_path / "n.csv") == {"ann"}
    (tmp_path / "t.csv").write_bytes("\ufeffperson,file,split\nann,a.jpg,dev\n".encode())
    assert read_table(tmp_path / "t.csv") == [("ann", "a.jpg", "dev")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (f"{HEAD}a.jpg,celeb,Andr\xe9,\n".encode("latin-1"), r"people\.csv is not UTF-8"),
        (HEAD.replace(",", ";").encode(), "columns file, set, person and split, divided by commas"),
        (b"file,person\na.jpg,ann\n", "set, split not in its first line"),
        (b"", "not in its first line"),
        (f"{HEAD}a.jpg,celeb,{'x' * 200_000},\n".encode(), "no table"),
        (f"{HEAD}z.jpg,celeb,ann,\n".encode(), r"z\.jpg is not in it"),
        (f"{HEAD},celeb,ann,\n".encode(), "a file without a name is not in it"),
        (f"{HEAD}empty.jpg,celeb,ann,\n".encode(), r"empty\.jpg is no 128×128 picture, it is broken"),
        (f"{HEAD}small.jpg,celeb,ann,\n".encode(), r"small\.jpg is no 128×128 picture, it is 112×112"),
    ],
)
def test_what_is_wrong_with_an_archive_of_faces_is_told(tmp_path: Path, table: bytes, says: str) -> None:
    files: dict[str, bytes | str] = {"a.jpg": picture(128, 128), "empty.jpg": b"", "small.jpg": picture(112, 112)}
    with pytest.raises(InputError, match=says) as caught:
        read_faces(zipped(tmp_path / "f.zip", {"people.csv": table, **files}))
    assert str(tmp_path / "f.zip") in str(caught.value)


def test_damage_and_passwords_are_told(tmp_path: Path) -> None:
    face = picture(128, 128)
    path = zipped(tmp_path / "f.zip", {"people.csv": f"{HEAD}a.jpg,celeb,ann,\n", "a.jpg": face})
    damage(path, face)
    with pytest.raises(InputError, match=r"f\.zip: a\.jpg cannot be read"):
        read_faces(path)
    with_password(path)
    readers: tuple[Callable[[Path], object], ...] = (read_faces, load_box_set, load_pictures)
    for read in readers:
        with pytest.raises(InputError, match="asks for a password"):
            read(path)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("a,b,same\n", "holds no pairs"),
        ("a,b,same\nx.jpg,x.jpg,True\n", "same is 'True'; it is 1 for"),
        ("a,b,same\nx.jpg,z.jpg,1\n", r"z\.jpg is not in it"),
        ("x,y\n1,2\n", "columns a, b and same"),
    ],
)
def test_pairs_that_cannot_be_meant_are_refused(tmp_path: Path, table: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_pairs(zipped(tmp_path / "p.zip", {"pairs.csv": table, "x.jpg": picture(112, 112)}))


def test_names_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_bytes("person\nAndr\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"n\.csv is not UTF-8"):
        read_names(tmp_path / "n.csv")
    with pytest.raises(InputError, match="give a table with a column `person`"):
        read_names(tmp_path)
    assert rows_of(b"a,b\n1,2,3\n", ["a"], "t.csv")[0]["b"] == "2"
