"""Budgets of the source, which is formatted: how long files and functions are, how many parameters
they take, and which signatures say nothing.
"""

from __future__ import annotations

import ast
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import headwater

ROOT = Path(headwater.__file__).parent
FILE, MEDIAN_FILE = 400, 150
FUNCTION, P90_FUNCTION = 60, 30
PARAMETERS = 7
JSON = ("as_json", "from_json")


@dataclass(frozen=True)
class Function:
    """A function or method, however deep it lies."""

    name: str  # FILE: CLASS.NAME
    lines: int
    parameters: int
    public: bool  # to be called from outside its file: of no underscore, and not within a function
    says_nothing: bool  # dict[str, Any] stands in its signature


def functions() -> list[Function]:
    return [found for path in sources() for found in functions_of(path)]


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def functions_of(path: Path) -> Iterator[Function]:
    def inside(node: ast.AST, names: tuple[str, ...], public: bool) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from inside(child, names, public)
                continue
            within = (*names, child.name)
            open_to_all = public and not child.name.startswith("_")
            if isinstance(child, ast.ClassDef):
                yield from inside(child, within, open_to_all)
            else:
                name = f"{path.relative_to(ROOT)}: {'.'.join(within)}"
                yield measured(child, name, open_to_all)
                yield from inside(child, within, False)

    yield from inside(ast.parse(path.read_text()), (), True)


def measured(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, public: bool) -> Function:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given += [rest for rest in (node.args.vararg, node.args.kwarg) if rest is not None]
    hints = [argument.annotation for argument in given] + [node.returns]
    assert node.end_lineno is not None
    return Function(
        name,
        node.end_lineno - node.lineno + 1,
        sum(argument.arg not in ("self", "cls") for argument in given),
        public,
        any("dict[str, Any]" in ast.unparse(hint) for hint in hints if hint is not None),
    )


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_worst_ten_of_each() -> None:
    """Says where to cut next: `make check`."""
    print("\nlines of files:")
    for path in sorted(sources(), key=lines_of, reverse=True)[:10]:
        print(f"  {lines_of(path):5} {path.relative_to(ROOT)}")
    found = functions()
    for size in ("lines", "parameters"):
        print(f"{size} of functions:")
        for one in sorted(found, key=lambda one: getattr(one, size), reverse=True)[:10]:
            print(f"  {getattr(one, size):5} {one.name}")
    assert found


def test_files_are_short() -> None:
    sizes = {str(path.relative_to(ROOT)): lines_of(path) for path in sources()}
    assert {name: lines for name, lines in sizes.items() if lines > FILE} == {}
    assert statistics.median(sizes.values()) <= MEDIAN_FILE


def test_functions_are_short() -> None:
    found = functions()
    assert {one.name: one.lines for one in found if one.lines > FUNCTION} == {}
    ordered = sorted(one.lines for one in found)
    assert ordered[math.ceil(0.9 * len(ordered)) - 1] <= P90_FUNCTION


def test_functions_take_few_parameters() -> None:
    # a command takes whatever may stand on its command line
    found = [one for one in functions() if not (one.name.startswith("cli/") and one.public)]
    assert {one.name: one.parameters for one in found if one.parameters > PARAMETERS} == {}


def test_public_signatures_say_what_they_hold() -> None:
    vague = [one.name for one in functions() if one.public and one.says_nothing]
    assert [name for name in vague if not name.endswith(JSON)] == []


def test_all_of_it_is_formatted() -> None:
    skipped = [
        str(path.relative_to(ROOT))
        for path in sources()
        if any(skip in path.read_text() for skip in ("# fmt: skip", "# fmt: off"))
    ]
    assert not skipped


# ---- the measure itself --------------------------------------------------------------------------


def test_what_is_measured(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("test_budgets.ROOT", tmp_path)
    (tmp_path / "a.py").write_text(
        "class A:\n"
        "    def b(self, c, *d, e: dict[str, Any], **f):\n"
        "        def g() -> dict[str, Any]: ...\n"
        "        return g\n"
        "def _h(): ...\n"
    )
    assert list(functions_of(tmp_path / "a.py")) == [
        Function("a.py: A.b", 3, 4, public=True, says_nothing=True),
        Function("a.py: A.b.g", 1, 0, public=False, says_nothing=True),
        Function("a.py: _h", 1, 0, public=False, says_nothing=False),
    ]
