"""The rows of a Feast repository: what each edition changed of what is served.

Shapes: M entities of a bucket, D width of a vector, K length of a sequence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from headwater.config import FactoryConfig
from headwater.embeddings import NEVER_SEEN, Served
from headwater.embeddings.aggregate import find
from headwater.embeddings.snapshot import EPOCH, day_number
from headwater.events.times import day_bounds_us
from headwater.exports.choices import entity_of
from headwater.store import Edition
from headwater.store.arrays import key_ranges, rows_between
from headwater.store.editions import Part

MOMENT = pa.timestamp("us", tz="UTC")
EVER = 0  # microseconds since 1970


@dataclass(frozen=True)
class Change:
    """What is served of some entities from a moment on; without `served`, nothing.

    `seen_M`: the day on which each was last seen, in days since 1970.
    """

    ids: list[int | str]
    begins_us: int
    seen_M: np.ndarray | None = None
    served: Served | None = None

    def table(self, schema: pa.Schema, zone: ZoneInfo) -> pa.Table:
        """The rows in Arrow: id, moment, vector, and when the entity was last seen."""
        n = len(self.ids)
        id_type = schema.field(0).type
        values = self.ids if id_type == pa.int64() else [str(value) for value in self.ids]
        ids = pa.array(values, id_type)
        begins = pa.array(np.full(n, self.begins_us)).cast(MOMENT)
        if self.served is None or self.seen_M is None:
            nothing = pa.nulls(n, schema.field(2).type)
            return pa.table([ids, begins, nothing, pa.nulls(n, MOMENT)], schema=schema)
        days, which_M = np.unique(self.seen_M, return_inverse=True)
        midnights = np.array(
            [day_bounds_us(EPOCH + dt.timedelta(days=int(day)), zone)[0] for day in days]
        )
        never_M = self.served.age_days_N == NEVER_SEEN
        last_seen = pa.array(midnights[which_M], mask=never_M).cast(MOMENT)
        return pa.table([ids, begins, _lists(self.served), last_seen], schema=schema)


def changes(
    name: str,
    before: Edition | None,
    edition: Edition,
    config: FactoryConfig,
    erased: Callable[[str, np.ndarray], np.ndarray],
) -> Iterator[Change]:
    """What an edition changed of what is served of an embedding, bucket by bucket.

    These are its fresh vectors (of the first edition all), who is new, and who is gone.
    `erased(entity, keys)` tells whom an erasure took out.
    """
    first_day = edition.day + dt.timedelta(days=config.lifecycle.lag_days)
    begins = day_bounds_us(first_day, config.zone)[0]
    old_part, part = (
        None if found is None or name not in found.snapshots else found.part(name)
        for found in (before, edition)
    )
    most = max(found.rows for found in (old_part, part) if found is not None)
    for low, high in key_ranges(most, config.store.bucket_rows):
        old = _Bucket.of(old_part, low, high)
        now = _Bucket.of(part, low, high)
        kept = ~erased(entity_of(name), now.keys)
        known = find(old.keys, now.keys)[1]
        fresh = np.flatnonzero(kept & (~known | (now.seen == day_number(edition.day))))
        new = np.flatnonzero(kept & ~known)
        left = ~find(now.keys, old.keys)[1]
        gone = np.flatnonzero(left & ~erased(entity_of(name), old.keys))
        if len(fresh):
            served = edition.lookup(name, now.keys[fresh], edition.day)
            yield Change(now.ids(fresh), begins, now.seen[fresh], served)
        if len(new):
            yield Change(now.ids(new), EVER)
        if len(gone):
            yield Change(old.ids(gone), begins)


@dataclass(frozen=True)
class _Bucket:
    """The rows of a part whose keys lie in a range; `first` is the first of them."""

    part: Part | None
    first: int
    keys: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, part: Part | None, low: int, high: int) -> _Bucket:
        if part is None:
            return cls(None, 0, np.zeros(0, np.uint64), np.zeros(0, np.int32))
        first, last = rows_between(part.keys, low, high)
        keys = np.array(part.keys[first:last])
        return cls(part, first, keys, np.array(part.column("seen")[first:last]))

    def ids(self, rows_M: np.ndarray) -> list[int | str]:
        assert self.part is not None
        return self.part.ids(self.first + rows_M)


def _lists(served: Served) -> pa.Array:
    """A vector [D] per entity; of a sequence [K, D] those that are filled, end to end, newest
    first.
    """
    if served.sequence_NKD is None or served.steps_N is None:
        lengths_M = np.full(len(served.vectors_ND), served.space.width)
        numbers = served.vectors_ND
    else:
        lengths_M = served.steps_N * served.space.width
        filled_MK = np.arange(served.sequence_NKD.shape[1]) < served.steps_N[:, None]
        numbers = served.sequence_NKD[filled_MK]
    offsets = np.concatenate([[0], np.cumsum(lengths_M)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers.reshape(-1)))
