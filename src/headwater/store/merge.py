"""The merge of a day, bucket by bucket: memory is bounded by a bucket, whatever the number of
entities.

Only what today's vectors changed is written (a delta); the index of keys, days and places is
written whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headwater.embeddings.aggregate import Meeting, find, meet, merge_sorted
from headwater.embeddings.policies import Policy
from headwater.embeddings.snapshot import INFERRED_STEPS, Basis, basis_of, day_number
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

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Merged:
        """What an edition's manifest says of one of its snapshots."""
        return cls(
            rows=entry["rows"],
            fresh=entry["fresh"],
            not_finite=entry["not_finite"],
            largest_norm=entry["largest_norm"],
            index=entry["index"],
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "fresh": self.fresh,
            "not_finite": self.not_finite,
            "largest_norm": self.largest_norm,
            "index": dict(self.index),
        }


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


@dataclass(frozen=True)
class Merge:
    """One snapshot's day: what meets, and how. `rotation_DD` turns today's vectors, where a new
    space stands in for an old one; `young`: the space is in its warm-up, so nothing is remembered.
    """

    before: Part | None
    today: Segment
    policy: Policy[Any]
    day: dt.date
    expire_days: int
    young: bool
    rotation_DD: np.ndarray | None = None


@dataclass(frozen=True)
class TodayRows:
    """A bucket of today's vectors: `basis` says what each rests on, `seen` on which day its entity
    was last seen.
    """

    keys: np.ndarray
    vectors: np.ndarray
    basis: np.ndarray
    seen: np.ndarray
    ids: pl.Series

    @classmethod
    def read(cls, today: Segment, low: int, high: int) -> TodayRows:
        first, last = rows_in_range(today.folder / "keys.npy", today.rows, low, high)
        keys = today.keys_between(first, last) if last > first else np.zeros(0, np.uint64)
        basis = basis_of(today.steps(first, last))
        seen = today.seen(first, last)
        return cls(keys, today.states(first, last), basis, seen, today.ids(first, last))

    @property
    def shown(self) -> np.ndarray:
        """Which rest on rows that show their entity."""
        return np.asarray(self.basis == Basis.SEEN)

    def take(self, wanted: np.ndarray) -> TodayRows:
        if wanted.all():
            return self
        ids = self.ids.filter(pl.Series(wanted))
        keys, vectors = self.keys[wanted], self.vectors[wanted]
        return TodayRows(keys, vectors, self.basis[wanted], self.seen[wanted], ids)

    def turned(self, rotation_DD: np.ndarray | None) -> TodayRows:
        return self if rotation_DD is None else replace(self, vectors=self.vectors @ rotation_DD)


def merge_part(merge: Merge, delta: Path, index: Path, bucket_rows: int) -> Merged:
    """Yesterday's part and today's daily vectors -> a delta segment at `delta` and an index at
    `index`.

    First sight: the daily vector. No vector today: carried forward unchanged. Not seen for more
    than `expire_days`: dropped. A vector that rests on nothing seen stands in only for who has no
    other, and is forgotten at first sight; one that was seen, but not since the last that is kept,
    adds nothing.
    """
    before, today = merge.before, merge.today
    number = day_number(merge.day)
    tally = Tally()
    width = merge.policy.depth * today.width
    with new_segment(delta, width, today.integers) as out, new_index(index) as entries:
        for low, high in key_ranges((before.rows if before else 0) + today.rows, bucket_rows):
            old = IndexRows.read(before, low, high)
            rows = TodayRows.read(today, low, high)
            rows = rows.take(_wanted(merge, old, rows)).turned(merge.rotation_DD)
            met = meet(old.keys, old.seen, rows.keys, number, merge.expire_days)
            states, steps = _stepped(merge, old, rows, met)
            tally.add(rows, number)
            places = (np.arange(len(rows.keys)) + out.rows).astype(np.uint32)
            out.append(rows.keys, states, steps, rows.seen, rows.ids)
            _append(entries, old, rows, met, places, len(before.segments) if before else 0)
    return tally.merged(entries)


