"""HNSW against exact search on clustered vectors: recall and queries a second, in one run.

python -m benchmarks.index [--items 50000] [--width 64]
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from headwater.embeddings import Snapshot, Space
from headwater.index import open_index


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    generator, day = np.random.default_rng(0), dt.date(2025, 1, 1)
    centres = generator.standard_normal((200, options.width))

    def near_centres(n: int) -> np.ndarray:
        return (
            centres[generator.integers(0, 200, n)]
            + 0.7 * generator.standard_normal((n, options.width))
        ).astype(np.float32)

    keys, space = (
        np.arange(options.items, dtype=np.uint64),
        Space("ctr", "bench", options.width, day),
    )
    snapshot = Snapshot(
        space,
        "item",
        day,
        keys,
        near_centres(options.items),
        np.zeros(options.items, np.int32),
        pl.Series(keys),
    )
    queries = near_centres(1000)
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as root:
        for kind in ("exact", "hnsw"):
            start = time.perf_counter()
            index = open_index(
                Path(root), snapshot.digest, space, len(snapshot), lambda: snapshot.vectors_ND, kind
            )
            built = time.perf_counter() - start
            start = time.perf_counter()
            found[kind], _ = index.search(queries, 50, space)
            rate = len(queries) / (time.perf_counter() - start)
            recall = np.mean(
                [
                    len(set(a) & set(b)) / 50
                    for a, b in zip(found["exact"], found[kind], strict=True)
                ]
            )
            print(
                f"{kind:6} built in {built:6.2f} s   {rate:8,.0f} queries/s   recall@50"
                f" {recall:.4f}"
            )


if __name__ == "__main__":
    main()
