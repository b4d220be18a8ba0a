"""Space and Snapshot, valid from birth. Shape suffixes: N entities, D width of a vector."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from headwater.digests import digest_of
from headwater.errors import SnapshotError, SpaceMismatch

EPOCH = dt.date(1970, 1, 1)


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class Space:
    """The lineage of vectors that may be compared: one training run of one upstream, begun on the
    day `opened` and warm-started from day to day.
    """

    upstream: str
    lineage: str
    width: int
    opened: dt.date

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Space:
        return cls(
            raw["upstream"], raw["lineage"], raw["width"], dt.date.fromisoformat(raw["opened"])
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "upstream": self.upstream,
            "lineage": self.lineage,
            "width": self.width,
            "opened": str(self.opened),
        }

    def __str__(self) -> str:
        return f"{self.upstream}@{self.lineage[:12]}/{self.width}"


@dataclass(frozen=True)
class Snapshot:
    """An entity's vectors of one space as of one day: `keys_N` uint64 ascending and unique,
    `vectors_ND` float32 finite.

    `seen_N` int32 is the day (since 1970) on which each entity was last seen; `ids` are the
    originals, for people. `content_N` marks those that no log has shown yet: their vectors are of
    their content alone, and their `seen_N` is the day on which these were made. Arrays are made
    read-only. Raises SnapshotError.
    """

    space: Space
    entity: str
    day: dt.date
    keys_N: np.ndarray
    vectors_ND: np.ndarray
    seen_N: np.ndarray
    ids: pl.Series
    content_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.keys_N)
        where = f"snapshot {self.name} {self.day}"
        expected = {
            "keys_N": (np.uint64, (n,)),
            "vectors_ND": (np.float32, (n, self.space.width)),
            "seen_N": (np.int32, (n,)),
        }
        for field, (dtype, shape) in expected.items():
            array = getattr(self, field)
            if array.dtype != dtype or array.shape != shape:
                raise SnapshotError(
                    f"{where}: {field} should be {np.dtype(dtype)} {shape}. Received: {array.dtype}"
                    f" {array.shape}."
                )
            array.flags.writeable = False
        if self.content_N is not None and (
            self.content_N.dtype != bool or self.content_N.shape != (n,)
        ):
            raise SnapshotError(
                f"{where}: content_N should be bool ({n},). Received: {self.content_N.dtype}"
                f" {self.content_N.shape}."
            )
        if len(self.ids) != n:
            raise SnapshotError(f"{where}: {n} keys and {len(self.ids)} ids.")
        if n and not (self.keys_N[1:] > self.keys_N[:-1]).all():
            raise SnapshotError(f"{where}: keys should be ascending and unique.")
        bad = ~np.isfinite(self.vectors_ND).all(axis=1)
        if bad.any():
            raise SnapshotError(
                f"{where}: {bad.sum():,} of {n:,} vectors are not finite (such as id"
                f" {self.ids[int(bad.argmax())]!r})."
            )
        if n and int(self.seen_N.max()) > day_number(self.day):
            raise SnapshotError(f"{where}: an entity was last seen on a later day.")

    @property
    def name(self) -> str:
        """As consumers call it: `ctr_user`."""
        return f"{self.space.upstream}_{self.entity}"

    def __len__(self) -> int:
        return len(self.keys_N)

    @cached_property
    def digest(self) -> str:
        """Of all but the day: equal vectors of equal entities have equal digests."""
        ids = self.ids.cast(pl.String)
        marks = [] if self.content_N is None else [self.content_N]
        return digest_of(
            str(self.space),
            self.entity,
            self.keys_N,
            self.vectors_ND,
            self.seen_N,
            "\x1f".join(ids).encode(),
            *marks,
        )

    def find(self, keys_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each key (any row where absent), and whether it is there."""
        if len(self) == 0:
            return np.zeros(len(keys_M), np.int64), np.zeros(len(keys_M), bool)
        rows = np.minimum(np.searchsorted(self.keys_N, keys_M), len(self) - 1)
        return rows, self.keys_N[rows] == keys_M


def one_space(*spaces: Space) -> Space:
    """The one space that these all are. Raises SpaceMismatch."""
    distinct = set(spaces)
    if len(distinct) != 1:
        raise SpaceMismatch(
            f"Vectors of {len(distinct)} spaces may not meet:"
            f" {', '.join(sorted(map(str, distinct)))}. Each retraining from scratch opens a space"
            " of its own; compare within one, or `headwater align` them first."
        )
    return distinct.pop()


def same_space(*snapshots: Snapshot) -> Space:
    """The one space they all live in. Raises SpaceMismatch."""
    return one_space(*(snapshot.space for snapshot in snapshots))
