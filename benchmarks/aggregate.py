"""One day's merge, ours beside Polars and plain NumPy reads and writes of the same bytes, in one run.

    python benchmarks/aggregate.py [--rows 1000000] [--fresh 300000] [--width 64]

Prints seconds (the median of interleaved rounds) and the ratio to ours. The work: read yesterday's published vectors, average them with
today's fresh ones (w = 0.8), carry the others forward, write the result.
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

import numpy as np
import polars as pl

from headwater.config import EmaPolicy
from headwater.embeddings import Snapshot, Space, aggregate
from headwater.embeddings.snapshot import day_number
from headwater.store.buckets import read_snapshot, write_snapshot

DAY = dt.date(2025, 1, 1)
NEXT = DAY + dt.timedelta(days=1)


def snapshot(keys: np.ndarray, width: int, day: dt.date, seed: int) -> Snapshot:
    vectors = np.random.default_rng(seed).standard_normal((len(keys), width), dtype=np.float32)
    seen = np.full(len(keys), day_number(day), np.int32)
    return Snapshot(Space("ctr", "bench", width, DAY), "user", day, keys, vectors, seen, pl.Series(keys.view(np.int64)))


def as_frame(snap: Snapshot) -> pl.DataFrame:
    return pl.DataFrame({"key": snap.keys_N, "vector": pl.Series(snap.vectors_ND, dtype=pl.Array(pl.Float32, snap.space.width))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--fresh", type=int, default=300_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    keys = np.unique(np.random.default_rng(0).integers(0, 2**62, options.rows, dtype=np.uint64))
    picked = np.sort(np.random.default_rng(1).choice(keys, options.fresh, replace=False))
    before, today = snapshot(keys, options.width, DAY, 2), snapshot(picked, options.width, NEXT, 3)
    write_snapshot(root / "ours", before, 16)
    as_frame(before).write_parquet(root / "before.parquet")
    np.save(root / "before.npy", before.vectors_ND)

    def ours() -> None:
        old = read_snapshot(root / "ours", before.space, "user", DAY, 16)
        write_snapshot(root / "ours-next", aggregate(old, today, EmaPolicy(), NEXT, 90), 16)
        shutil.rmtree(root / "ours-next")

    def polars_join() -> None:
        joined = pl.read_parquet(root / "before.parquet").join(as_frame(today), on="key", how="full", coalesce=True)
        old, new = (joined[name].to_numpy() for name in ("vector", "vector_right"))
        both = joined["vector"].is_not_null().to_numpy() & joined["vector_right"].is_not_null().to_numpy()
        merged = np.where(joined["vector"].is_null().to_numpy()[:, None], new, old)
        merged[both] = old[both] + np.float32(0.2) * (new[both] - old[both])
        out = pl.DataFrame({"key": joined["key"], "vector": pl.Series(merged.astype(np.float32), dtype=pl.Array(pl.Float32, options.width))})
        out.sort("key").write_parquet(root / "next.parquet", compression="uncompressed")

    def bytes_only() -> None:
        np.save(root / "next.npy", np.load(root / "before.npy"))

    work: dict[str, Callable[[], None]] = {"headwater": ours, "polars join": polars_join, "reading and writing the bytes": bytes_only}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(options.rounds):
        for name, step in work.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    shutil.rmtree(root)
    mine = statistics.median(seconds["headwater"])
    print(f"one day of {len(keys):,} x {options.width}, {options.fresh:,} fresh, median of {options.rounds} interleaved rounds")
    for name, taken in seconds.items():
        print(f"{name:32} {statistics.median(taken):7.2f} s   {statistics.median(taken) / mine:5.2f} x ours")


if __name__ == "__main__":
    main()
