"""Imports go one way only: tools → stream → engine ← train; tools → train. Read from the syntax, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ("engine", "stream", "train", "tools")
MAY_IMPORT = {
    "engine": {"engine"},
    "stream": {"stream", "engine"},
    "train": {"train", "engine"},
    "tools": {"tools", "stream", "engine", "train"},
}
TRAINING = {"tensorflow", "keras", "tf2onnx", "onnx", "matplotlib"}
"""Only `train` may know these, and in `tools` only the files of the training commands."""
IMPORTS_OPENVINO = "engine/quiet_openvino.py"
"""Everybody else takes it from there, so that it sends nothing home; and its one core, so that signals arrive."""
REWRITES_ONNX = "tensorrt_precision.py"
"""The one file of `engine` that writes networks: what it needs comes with the extra `gpu`."""


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every import at any depth: line and top-level package. `TYPE_CHECKING` blocks count as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def cores(tree: ast.AST) -> Iterator[int]:
    """The lines of all calls of OpenVINO's `Core`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(attr="Core") | ast.Name(id="Core"):
                    yield node.lineno


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def offences(package: str, source: str, name: str) -> list[str]:
    tree = ast.parse(source)
    found = []
    for line, target in imports(tree):
        if target in HOUSE and target not in MAY_IMPORT[package]:
            found.append(f"{name}:{line} imports {target}")
        training_command = package == "tools" and Path(name).name.startswith("train")
        rewriting = target == "onnx" and name == f"engine/{REWRITES_ONNX}"
        if target in TRAINING and package != "train" and not training_command and not rewriting:
            found.append(f"{name}:{line} imports {target}")
        if target == "openvino" and name != IMPORTS_OPENVINO:
            found.append(f"{name}:{line} imports {target}")
    if name != IMPORTS_OPENVINO:
        found += [f"{name}:{line} makes a core of its own" for line in cores(tree)]
    return found


@pytest.mark.parametrize("package", HOUSE)
def test_imports_go_one_way(package: str) -> None:
    files = modules(package)
    assert files, f"no module in {package}/"
    found = [
        offence for file in files for offence in offences(package, file.read_text("utf-8"), str(file.relative_to(ROOT)))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("engine", "from stream.frames import Frame"),
        ("engine", "import tensorflow as tf"),
        ("engine", "def f():\n    import train.export"),
        ("engine", "def f():\n    import onnx"),
        ("stream", "from tools import cli"),
        ("stream", "import keras"),
        ("train", "if TYPE_CHECKING:\n    from stream import label_video"),
        ("tools", "import tensorflow"),
        ("train", "import openvino as ov"),
        ("train", "from engine.quiet_openvino import ov\nnetwork = ov.Core().read_model(path)"),
    ],
)
def test_a_wrong_arrow_is_seen(package: str, line: str) -> None:
    assert offences(package, line, f"{package}/made_up.py")


def test_tests_share_the_one_core_too() -> None:
    calls = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in modules("tests")
        for line in cores(ast.parse(file.read_text("utf-8")))
    ]
    assert not calls


@pytest.mark.parametrize("package", HOUSE)
def test_every_package_can_be_imported_as_one(package: str) -> None:
    assert (ROOT / package / "__init__.py").is_file()
