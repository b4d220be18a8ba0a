"""The lake in a whole factory: any format gives the same vectors, late files are told with the
command that replays them, and erasure reaches the parts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import day
from headwater.console import Console
from headwater.factory import Factory
from headwater.lifecycle import erase


def lean(raw: dict[str, Any]) -> None:
    raw["downstream"] = {}


def rewritten(factory: Factory, log: str, write: Callable[[list[pl.DataFrame], Path], None]) -> str:
    """Put a log's days into other files; returns what to name as its path."""
    [pattern] = factory.workspace.schema.logs[log].paths
    files = sorted(Path(pattern).parent.glob(Path(pattern).name))
    folder = Path(pattern).parent.parent / f"{log}-again"
    folder.mkdir()
    write([pl.read_parquet(file) for file in files], folder)
    for file in files:
        file.unlink()
    return str(folder)


def csv_of_all(days: list[pl.DataFrame], folder: Path) -> None:
    text = (
        pl.from_epoch("time", time_unit="us")
        if days[0]["time"].dtype.is_integer()
        else pl.col("time")
    )
    whole = pl.concat(days, how="vertical_relaxed")
    whole.with_columns(text.dt.strftime("%Y-%m-%d %H:%M:%S%.6f").alias("time")).write_csv(
        folder / "all.csv"
    )


def lines(days: list[pl.DataFrame], folder: Path) -> None:
    for n, frame in enumerate(days):
        frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).write_ndjson(
            folder / f"{n}.jsonl"
        )


def hive(days: list[pl.DataFrame], folder: Path) -> None:
    for n, frame in enumerate(days):
        (folder / f"dt={day(n)}").mkdir()
        frame.write_parquet(folder / f"dt={day(n)}" / "part-0.parquet")
    (folder / "_SUCCESS").touch()


def vectors_of(factory: Factory) -> dict[str, list[Any]]:
    """Keys and vectors of every embedding after three days. (Ids of a CSV are text.)"""
    list(factory.backfill(day(0), day(2)))
    edition = factory.workspace.edition(day(2))
    parts = {name: edition.part(name) for name in edition.snapshots}
    return {
        name: [np.asarray(part.keys).tolist(), edition.points(name).tolist()]
        for name, part in parts.items()
    }


@pytest.fixture(scope="module")
def plain_vectors(tmp_path_factory, world, finished) -> dict[str, list[Any]]:
    from conftest import tiny_config
    from headwater.config import parse_config

    raw = tiny_config(world, Path("world"))
    lean(raw)
    root = tmp_path_factory.mktemp("plain") / "factory"
    shutil.copytree(finished(raw, 0), root)
    factory = Factory(parse_config(raw), root)
    return vectors_of(factory)


@pytest.mark.parametrize("write", [csv_of_all, lines, hive])
def test_the_same_rows_in_other_files_give_the_same_vectors(
    make_factory, plain_vectors, write
) -> None:
    plain = make_factory(lean)
    again = {log: rewritten(plain, log, write) for log in ("impressions", "visits")}

    def elsewhere(raw: dict[str, Any]) -> None:
        lean(raw)
        for log, path in again.items():
            raw["logs"][log]["path"] = path

    assert vectors_of(make_factory(elsewhere)) == plain_vectors


def test_a_file_that_comes_late_is_told_with_what_replays_it(make_factory, monkeypatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Console, "log", lambda self, event, **_: told.append(event))
    factory = make_factory(lean)
    factory.run_day(day(0))
    factory.run_day(day(1))
    [pattern] = factory.workspace.schema.logs["impressions"].paths
    first = sorted(Path(pattern).parent.glob("*.parquet"))[0]
    late = pl.read_parquet(first)[:5].with_columns(pl.col("impression_id") + 10_000_000)
    late.write_parquet(first.with_name("late.parquet"))
    told.clear()
    factory.run_day(day(2))
    [line] = [line for line in told if "late.parquet" in line]
    assert f"{day(0)} +5" in line
    assert f"`headwater run --day {day(0)} --replace`" in line


def test_erasure_reaches_the_parts(make_factory) -> None:
    plain = make_factory(lean)
    path = rewritten(plain, "impressions", csv_of_all)

    def as_csv(raw: dict[str, Any]) -> None:
        lean(raw)
        raw["logs"]["impressions"]["path"] = path

    factory = make_factory(as_csv)
    factory.run_day(day(0))
    parts = factory.workspace.layout.lake_parts("impressions")
    users = pl.concat([pl.read_parquet(part)["user_id"] for part in parts])
    victim = users[0]
    assert (users == victim).sum() > 1
    proof = erase(factory.workspace, "user", [int(victim)])
    [place] = [place for place in proof.places if place.name == "lake/impressions"]
    assert place.removed == (users == victim).sum()
    for part in factory.workspace.layout.lake_parts("impressions"):
        assert victim not in pl.read_parquet(part)["user_id"]
    report = factory.run_day(day(1))
    assert report.rows["impressions"] > 0


def test_the_command_tells_what_the_logs_hold(done, tmp_path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(done.parent, root)
    command = [sys.executable, "-m", "headwater.cli.main", "ingest", "--json"]
    made = subprocess.run(
        [*command, "--factory", str(root / "factory.yaml")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(made.stdout)["logs"]["impressions"]
    assert (found["read"], found["cut"], found["undated"], found["changes"]) == (0, 0, 0, [])
    assert found["first_day"] == str(day(0))
    assert found["rows"] > found["files"] > 0
