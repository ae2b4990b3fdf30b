"""Compiled loops: what they take, what is kept of them, and that they run without Numba from then on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import machine_code
from engine.compiled import compiled, compiled_sum
from engine.nms import nms

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the code is kept; nothing is there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "iznet" / "code"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loops that Numba was asked to compile."""
    names = []
    real = machine_code._made

    def noting(loop: machine_code.Loop, *rest: Any) -> bytes:
        names.append(loop.name.rpartition(".")[2])
        return real(loop, *rest)

    monkeypatch.setattr(machine_code, "_made", noting)
    return names


def add(a: int, b: int) -> int:
    return a + b


def weighted(values: NDArray[Any], by: float, from_end: bool) -> float:
    total = 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            total += values[-i - 1 if from_end else i, j] * by * (i + 1)
    return total


def fill(values: NDArray[Any], low: int, high: int, value: int) -> None:
    values[low:high] = value


def half(value: int) -> int:
    return value // 2


halved = compiled(half)


def halves(values: NDArray[np.int64]) -> None:
    for i in range(len(values)):
        values[i] = halved(values[i])


def is_large(value: float) -> bool:
    return value > 10


def test_numbers_and_arrays_of_every_layout(folder: Path) -> None:
    assert compiled(add)(2, -3) == -1
    assert compiled(is_large)(10.5) is True
    assert compiled(is_large)(np.float64(9.5)) is False
    loop = compiled(weighted)
    values = np.arange(24).reshape(4, 6)
    for dtype in (np.uint8, np.uint16, np.float32, np.int64):
        whole = values.astype(dtype)
        for view in (whole, whole[::2], whole[:, ::3], whole[::-1], whole.T, whole[1:3, 2:5], whole[:0]):
            for from_end in (False, True):
                assert loop(view, 0.5, from_end) == weighted(view, 0.5, from_end)


def test_writes_into_what_it_is_given(folder: Path) -> None:
    whole = np.zeros((4, 5), np.uint16)
    compiled(fill)(whole[:, 2], 1, 3, 7)
    assert whole[:, 2].tolist() == [0, 7, 7, 0]
    assert whole.sum() == 14
    numbers = np.array([9, 5, -3])
    compiled(halves)(numbers)
    assert numbers.tolist() == [4, 2, -2]


def test_each_kind_of_arguments_is_compiled_once(folder: Path, made: list[str]) -> None:
    loop = compiled(weighted)
    values = np.ones((3, 4), np.float32)
    for view in (values, values[:2], values[:, :2], values[:, 1:], values.astype(np.uint8)):
        loop(view, 2.0, False)
    assert made == ["weighted"] * 3
    assert len(list(folder.iterdir())) == 3
    other = compiled(weighted)
    assert other(values, 2.0, False) == loop(values, 2.0, False) == 48
    assert len(made) == 3, "taken from the disk"


def test_damaged_code_is_made_anew(folder: Path, made: list[str]) -> None:
    compiled(add)(1, 2)
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:-10], whole[:100] + b"?" + whole[101:], b""):
        kept.write_bytes(damaged)
        for _ in range(2):
            assert compiled(add)(1, 2) == 3
    assert made == ["add"] * 4


def test_without_a_place_to_keep_it(monkeypatch: pytest.MonkeyPatch, made: list[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    for _ in range(2):
        assert compiled(add)(2, 3) == 5
    assert made == ["add", "add"]


def test_another_source_is_other_code(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for factor in (2, 3):
        (tmp_path / "times.py").write_text(
            f"from engine.compiled import compiled\nFACTOR = {factor}\n"
            "@compiled\ndef times(a: int) -> 'int':\n    return FACTOR * a\n",
            "utf-8",
        )
        script = "import times; print(times.times(5))"
        command = [sys.executable, "-B", "-c", f"import sys; sys.path[:0] = {[str(tmp_path), str(ROOT)]!r}; {script}"]
        found.append(subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip())
    assert found == ["10", "15"]


def allocates(a: int) -> int:
    return len(np.zeros(a))


def raises(a: int) -> int:
    if a > 3:
        raise ValueError("too large")
    return a


def gives_an_array(a: NDArray[np.float32]) -> NDArray[np.float32]:
    return a


@pytest.mark.parametrize(("loop", "argument"), [(allocates, 3), (raises, 1)])
def test_what_needs_numba_at_run_time_is_refused(loop: Callable[[int], int], argument: int, folder: Path) -> None:
    with pytest.raises(NotImplementedError, match=f"test_compiled.{loop.__name__}"):
        compiled(loop)(argument)
    assert not list(folder.iterdir())


def test_what_it_may_return() -> None:
    with pytest.raises(TypeError, match=r"gives_an_array returns NDArray\[np\.float32\]; machine code returns None"):
        compiled(gives_an_array)(np.zeros(1, np.float32))


def test_sums_may_be_added_up_in_any_order_but_nan_stays_nan(folder: Path) -> None:
    def total(values: NDArray[np.float32]) -> float:
        added = np.float32(0)
        for i in range(len(values)):
            added += values[i]
        return float(added)

    values = np.random.default_rng(0).random(1000).astype(np.float32)
    assert compiled_sum(total)(values) == pytest.approx(float(values.sum(dtype=np.float64)), rel=1e-5)
    values[500] = np.nan
    assert np.isnan(compiled_sum(total)(values))


def test_a_process_that_finds_the_code_never_loads_numba(folder: Path) -> None:
    script = (
        "import json, sys\nimport numpy as np\nfrom engine.nms import nms\n"
        "kept = nms(np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]), np.float32([0.6, 0.9, 0.5]))\n"
        "print(json.dumps([kept.tolist(), 'numba' in sys.modules]))"
    )
    said = [
        json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT).stdout)
        for _ in range(2)
    ]
    assert said == [[[1, 2], True], [[1, 2], False]]


def test_threads_share_what_is_made(folder: Path, made: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 100, (500, 2)).astype(np.float32)
    boxes, scores = np.hstack([corner, corner + 20]), rng.random(500).astype(np.float32)
    expected = nms(boxes, scores).tolist()
    loop = compiled(add)
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda n: (nms(boxes, scores).tolist(), loop(n, 1)), range(40)))
    assert all(found == (expected, n + 1) for n, found in enumerate(kept))
    assert made.count("add") == 1
