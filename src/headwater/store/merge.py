"""The merge of a day, bucket by bucket: memory is bounded by a bucket, whatever the number of
entities.

Only what today's vectors changed is written (a delta); the index of keys, days and places is
written whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headwater.embeddings.aggregate import find, meet, merge_sorted
from headwater.embeddings.policies import Policy
from headwater.embeddings.snapshot import day_number
from headwater.store.arrays import NpyWriter, key_ranges, read_range, rows_in_range
from headwater.store.editions import INDEX, Part, gather
from headwater.store.segments import Segment, SegmentWriter, new_segment


@dataclass(frozen=True)
class Merged:
    """What a merge wrote: rows in the index, how many were seen today, and what the gates want to
    know of every new vector.
    """

    rows: int
    fresh: int
    not_finite: int
    largest_norm: float
    index: Mapping[str, str]


class IndexWriter:
    """The four columns of a part's index, bucket after bucket."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._files = {
            name: NpyWriter(folder / f"{name}.npy", dtype) for name, dtype in INDEX.items()
        }
        self.digests: dict[str, str] = {}

    @property
    def rows(self) -> int:
        return self._files["keys"].rows

    def append(
        self, keys_N: np.ndarray, seen_N: np.ndarray, segment_N: np.ndarray, row_N: np.ndarray
    ) -> None:
        for file, values in zip(
            self._files.values(), (keys_N, seen_N, segment_N, row_N), strict=True
        ):
            file.append(values)

    def close(self) -> None:
        self.digests = {f"{name}.npy": file.close() for name, file in self._files.items()}

    def abandon(self) -> None:
        for file in self._files.values():
            file.abandon()


@contextmanager
def new_index(folder: Path) -> Iterator[IndexWriter]:
    writer = IndexWriter(folder)
    try:
        yield writer
        writer.close()
    finally:
        writer.abandon()


@dataclass(frozen=True)
class IndexRows:
    """A bucket of an index."""

    keys: np.ndarray
    seen: np.ndarray
    segment: np.ndarray
    row: np.ndarray

    @classmethod
    def read(cls, part: Part | None, low: int, high: int) -> IndexRows:
        if part is None:
            return cls(*(np.zeros(0, dtype) for dtype in INDEX.values()))
        first, last = rows_in_range(part.folder / "keys.npy", part.rows, low, high)
        return cls(
            *(
                read_range(part.folder / f"{name}.npy", dtype, first, last)
                for name, dtype in INDEX.items()
            )
        )


def merge_part(
    before: Part | None,
    today: Segment,
    policy: Policy[Any],
    day: dt.date,
    expire_days: int,
    young: bool,
    rotation_DD: np.ndarray | None,
    delta: Path,
    index: Path,
    bucket_rows: int,
) -> Merged:
    """Yesterday's part and today's daily vectors -> a delta segment at `delta` and an index at
    `index`.

    First sight: the daily vector (turned by `rotation_DD`, where a new space stands in for an old
    one). Not seen today: carried forward unchanged. Not seen for more than `expire_days`: dropped.
    A vector of content alone (0 steps) stands in only for who has no other, and is forgotten at
    first sight.
    """
    number, home = day_number(day), len(before.segments) if before else 0
    total, fresh, not_finite, largest = (before.rows if before else 0) + today.rows, 0, 0, 0.0
    with (
        new_segment(delta, policy.depth * today.width, today.integers) as out,
        new_index(index) as entries,
    ):
        for low, high in key_ranges(total, bucket_rows):
            old = IndexRows.read(before, low, high)
            first, last = rows_in_range(today.folder / "keys.npy", today.rows, low, high)
            keys, vectors = (
                today.keys_between(first, last) if last > first else np.zeros(0, np.uint64),
                today.states(first, last),
            )
            content, ids = today.steps(first, last) == 0, today.ids(first, last)
            if content.any():
                wanted = _without_better(before, old, keys, content, number, expire_days)
                keys, vectors, content, ids = (
                    keys[wanted],
                    vectors[wanted],
                    content[wanted],
                    ids.filter(pl.Series(wanted)),
                )
            if rotation_DD is not None:
                vectors = vectors @ rotation_DD
            met = meet(old.keys, old.seen, keys, number, expire_days)
            states, steps = policy.unseen(vectors), np.zeros(len(keys), np.uint8)
            gaps, rows = np.ones(len(keys)), met.rows_T[met.known_T]
            if before is not None and len(rows) and not young:
                kept, kept_steps = gather(
                    before.segments,
                    old.segment[rows],
                    old.row[rows].astype(np.int64),
                    states.shape[1],
                )
                seen = (kept_steps > 0) & ~content[
                    met.known_T
                ]  # who is back to content has expired: nothing of then is kept
                known = np.flatnonzero(met.known_T)[seen]
                states[known], steps[known], gaps[known] = (
                    kept[seen],
                    kept_steps[seen],
                    number - old.seen[rows[seen]],
                )
            states, steps = policy.step(states, steps, vectors, gaps)
            steps = np.where(content, 0, steps).astype(np.uint8)
            norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
            fresh += int((~content).sum())
            not_finite += int((~np.isfinite(norms)).sum())
            largest = max(largest, float(norms.max(initial=0.0)))
            places = (np.arange(len(keys)) + out.rows).astype(np.uint32)
            out.append(keys, states, steps, np.full(len(keys), number, np.int32), ids)
            _append(entries, old, met.kept_B, keys, rows, met.known_T, number, home, places)
    return Merged(entries.rows, fresh, not_finite, largest, entries.digests)


