"""Every way a command line can end, and what it says then."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from engine.errors import (
    InputError,
    InterruptedByUser,
    IznetError,
    MissingError,
    OutputError,
    PartialError,
    UsageError,
)
from engine.version import VERSION
from tools import cli

ROOT = Path(__file__).resolve().parents[2]


def iznet(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """The real thing in its own process."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `iznet doctor` raise."""

    def install(error: BaseException) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def doctor(as_json: bool) -> None:
            raise error

        monkeypatch.setattr("tools.doctor.doctor", doctor)

    return install


ERRORS: list[tuple[IznetError, int]] = [
    (UsageError("u"), 2),
    (InputError("clip.mp4: not a video"), 3),
    (MissingError("m"), 4),
    (OutputError("o"), 5),
    (PartialError("p"), 6),
]


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_own_errors_end_with_their_code_and_no_traceback(
    error: IznetError, code: int, failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert cli.run(["doctor"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"iznet: error: {error}\n"


@pytest.mark.parametrize(("error", "code"), [*ERRORS, (KeyboardInterrupt(), 130), (ValueError("bug"), 1)])
def test_json_errors_are_one_object_on_stdout_and_silence_on_stderr(
    error: BaseException,
    code: int,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert cli.run(["doctor", "--json"]) == code
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["code"] == code
    assert set(said) == {"error", "code"}
    assert err == ""
    if isinstance(error, IznetError):
        assert said["error"] == str(error)


def test_an_interrupt_is_told_apart_from_a_fault(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(InterruptedByUser("stopped; what was finished is in clip.partial.mp4"))
    assert cli.run(["doctor"]) == 130
    assert capsys.readouterr().err == "iznet: stopped; what was finished is in clip.partial.mp4\n"
    failing(KeyboardInterrupt())
    assert cli.run(["doctor"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_says_so_and_keeps_its_traceback_in_a_file(
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("division by zero"))
    assert cli.run(["doctor"]) == 1
    err = capsys.readouterr().err
    assert "a bug in IZ*Net" in err
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    (saved,) = tmp_path.glob("iznet-error-*.txt")
    assert str(saved) in err
    assert "Traceback (most recent call last)" in saved.read_text("utf-8")


def test_debug_shows_the_traceback_of_a_bug(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ZeroDivisionError("division by zero"))
    assert cli.run(["--debug", "doctor"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_full_disk_anywhere_is_no_bug(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", "/media/stick/mv.mp4"))
    assert cli.run(["doctor"]) == 5
    assert "/media/stick/mv.mp4" in capsys.readouterr().err


def test_a_name_that_no_file_can_have_is_bad_input(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(OSError(errno.ENAMETOOLONG, "File name too long", "yuri" * 99))
    assert cli.run(["doctor"]) == 3
    assert capsys.readouterr().err.startswith("iznet: error: yuriyuri")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["--nonsense"], ["doctor", "--nonsense"], ["doctor", "extra"], ["label"], ["train", "nonsense"]],
)
def test_wrong_use_is_2_and_points_at_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: iznet" in err
    assert "--help" in err
    assert "iznet: error: " in err
    assert cli.run([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["code"] == 2


def test_help_names_every_command_and_imports_none_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tools", "--help"],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    for name in cli.COMMANDS:
        assert f"\n  {name} " in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"av", "cv2", "numba", "numpy", "openvino", "onnxruntime", "tensorflow", "rich"}


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    assert f"Usage: iznet {name}" in capsys.readouterr().out


def test_version() -> None:
    done = iznet("--version")
    assert done.returncode == 0
    assert done.stdout == f"iznet {VERSION}\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = iznet("doctor", "--json", stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == 5
    assert done.stderr == ""


def test_an_error_that_nobody_reads_keeps_its_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = iznet("tracks", "summary", "nowhere.tracks.jsonl", "--json", stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("iznet: error: nowhere.tracks.jsonl: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here to write to")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_finds_the_disk_full(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w", encoding="utf-8") as full:
        for arguments in (["--help"], ["doctor", "--json"], ["doctor"]):
            done = iznet(*arguments, stdout=full.fileno())
            assert done.returncode == 5, arguments
            assert done.stderr.startswith("iznet: error: No space left on device")
            assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's way to close them")
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-"])
def test_closed_streams_are_no_bug(closed: str, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text(f'exec "{sys.executable}" -m tools --version {closed}\n', "utf-8")
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    assert subprocess.run(["sh", str(script)], env=environment, timeout=60, check=False).returncode == 0


def test_training_without_its_libraries_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name))
    assert cli.run(["train", "detector", "--help"]) == 4
    err = capsys.readouterr().err
    assert "'.[train]'" in err
    assert "tensorflow" in err


def test_a_package_that_is_not_installed_is_no_bug(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ModuleNotFoundError("No module named 'openvino'", name="openvino"))
    assert cli.run(["doctor"]) == 4
    assert "openvino is not installed" in capsys.readouterr().err
    failing(ModuleNotFoundError("No module named 'stream.gone'", name="stream.gone"))
    assert cli.run(["doctor"]) == 1


@pytest.mark.parametrize("group", [[], ["tracks"], ["gallery"], ["train"]])
def test_a_group_alone_shows_its_help_once(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(group) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("Usage:") == 1
    assert "error:" not in said.err
    assert "Commands:" in said.err


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("live udp://h:1", "--max-staleness", "nan"),
        ("live udp://h:1", "--timeout", "nan"),
        ("live udp://h:1", "--timeout", "inf"),
        ("live udp://h:1", "--timeout", "1e300"),
        ("live udp://h:1 udp://h:2", "--batch-wait", "nan"),
        ("live udp://h:1 --out a.mkv", "--rotate-seconds", "nan"),
        ("live udp://h:1 --out a.mkv", "--rotate-megabytes", "nan"),
        ("live udp://h:1 --out a.mkv", "--rotate-megabytes", "1e308"),
        ("live udp://h:1 --out a.mkv", "--crf", "nan"),
        ("label mv.mp4", "--lookahead", "nan"),
        ("label mv.mp4", "--crf", "-inf"),
        ("render mv.mp4", "--crf", "nan"),
        ("bench mv.mp4", "--crf", "inf"),
        ("bench accuracy mv.mp4", "--minimum", "nan"),
        ("analyse people", "--perplexity", "inf"),
    ],
)
def test_a_number_is_a_number(command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command.split(), option, value]) == 2
    assert option in (said := capsys.readouterr().err)
    assert any(words in said for words in ("is not a finite number", "is not in the range"))
