"""The suites of `headwater.testing` from outside the package: a stranger's classes pass them, run
as docs/seams.md shows it, and broken ones do not. They run in a folder and a process of their own,
without our conftest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Tree
from pathlib import Path

import pytest

import headwater
from headwater import testing

STRANGERS = Path(__file__).parent.parent / "strangers"
PAGE = Path(__file__).parent.parent.parent / "docs" / "seams.md"
MODULES = ("documented_suites.py", "broken_suites.py")
SOURCE = str(Path(headwater.__file__).parent.parent)


Outcomes = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Outcomes]:
    """What became of each test of each module: by class and name, passed, failed or skipped."""
    folder = tmp_path_factory.mktemp("strangers")
    for path in STRANGERS.glob("*.py"):
        shutil.copy(path, folder)
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    (folder / MODULES[0]).write_text("\n".join(examples))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder), "--junitxml", "found.xml", *MODULES]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([SOURCE, str(folder)])}
    env |= {"OMP_NUM_THREADS": "1"}  # faiss and torch, beside the other tests' processes
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Outcomes] = {}
    for case in Tree.parse(folder / "found.xml").iter("testcase"):
        module, owner = case.attrib["classname"].split(".")
        kinds = {part.tag for part in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        outcome = "skipped" if "skipped" in kinds else outcome
        found.setdefault(f"{module}.py", {})[owner, case.attrib["name"]] = outcome
    return found


@pytest.mark.slow
def test_a_strangers_classes_pass_every_suite(outcomes) -> None:
    found = outcomes[MODULES[0]]
    assert {name: outcome for name, outcome in found.items() if outcome != "passed"} == {}
    tests = {owner: sum(name[0] == owner for name in found) for owner, _ in found}
    assert len(tests) == len(testing.SUITES) + 1  # the policy twice: also by its formula
    assert min(tests.values()) >= 4, tests


def test_a_suite_finds_the_fault_of_a_broken_class(outcomes) -> None:
    found = outcomes[MODULES[1]]
    source = (STRANGERS / "broken_suites.py").read_text()
    expected = set()
    for owner, body in re.findall(
        r"^class (Test\w+)\(.*?\n(.*?)(?=^class |\Z)", source, re.M | re.S
    ):
        faults = re.findall(r"^    # (test_\S+)$", body, re.M)
        assert faults, owner
        expected |= {(owner, fault) for fault in faults}
    assert expected - {name for name, outcome in found.items() if outcome == "failed"} == set()
    # a fault is found by the tests that are about it, and not by all of a suite
    for owner in {owner for owner, _ in expected}:
        assert any(name[0] == owner and outcome == "passed" for name, outcome in found.items())


def test_every_suite_has_its_row_and_its_example_in_the_docs() -> None:
    page = PAGE.read_text()
    rows = re.findall(r"^\| \[.*\| `(\w+)` \|$", page, re.M)
    assert sorted(rows) == sorted(testing.SUITES) == sorted(testing.__all__)
    assert set(re.findall(r"import (\w+Contract)$", page, re.M)) == set(testing.SUITES)


def test_without_pytest_it_says_what_to_install(tmp_path) -> None:
    (tmp_path / "pytest.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-c", "import headwater.testing"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), SOURCE])},
        capture_output=True,
        text=True,
    )
    assert "pip install 'headwater[testing]'" in done.stderr


def test_a_suite_that_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="no suite 'CacheContract': BlobsContract"):
        _ = testing.CacheContract


def test_suites_of_what_needs_no_torch_import_none() -> None:
    code = (
        "import sys; from headwater.testing import IndexContract, OnlineStoreContract,"
        " PolicyContract, EngineContract, BlobsContract, UpstreamContract;"
        " print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
