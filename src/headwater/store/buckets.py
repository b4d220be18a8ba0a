"""A snapshot on disk: split by the top bits of the key, so that the buckets in order are the whole in order.

    ctr_user/0000.keys.npy  0000.vectors.npy  0000.seen.npy  0000.ids.arrow  0001.keys.npy ...

A bucket is read, merged and written by itself; arrays are memory-mapped.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from headwater.embeddings import Snapshot, Space
from headwater.errors import StoreError


def bucket_of(keys_N: np.ndarray, buckets: int) -> np.ndarray:
    """Bucket of each key: its top log2(buckets) bits."""
    shift = 64 - (buckets.bit_length() - 1)
    return np.zeros(len(keys_N), np.int64) if shift == 64 else (keys_N >> np.uint64(shift)).astype(np.int64)


def write_snapshot(folder: Path, snapshot: Snapshot, buckets: int) -> None:
    folder.mkdir(parents=True)
    edges = np.searchsorted(bucket_of(snapshot.keys_N, buckets), np.arange(buckets + 1))
    for bucket in range(buckets):
        rows = slice(int(edges[bucket]), int(edges[bucket + 1]))
        stem = f"{bucket:04d}"
        np.save(folder / f"{stem}.keys.npy", snapshot.keys_N[rows], allow_pickle=False)
        np.save(folder / f"{stem}.vectors.npy", snapshot.vectors_ND[rows], allow_pickle=False)
        np.save(folder / f"{stem}.seen.npy", snapshot.seen_N[rows], allow_pickle=False)
        snapshot.ids[rows].rename("id").to_frame().write_ipc(folder / f"{stem}.ids.arrow")


def read_part(folder: Path, bucket: int, part: str) -> np.ndarray:
    """One array of one bucket, memory-mapped. Raises StoreError."""
    file = folder / f"{bucket:04d}.{part}.npy"
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{file}: cannot be read ({error}). The edition is damaged; run that day again with --replace.") from error


def read_snapshot(folder: Path, space: Space, entity: str, day: dt.date, buckets: int) -> Snapshot:
    parts = {part: np.concatenate([read_part(folder, bucket, part) for bucket in range(buckets)])
             for part in ("keys", "vectors", "seen")}  # fmt: skip
    try:
        ids = pl.concat([pl.read_ipc(folder / f"{bucket:04d}.ids.arrow")["id"] for bucket in range(buckets)])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{folder}: its ids cannot be read ({error}). The edition is damaged; run that day again with --replace.") from error
    return Snapshot(space, entity, day, parts["keys"], parts["vectors"], parts["seen"], ids)
