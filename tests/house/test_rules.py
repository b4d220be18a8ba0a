"""Rules of the house that no other tool holds: where paths are spelt, who may touch files, and what
the pipeline may know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import headwater

ROOT = Path(headwater.__file__).parent
# What stands under a warehouse; `Layout` alone spells it.
PARTS = {
    "audits",
    "backtests",
    "cache",
    "catalog",
    "daily",
    "editions",
    "erasures",
    "indexes",
    "judged",
    "lanes",
    "mirrored.json",
    "models",
    "monitors",
    "online",
    "predictions",
    "quarantine",
    "refused",
    "replay.json",
    "reports",
    "segments",
    "timed",
    "tombstones.json",
    "tracking",
}
# Rooms that work on values: they read and write through files, blobs and the store.
WITHOUT_FILES = ("pipeline", "serving", "studies", "backtests", "evidence.py", "factory.py")
FILE_CALLS = {
    "copyfile",
    "copytree",
    "glob",
    "iterdir",
    "mkdir",
    "open",
    "read_bytes",
    "read_text",
    "rglob",
    "rmtree",
    "unlink",
    "write_bytes",
    "write_text",
}
KINDS = ("headwater.models.upstream.derm", "headwater.studies", "headwater.backtests")


def sources(*rooms: str) -> list[Path]:
    """The files of some rooms, or of all."""
    folders = [ROOT / room for room in rooms] or [ROOT]
    return [
        path
        for folder in folders
        for path in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))
    ]


def literals_in_paths(tree: ast.AST) -> Iterator[str]:
    """Text that is joined to a path with `/`."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
            continue
        if isinstance(node.right, ast.Constant) and isinstance(node.right.value, str):
            yield node.right.value


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and not of_a_value(node.func):
                yield node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.func.id


def of_a_value(function: ast.Attribute) -> bool:
    """`rows.open()`, `workspace.open(entry)`: a method of ours, not a file."""
    of_a_path = isinstance(function.value, ast.Name) and function.value.id in ("path", "file")
    return function.attr == "open" and not of_a_path


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_the_paths_of_a_warehouse_are_spelt_in_its_layout_alone() -> None:
    spelt = [
        f"{path.relative_to(ROOT)}: {literal!r}"
        for path in sources()
        if path != ROOT / "blobs" / "layout.py" and ROOT / "testing" not in path.parents
        for literal in literals_in_paths(ast.parse(path.read_text()))
        if literal in PARTS
    ]
    assert spelt == []


@pytest.mark.parametrize("room", WITHOUT_FILES)
def test_rooms_that_work_on_values_touch_no_file(room) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {call}"
        for path in sources(room)
        for call in calls(ast.parse(path.read_text()))
        if call in FILE_CALLS
    ]
    assert found == []


def test_the_pipeline_names_no_kind_of_model_no_study_and_no_backtest() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("pipeline")
        for name in imports(ast.parse(path.read_text()))
        if name.startswith(KINDS)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('x = home / "editions"', ["editions"]),
        ('x = home / f"{day}.json"', []),
        ("x = a / b", []),
    ],
)
def test_the_measure_of_paths_sees_what_it_should(text, found) -> None:
    assert list(literals_in_paths(ast.parse(text))) == found