def _without_better(
    before: Part | None,
    old: IndexRows,
    keys_T: np.ndarray,
    content_T: np.ndarray,
    day: int,
    expire_days: int,
) -> np.ndarray:
    """Which of today's rows are wanted: all but vectors of content of those who were seen before,
    and have not expired.
    """
    wanted = np.ones(len(keys_T), bool)
    rows, known = find(old.keys, keys_T)
    asked = np.flatnonzero(content_T & known)
    if before is not None and len(asked):
        there = rows[asked]
        _, steps = gather(
            before.segments,
            old.segment[there],
            old.row[there].astype(np.int64),
            before.segments[0].width,
        )
        wanted[asked] = (steps == 0) | (day - old.seen[there] > expire_days)
    return wanted


def _append(
    entries: IndexWriter,
    old: IndexRows,
    kept_B: np.ndarray,
    keys_T: np.ndarray,
    rows_K: np.ndarray,
    known_T: np.ndarray,
    day: int,
    home: int,
    places_T: np.ndarray,
) -> None:
    """The bucket's new index: refreshed rows point to the delta, carried ones to where they were,
    expired ones are left out.
    """
    seen, segment, row = old.seen.copy(), old.segment.copy(), old.row.copy()
    seen[rows_K], segment[rows_K], row[rows_K] = day, home, places_T[known_T]
    new = ~known_T
    count = int(new.sum())
    columns = [
        (seen[kept_B], np.full(count, day, np.int32)),
        (segment[kept_B], np.full(count, home, np.uint8)),
        (row[kept_B], places_T[new]),
    ]
    keys, merged = merge_sorted(old.keys[kept_B], keys_T[new], columns)
    entries.append(keys, *merged)


def compact_part(
    part: Part, segment: Path, index: Path, bucket_rows: int, rotation_DD: np.ndarray | None = None
) -> dict[str, str]:
    """All rows of a part into one segment (their vectors turned, if asked), and an index over it;
    returns the index' digests.
    """
    integers = all(old.integers for old in part.segments)
    with new_segment(segment, part.segments[0].width, integers) as out, new_index(index) as entries:
        for low, high in key_ranges(part.rows, bucket_rows):
            old = IndexRows.read(part, low, high)
            if len(old.keys):
                _copy_rows(part, old, out, entries, rotation_DD)
    return entries.digests


def _copy_rows(
    part: Part,
    old: IndexRows,
    out: SegmentWriter,
    entries: IndexWriter,
    rotation_DD: np.ndarray | None,
) -> None:
    places = old.row.astype(np.int64)
    states, steps = gather(part.segments, old.segment, places, out.width)
    if rotation_DD is not None:
        states = (states.reshape(len(states), -1, len(rotation_DD)) @ rotation_DD).reshape(
            len(states), -1
        )
    pieces, order = [], []
    for home in np.unique(old.segment):
        mine = np.flatnonzero(old.segment == home)
        first, last = int(places[mine].min()), int(places[mine].max()) + 1
        pieces.append(
            part.segments[home]
            .ids(first, last)
            .gather(places[mine] - first)
            .cast(pl.Int64 if out.integers else pl.String)
        )
        order.append(mine)
    kept = pl.concat(pieces).gather(np.argsort(np.concatenate(order)))
    entries.append(
        old.keys,
        old.seen,
        np.zeros(len(places), np.uint8),
        (np.arange(len(places)) + out.rows).astype(np.uint32),
    )
    out.append(old.keys, states, steps, old.seen, kept)