def _stepped(
    merge: Merge, old: IndexRows, rows: TodayRows, met: Meeting
) -> tuple[np.ndarray, np.ndarray]:
    """Today's states and steps, a step of the policy from where each entity stood."""
    states, steps = merge.policy.unseen(rows.vectors), np.zeros(len(rows.keys), np.uint8)
    gaps, known = np.ones(len(rows.keys)), met.rows_T[met.known_T]
    if merge.before is not None and len(known) and not merge.young:
        places = old.row[known].astype(np.int64)
        kept, kept_steps = gather(
            merge.before.segments, old.segment[known], places, states.shape[1]
        )
        # Who is back to content has expired: nothing of then is kept.
        both = (basis_of(kept_steps) == Basis.SEEN) & rows.shown[met.known_T]
        mine = np.flatnonzero(met.known_T)[both]
        states[mine], steps[mine] = kept[both], kept_steps[both]
        gaps[mine] = rows.seen[mine] - old.seen[known[both]]
    states, steps = merge.policy.step(states, steps, rows.vectors, gaps)
    steps = np.where(rows.basis == Basis.CONTENT, 0, np.minimum(steps, INFERRED_STEPS - 1))
    steps = np.where(rows.basis == Basis.INFERRED, INFERRED_STEPS, steps)
    return states, steps.astype(np.uint8)


def _wanted(merge: Merge, old: IndexRows, rows: TodayRows) -> np.ndarray:
    """Which of today's rows count: those seen since the last that is kept of their entity, and of
    the others those whose entity has nothing seen, or nothing that has not expired.
    """
    number = day_number(merge.day)
    wanted = number - rows.seen <= merge.expire_days
    places, known = find(old.keys, rows.keys)
    asked = np.flatnonzero(known & wanted & ((rows.seen < number) | ~rows.shown))
    if merge.before is None or len(asked) == 0:
        return wanted
    there = places[asked]
    width = merge.before.segments[0].width
    _, steps = gather(
        merge.before.segments, old.segment[there], old.row[there].astype(np.int64), width
    )
    nothing = (basis_of(steps) != Basis.SEEN) | (number - old.seen[there] > merge.expire_days)
    newer = rows.shown[asked] & (rows.seen[asked] > old.seen[there])
    wanted[asked] = nothing | newer
    return wanted


class Tally:
    """What the gates want to know of every new vector, bucket after bucket."""

    def __init__(self) -> None:
        self.fresh = 0
        self.not_finite = 0
        self.largest = 0.0

    def add(self, rows: TodayRows, number: int) -> None:
        norms = np.sqrt(np.einsum("nd,nd->n", rows.vectors, rows.vectors))
        self.fresh += int((rows.shown & (rows.seen == number)).sum())
        self.not_finite += int((~np.isfinite(norms)).sum())
        self.largest = max(self.largest, float(norms.max(initial=0.0)))

    def merged(self, entries: IndexWriter) -> Merged:
        return Merged(entries.rows, self.fresh, self.not_finite, self.largest, entries.digests)


def _append(
    entries: IndexWriter,
    old: IndexRows,
    rows: TodayRows,
    met: Meeting,
    places_T: np.ndarray,
    home: int,
) -> None:
    """The bucket's new index: refreshed rows point to the delta (segment number `home`), carried
    ones to where they were, expired ones are left out.
    """
    seen, segment, row = old.seen.copy(), old.segment.copy(), old.row.copy()
    again, new, kept = met.rows_T[met.known_T], ~met.known_T, met.kept_B
    seen[again] = rows.seen[met.known_T]
    segment[again] = home
    row[again] = places_T[met.known_T]
    columns = [
        (seen[kept], rows.seen[new]),
        (segment[kept], np.full(int(new.sum()), home, np.uint8)),
        (row[kept], places_T[new]),
    ]
    keys, merged = merge_sorted(old.keys[kept], rows.keys[new], columns)
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
