"""The README keeps its word: its examples run, its links lead somewhere, its tables are the measured ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine.modelfile import SHIPPED
from tools import cli
from tools.demo_clip import PERSON, DemoFiles

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not (SHIPPED / "detector.onnx").is_file(), reason="no trained networks in engine/models")
def test_the_examples_run(
    demo_files: DemoFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    world: dict[str, Any] = {
        "photo": next((demo_files.photos / PERSON).glob("whole.jpg")),
        "folder_of_people": demo_files.photos,
        "video": demo_files.clip,
    }
    assert len(EXAMPLES) >= 5
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"README.md, example {number + 1}", "exec"), world)
    assert len(world["faces"]) == 1
    assert world["matches"].names == [PERSON]
    assert world["result"].frames == demo_files.frames
    assert [person.name for person in world["result"].people] == [PERSON]
    assert len(world["record"].frames) == demo_files.frames
    assert PERSON in capsys.readouterr().out


def test_its_files_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/labelled.jpg" in links
    for link in [*links, *re.findall(r"`((?:engine|stream|train|tools|benchmarks|docs)/[\w./]*)`", README)]:
        assert (ROOT / link).exists(), link


def test_the_two_commands_stand_on_the_first_screen() -> None:
    first = "\n".join(README.splitlines()[:25])
    assert "make demo" in first
    assert "make test" in first


@pytest.mark.parametrize("command", ["label", "enroll", "doctor", "demo"])
def test_its_options_exist(command: str) -> None:
    """Every long option the README names is an option of some command; `label`'s table names them all."""
    text = CliRunner().invoke(cli.iznet, [command, "--help"]).output
    if command == "label":
        offered = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", text)) - {"--help", "--gallery", "--output"}
        table = README[README.index("| option of `iznet label`") : README.index("MP4, MOV and MKV")]
        assert offered <= set(re.findall(r"--[a-z]+(?:-[a-z]+)*", table))
        assert set(re.findall(r"--[a-z]+(?:-[a-z]+)*", table)) <= offered


def test_its_exit_codes_are_the_programs() -> None:
    from engine import errors

    kinds = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.IznetError)
    ]
    told = set(re.findall(r"^\| (\d+) \|", README, re.MULTILINE))
    assert {str(kind.exit_code) for kind in kinds} | {"0"} == told


def test_its_figures_are_the_measured_ones() -> None:
    from benchmarks import results

    for path, text in results.texts(results.stored()).items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `python -m benchmarks.results`"
