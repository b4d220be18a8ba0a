"""The point-in-time join of a million training rows against thirty editions: Headwater beside
Feast, in one run.

    python -m benchmarks.point_in_time [--rows 1000000] [--users 200000] [--editions 30]
        [--rounds 3] [--root DIR]

Both read the same fresh vectors and the same training rows and give the user's latest vector
published no later than the row; the answers are compared bit for bit. Feast runs in an environment
of its own (benchmarks/peers/feast_env.sh), on its DuckDB offline store, its fastest for files.
Timed is the look-up and its result in memory; not timed: writing the editions, materialising the
feature files, imports.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

HERE = Path(__file__).resolve().parent.parent
FEAST = HERE / ".venv-feast" / "bin" / "python"
START = dt.date(1970, 1, 1) + dt.timedelta(days=20_089)
DAY_US = 24 * 3600 * 10**6


def build(root: Path, editions: int) -> None:
    """The editions, published by the store as a factory would; edition E is of the day before it is
    read.
    """
    from headwater.blobs import Layout
    from headwater.config import LatestPolicy
    from headwater.embeddings import Snapshot, Space
    from headwater.embeddings.snapshot import day_number
    from headwater.store import MergeRule, Provenance, compose, read_daily, write_daily
    from headwater.store.rewrite import compact

    layout, before = Layout(root / "ours"), None
    rule = MergeRule(LatestPolicy(), 90, "float32", 32_768)
    for number in range(editions):
        day = START + dt.timedelta(days=number - 1)
        keys = np.load(root / f"edition-{number:02}.keys.npy")
        vectors = np.load(root / f"edition-{number:02}.vectors.npy")
        space = Space("ctr", "bench", vectors.shape[1], START - dt.timedelta(days=1))
        seen = np.full(len(keys), day_number(day), np.int32)
        ids = pl.Series(keys.view(np.int64))
        folder = layout.daily(day, "ctr", f"{number}")
        fresh = Snapshot(space, "user", day, keys, vectors, seen, ids)
        write_daily(folder, day, [fresh], rule.bucket_rows)
        daily = read_daily(folder, day)
        assert daily is not None
        before = compose(layout, day, before, daily, rule, Provenance()).edition
        if (number + 1) % 8 == 0:
            before = compact(layout, before, rule.bucket_rows)
        (root / "ours" / f"{number:02}.txt").write_text(str(before.folder))


def look_up(root: Path, editions: int) -> None:
    """The timed part, in a process of its own: prints JSON, writes ours.npy."""
    from benchmarks.peers.measure import peak_rss_mb
    from headwater.store import Edition, EditionView, point_in_time

    keys, times = np.load(root / "entity.keys.npy"), np.load(root / "entity.times.npy")
    start = time.perf_counter()
    days = START.toordinal() + (times // DAY_US - 20_089)
    opened = {
        number: Edition.load(Path((root / "ours" / f"{number:02}.txt").read_text()))
        for number in range(editions)
    }

    def view(day: dt.date) -> EditionView:
        number = (day - START).days
        return EditionView(day - dt.timedelta(days=1), opened[min(number, editions - 1)])

    served = point_in_time(view, "ctr_user", opened[0].space("ctr_user").width, keys, days)
    seconds = time.perf_counter() - start
    vectors = served.vectors_ND
    vectors[~served.found_N] = np.nan
    np.save(root / "ours.npy", vectors)
    print(
        json.dumps(
            {"seconds": seconds, "peak_rss_mb": peak_rss_mb(), "found": int(served.found_N.sum())}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--editions", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--look-up", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look_up:
        look_up(options.look_up, options.editions)
        return
    subprocess.run(
        ["sh", str(HERE / "benchmarks" / "peers" / "feast_env.sh")], check=True, cwd=HERE
    )
    root = Path(tempfile.mkdtemp(dir=options.root))
    size = [
        "--users",
        str(options.users),
        "--editions",
        str(options.editions),
        "--rows",
        str(options.rows),
    ]
    subprocess.run(
        [str(FEAST), "-m", "benchmarks.peers.feast_data", str(root), *size], check=True, cwd=HERE
    )
    build(root, options.editions)
    ways = {
        "headwater": [
            sys.executable,
            "-m",
            "benchmarks.point_in_time",
            "--look-up",
            str(root),
            "--editions",
            str(options.editions),
        ],
        "feast": [
            str(FEAST),
            "-W",
            "ignore",
            "-m",
            "benchmarks.peers.feast_join",
            str(root),
            "--store",
            "duckdb",
        ],
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, command in ways.items():
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr[-2000:]}")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    ours, theirs = np.load(root / "ours.npy"), np.load(root / "feast.npy")
    same = np.array_equal(
        ours.view(np.uint32)[~np.isnan(ours)], theirs.view(np.uint32)[~np.isnan(ours)]
    ) and bool((np.isnan(ours) == np.isnan(theirs)).all())
    shutil.rmtree(root)
    median = {
        name: statistics.median(turn["seconds"] for turn in turns) for name, turns in found.items()
    }
    print(
        f"{options.rows:,} rows, {options.editions} editions of {options.users:,} users x 64,"
        f" median of {options.rounds} interleaved rounds"
    )
    for name, turns in found.items():
        memory = max(turn["peak_rss_mb"] for turn in turns)
        print(
            f"{name:10} {median[name]:8.2f} s   {median[name] / median['headwater']:6.1f} x ours  "
            f" {memory:8,.0f} MB"
        )
    print(
        f"{int((~np.isnan(ours[:, 0])).sum()):,} rows found; the same vectors bit for bit:"
        f" {'yes' if same else 'NO'}"
    )
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
