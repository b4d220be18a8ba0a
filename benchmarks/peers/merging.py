"""The daily merge of an embedding table as other libraries do it: the contract, its floor in bytes,
and the check against NumPy.

    python -m benchmarks.peers.merging [--rows 20000] [--fresh 6000] [PEER ...]

The merges installed here, against NumPy

Yesterday's published table and today's fresh rows become the table of the new day, durable on disk.
Of a known key 0.8 old + 0.2 new; at first sight the new vector; the others are carried unchanged; a
key unseen for more than 90 days is dropped, unless it is seen today. Yesterday's table stays
readable.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from benchmarks.peers.data import EXPIRE_DAYS, TODAY, NpyWriter, Rows, load, make

OLD, NEW = np.float32(0.8), np.float32(0.2)
CHUNK_BYTES = 16 << 20


class Merge(ABC):
    """One library's way. Each step may run in a process of its own; only `merge` is timed."""

    def __init__(self, memory_limit: str = "") -> None:
        """`memory_limit` ("4GB") is kept by those libraries that have such a setting, and without
        effect on the others.
        """
        self.memory_limit = memory_limit

    @abstractmethod
    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        """Write yesterday's table as the library keeps it, and today's rows as it would find them.
        Part by part: they may exceed memory.
        """

    def rewind(self, root: Path) -> None:
        """Back to before the merge, so that it can be measured again."""
        fresh_folder(root / "out")

    @abstractmethod
    def merge(self, root: Path) -> None:
        """Read from ROOT/in, average, write the new day's table to ROOT/out (there, and empty) and
        `sync_tree` it.
        """

    @abstractmethod
    def read_back(self, root: Path) -> Rows:
        """The new day's table, keys ascending."""


def peer(name: str, memory_limit: str = "") -> Merge:
    """Imports that library alone: the others would count as memory of this one."""
    module, kind = PEERS[name].split(":")
    return getattr(importlib.import_module(module), kind)(memory_limit)


PEERS = {
    "headwater": "benchmarks.peers.merge_headwater:Headwater",
    "headwater_compacting": "benchmarks.peers.merge_headwater:HeadwaterCompacting",
    "duckdb": "benchmarks.peers.merge_duckdb:DuckDBMerge",
    "polars": "benchmarks.peers.merge_polars:PolarsMerge",
    "polars_parquet": "benchmarks.peers.merge_polars:PolarsParquetMerge",
    "delta": "benchmarks.peers.merge_delta:DeltaMerge",
    "bytes_only": "benchmarks.peers.merging:BytesOnly",
    "bytes_delta": "benchmarks.peers.merging:BytesDelta",
}


def sync_tree(path: Path) -> None:
    """Every file and folder under `path`, and the folder it is in, to the disk. All pay for
    durability alike.
    """
    for folder, _, names in os.walk(path):
        for entry in [*(os.path.join(folder, name) for name in names), folder]:
            sync(entry)
    if path.is_file():
        sync(path)
    sync(path.parent)


def sync(entry: str | Path) -> None:
    descriptor = os.open(entry, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fresh_folder(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


class BytesOnly(Merge):
    """No merge: reads what one has to read and writes as many bytes as the new day's table has. No
    merge of plain files is quicker.
    """

    whole = True

    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        folder = fresh_folder(root / "in")
        for day, rows in (("before", before), ("today", today)):
            for name, column_N in (
                ("keys", rows.keys_N),
                ("seen", rows.seen_N),
                ("vectors", rows.vectors_ND),
            ):
                if column_N is not None:
                    with NpyWriter(
                        folder / f"{day}.{name}.npy", column_N.shape, column_N.dtype.str
                    ) as file:
                        for start in range(0, len(column_N), 1 << 18):
                            file.write(column_N[start : start + (1 << 18)])
        after = len(survivors(before, today)) + len(today)
        (root / "shape.json").write_text(
            json.dumps({"after": after, "fresh": len(today), "width": before.width})
        )

    def merge(self, root: Path) -> None:
        shape = json.loads((root / "shape.json").read_text())
        rows, folder = shape["after"], root / "out"
        vectors = rows if self.whole else shape["fresh"]
        left = {"keys": rows * 8, "seen": rows * 4, "vectors": vectors * shape["width"] * 4}
        shapes = {"keys": (rows,), "seen": (rows,), "vectors": (vectors, shape["width"])}
        files = {
            name: NpyWriter(folder / f"{name}.npy", shapes[name], dtype)
            for name, dtype in (("keys", "<u8"), ("seen", "<i4"), ("vectors", "<f4"))
        }
        chunk = bytearray(CHUNK_BYTES)
        for source in sorted((root / "in").iterdir()):
            name = source.name.split(".")[1]
            with source.open("rb", buffering=0) as file:
                while count := file.readinto(chunk):
                    written = min(count, left[name])
                    files[name].file.write(memoryview(chunk)[:written])
                    left[name] -= written
        for name, file in files.items():
            file.file.write(bytes(left[name]))
            file.file.close()
        sync_tree(folder)

    def read_back(self, root: Path) -> Rows:
        raise NotImplementedError("copied bytes are no table")


class BytesDelta(BytesOnly):
    """The same reads, but only as many vectors written as are fresh: the floor of a table that
    keeps unchanged vectors where they are.
    """

    whole = False


def survivors(before: Rows, today: Rows) -> np.ndarray:
    """Positions in yesterday's table of the rows that are only carried."""
    carried = TODAY - before.seen_N <= EXPIRE_DAYS
    carried[np.isin(before.keys_N, today.keys_N)] = False
    return np.flatnonzero(carried)


def reference(before: Rows, today: Rows) -> Rows:
    """Slow and plain, for small sizes."""
    known = {key: row for row, key in enumerate(before.keys_N.tolist())}
    vectors = [
        vector if key not in known else OLD * before.vectors_ND[known[key]] + NEW * vector
        for key, vector in zip(today.keys_N.tolist(), today.vectors_ND, strict=True)
    ]
    carried = survivors(before, today)
    keys = np.concatenate([today.keys_N, before.keys_N[carried]])
    seen = np.concatenate([np.full(len(today), TODAY, np.int32), before.seen_N[carried]])
    order = np.argsort(keys)
    return Rows(
        keys[order],
        np.concatenate([np.stack(vectors), before.vectors_ND[carried]])[order],
        seen[order],
    )


def check(found: Rows, expected: Rows) -> None:
    """Keys and days equal, carried vectors bit for bit, averaged ones within float32 rounding (a *
    b + c has more than one order).
    """
    np.testing.assert_array_equal(found.keys_N, expected.keys_N)
    np.testing.assert_array_equal(found.seen_N, expected.seen_N)
    assert found.vectors_ND.dtype == np.float32
    carried = expected.seen_N < TODAY
    np.testing.assert_array_equal(found.vectors_ND[carried], expected.vectors_ND[carried])
    np.testing.assert_allclose(found.vectors_ND, expected.vectors_ND, rtol=0, atol=1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="*")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--fresh", type=int, default=6_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, options.rows, options.fresh)
        before, today = load(root)
        expected = reference(before, today)
        for name in options.peers or [name for name in PEERS if not name.startswith("bytes")]:
            try:
                merge = peer(name)
            except ModuleNotFoundError as error:
                if options.peers:
                    raise
                print(f"{name}: left out, {error}")
                continue
            merge.prepare(root / name, before, today)
            merge.rewind(root / name)
            merge.merge(root / name)
            check(merge.read_back(root / name), expected)
            print(f"{name}: {len(expected):,} rows as expected")


if __name__ == "__main__":
    main()
