"""The commands in the docs are run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.evidence import STUDIES

ROOT = Path(__file__).parent.parent.parent
CUT = """
import pathlib, yaml
path = pathlib.Path("shop/factory.yaml")
raw = yaml.safe_load(path.read_text())
for consumer in raw["downstream"].values():
    consumer |= {"variants": ["none", "all"], "seeds": [0], "sequence": {"length": 0}}
path.write_text(yaml.safe_dump(raw | {"workers": 0}, sort_keys=False))
"""


@pytest.mark.slow
def test_every_block_of_the_lifecycle_page_runs(tmp_path) -> None:
    page = (ROOT / "docs" / "lifecycle.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    # After `init`: fewer variants and seeds, so that it is quick; the page stays as it is.
    first, rest = blocks[0].split("\n", 1)
    script = "\n".join(["set -eu", first, f'"{sys.executable}" cut.py', rest, *blocks[1:]])
    (tmp_path / "cut.py").write_text(CUT)
    headwater = tmp_path / "bin" / "headwater"
    headwater.parent.mkdir()
    headwater.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m headwater.cli.main "$@"\n')
    headwater.chmod(0o755)
    env = os.environ | {"PATH": f"{headwater.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    commands = set(re.findall(r"^headwater (\w+)", "\n".join(blocks), flags=re.MULTILINE))
    assert commands >= {
        "promote",
        "rollback",
        "pin",
        "unpin",
        "compact",
        "align",
        "erase",
        "rebuild",
        "run",
    }
    assert "not removed:" in done.stdout


def test_the_evidence_page_lists_every_study_in_the_order_of_the_report() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", page, flags=re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert listed == [study.name for study in STUDIES]
    assert len(set(listed)) == len(listed)


def test_the_command_line_lists_every_study_and_waits_for_no_library_that_makes_one() -> None:
    code = (
        "import sys; from headwater.cli.evidence import TableName; help = TableName.__metadata__[0]"
        ".help; print(help); print(sorted({'numpy', 'polars', 'scipy', 'torch'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, slow = done.stdout.splitlines()
    assert all(f"{study.name} (" in said for study in STUDIES)
    assert slow == "[]"


def test_every_benchmark_finds_what_it_imports() -> None:
    names = [path.stem for path in sorted((ROOT / "benchmarks").glob("[a-z]*.py"))]
    code = "\n".join(f"import benchmarks.{name}" for name in names)
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
