"""Polars: a full join streamed from file to file, in Arrow IPC (quicker) or in Parquet; Array
columns are averaged by its own arithmetic.

At 4 M rows as quick as its in-memory engine and a left join with the new rows after it, and quicker
than an inner and two anti joins, which are the quickest at 1 M but take 1.4 times the memory at 4
M. Peak memory counts the pages of the mapped IPC file.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.peers import parquet
from benchmarks.peers.data import EXPIRE_DAYS, TODAY, Rows
from benchmarks.peers.merging import NEW, OLD, Merge, fresh_folder, sync_tree


class PolarsMerge(Merge):
    suffix = "arrow"

    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        folder = fresh_folder(root / "in")
        parquet.write(today, folder / "today.parquet")
        parquet.write(before, folder / "before.parquet")
        if self.suffix == "arrow":
            self.sink(pl.scan_parquet(folder / "before.parquet"), folder / "before.arrow")
            (folder / "before.parquet").unlink()

    def merge(self, root: Path) -> None:
        before = self.scan(root / "in" / f"before.{self.suffix}")
        today = pl.scan_parquet(root / "in" / "today.parquet").with_columns(fresh=True)
        old, new = (pl.lit(weight, dtype=pl.Float32) for weight in (OLD, NEW))
        carried, first = pl.col("fresh").is_null(), pl.col("seen").is_null()
        mixed = old * pl.col("vector") + new * pl.col("vector_right")
        after = (
            before.join(today, on="key", how="full", coalesce=True)
            .filter(~carried | (TODAY - pl.col("seen") <= EXPIRE_DAYS))
            .select(
                "key",
                vector=pl.when(carried)
                .then("vector")
                .when(first)
                .then("vector_right")
                .otherwise(mixed),
                seen=pl.when(carried).then("seen").otherwise(pl.lit(TODAY, dtype=pl.Int32)),
            )
        )
        self.sink(after, root / "out" / f"after.{self.suffix}")
        sync_tree(root / "out")

    def read_back(self, root: Path) -> Rows:
        return parquet.by_key(self.scan(root / "out" / f"after.{self.suffix}").collect().to_arrow())

    def scan(self, path: Path) -> pl.LazyFrame:
        return pl.scan_ipc(path) if self.suffix == "arrow" else pl.scan_parquet(path)

    def sink(self, frame: pl.LazyFrame, path: Path) -> None:
        if self.suffix == "arrow":
            frame.sink_ipc(
                path, compression="uncompressed", maintain_order=False, engine="streaming"
            )
        else:
            frame.sink_parquet(
                path,
                compression="uncompressed",
                statistics=False,
                maintain_order=False,
                engine="streaming",
            )


class PolarsParquetMerge(PolarsMerge):
    suffix = "parquet"
