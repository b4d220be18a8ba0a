"""What a day of a log costs as the log grows: Headwater's lake beside a bare polars scan of the
day's own rows in Parquet, in one run.

    python -m benchmarks.growth [--days 5 60 365] [--rows 20000] [--rounds 9] [--small 2000]
        [--out DIR]

Logs of integer times, of datetimes (a Parquet file a day each), of text times (a CSV file a day)
and one big Parquet file of all days. Timed, interleaved: `EventLog.between` of the last day (rows
read, cleaned and sorted) once the log was ingested, its raw rows alone, and the bare scan. Then
what ingesting costs once, beside polars reading the same files (those read in place) or reading,
sorting and writing them as zstd Parquet (those that are cut); and a log of many small files.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.events.lake import Lake
from headwater.events.log import EventLog
from headwater.events.times import day_bounds_us
from headwater.schema import Log, Numeric

FIRST = dt.date(2024, 1, 1)
UTC = ZoneInfo("UTC")
KINDS = ("integer", "datetime", "text-csv", "one big file")


def log_of(path: Path, kind: str) -> Log:
    return Log(
        name="feed",
        paths=(str(path / ("*.csv" if kind == "text-csv" else "*.parquet")),),
        time="t",
        time_unit="ms",
        entities={"user": "u", "item": "i"},
        features={"price": Numeric()},
        labels=("c",),
        join_keys=(),
        event_id=None,
        max_reject_share=0.5,
    )


def a_day(n: int, rows: int) -> pl.DataFrame:
    generator = np.random.default_rng(n)
    low, high = day_bounds_us(FIRST + dt.timedelta(days=n), UTC)
    return pl.DataFrame(
        {
            "t": np.sort(generator.integers(low // 1000, high // 1000, rows)),
            "u": generator.integers(0, 10**6, rows),
            "i": generator.integers(0, 10**5, rows),
            "price": generator.random(rows),
            "c": generator.integers(0, 2, rows),
        }
    )


def write_log(folder: Path, kind: str, days: int, rows: int) -> None:
    folder.mkdir(parents=True)
    moment = pl.from_epoch("t", time_unit="ms")
    whole = []
    for n in range(days):
        frame = a_day(n, rows)
        if kind == "integer":
            frame.write_parquet(folder / f"{n:04}.parquet")
        elif kind == "datetime":
            frame.with_columns(moment).write_parquet(folder / f"{n:04}.parquet")
        elif kind == "text-csv":
            text = moment.dt.strftime("%Y-%m-%d %H:%M:%S%.3f").alias("t")
            frame.with_columns(text).write_csv(folder / f"{n:04}.csv")
        else:
            whole.append(frame)
    if whole:
        pl.concat(whole).write_parquet(folder / "all.parquet")


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def bare_once(folder: Path, kind: str, aside: Path) -> None:
    """What polars takes to read the files; of those that are cut, to sort and write them too."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False)
        else:
            frame = pl.read_parquet(path)
        if kind in ("text-csv", "one big file"):
            frame.sort("t").write_parquet(aside / f"{path.stem}.parquet", compression="zstd")


def measure(root: Path, kind: str, days: int, rows: int, rounds: int) -> dict[str, float]:
    folder = root / f"{kind}-{days}"
    write_log(folder, kind, days, rows)
    lake = root / f"lake-{kind}-{days}"
    aside = root / f"aside-{kind}-{days}"
    aside.mkdir()
    once = seconds(lambda: Lake(log_of(folder, kind), UTC, lake / "feed", keeps=True).ingest())
    bare = seconds(lambda: bare_once(folder, kind, aside))
    log = EventLog(log_of(folder, kind), UTC, lake=lake, keeps=True)
    log.lake.ingest()
    low, high = day_bounds_us(FIRST + dt.timedelta(days=days - 1), UTC)
    own = root / "own.parquet"
    a_day(days - 1, rows).write_parquet(own)
    times: dict[str, list[float]] = {"day": [], "raw": [], "bare": []}
    for _ in range(rounds):
        times["day"].append(seconds(lambda: log.between(low, high)))
        times["raw"].append(seconds(lambda: log._rows(low, high)))
        times["bare"].append(seconds(lambda: pl.scan_parquet(own).collect(engine="streaming")))
    shutil.rmtree(folder)
    shutil.rmtree(lake)
    shutil.rmtree(aside)
    medians = {name: statistics.median(found) for name, found in times.items()}
    return medians | {"once": once, "bare once": bare, "rows": float(days * rows)}


def many_small(root: Path, files: int) -> tuple[float, float]:
    """Seconds to ingest so many files of 100 rows, and to read the last day."""
    folder = root / "small"
    folder.mkdir()
    for n in range(files):
        a_day(n // 20, 100).write_parquet(folder / f"{n:05}.parquet")
    log = EventLog(log_of(folder, "integer"), UTC, lake=root / "lake-small", keeps=True)
    once = seconds(log.lake.ingest)
    last = day_bounds_us(FIRST + dt.timedelta(days=(files - 1) // 20), UTC)
    return once, seconds(lambda: log.between(*last))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, nargs="+", default=[5, 60, 365])
    parser.add_argument("--rows", type=int, default=20_000, help="a day")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--small", type=int, default=2000, help="how many small files")
    parser.add_argument(
        "--out", type=Path, help="where files are written (default: a temporary one)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.out) as made:
        root = Path(made)
        print(
            f"{'log':14}{'days':>5}{'day ms':>9}{'raw rows':>10}{'bare scan':>11}{'raw/bare':>10}"
            f"{'once s':>9}{'polars s':>10}{'M rows/s':>10}"
        )
        for kind in KINDS:
            for days in options.days:
                found = measure(root, kind, days, options.rows, options.rounds)
                print(
                    f"{kind:14}{days:5}{1e3 * found['day']:9.1f}{1e3 * found['raw']:10.1f}"
                    f"{1e3 * found['bare']:11.1f}{found['raw'] / found['bare']:10.2f}"
                    f"{found['once']:9.2f}{found['bare once']:10.2f}"
                    f"{found['rows'] / found['once'] / 1e6:10.2f}",
                    flush=True,
                )
        once, day = many_small(root, options.small)
        print(f"{options.small:,} small files: {once:.1f} s to ingest, {1e3 * day:.1f} ms a day")


if __name__ == "__main__":
    main()
