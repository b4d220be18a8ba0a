"""Files that appear whole or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headwater.files import new_file, new_folder, write_atomic


def by_file(path: Path, text: str) -> None:
    with new_file(path) as aside:
        aside.write_text(text)


def by_folder(path: Path, text: str) -> None:
    with new_folder(path) as aside:
        (aside / "part").write_text(text)


def read(path: Path) -> str:
    return (path / "part" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("write", [by_file, by_folder, write_atomic])
def test_threads_that_write_one_path_do_not_meet(tmp_path, write) -> None:
    path, start = tmp_path / "made", threading.Barrier(4)

    def write_often(writer: int) -> None:
        start.wait()
        for _ in range(40):
            write(path, str(writer) * 10_000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_often, range(4)))
    assert read(path) in {str(writer) * 10_000 for writer in range(4)}
    assert [found.name for found in tmp_path.iterdir()] == ["made"]
