"""Fifty kills and fifty full disks for each operation of the lifecycle; see drill.py for what is
asked afterwards.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
DRILLS = [
    (operation, how)
    for operation in ("publish", "promote", "rollback", "compact", "erase")
    for how in ("kill", "disk")
]


@pytest.fixture(scope="module")
def drills(
    tmp_path_factory,
) -> Iterator[dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]]]:
    """All drills, two at a time, each in a process of its own."""

    def drill(operation: str, how: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp(f"{operation}-{how}")
        command = [sys.executable, str(HERE / "drill.py"), str(folder), operation, how, "50", "11"]
        return subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=HERE)

    with ThreadPoolExecutor(2) as pool:
        yield {which: pool.submit(drill, *which) for which in DRILLS}


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "how"), DRILLS)
def test_readers_see_one_whole_edition_and_the_next_run_repairs_the_rest(
    drills, operation, how
) -> None:
    done = drills[operation, how].result()
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["trials"] == 50
    assert found["cut"] >= 5, found  # the drill did disturb it
    assert found["old"] >= 1, found
