"""Space and Snapshot, valid from birth. Shape suffixes: N entities, D width of a vector."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from headwater.digests import digest_of
from headwater.errors import SnapshotError, SpaceMismatch

EPOCH = dt.date(1970, 1, 1)
INFERRED_STEPS = 255  # marks a kept vector that was inferred; no policy counts that far


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


class Basis(IntEnum):
    """What a vector rests on: rows that show its entity, its content alone, or others' rows.

    Only what was SEEN renews an expiry or an average; the others stand in for who has no vector of
    that kind, and are forgotten at first sight.
    """

    CONTENT = 0
    SEEN = 1
    INFERRED = 2


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
    originals, for people. `basis_N` uint8 says what each vector rests on (None: all were SEEN); the
    `seen_N` of one that was not is the day on which it was made. Arrays are made read-only. Raises
    SnapshotError.
    """

    space: Space
    entity: str
    day: dt.date
    keys_N: np.ndarray
    vectors_ND: np.ndarray
    seen_N: np.ndarray
    ids: pl.Series
    basis_N: np.ndarray | None = None

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
        basis = self.basis_N
        if basis is not None and (basis.dtype != np.uint8 or basis.shape != (n,)):
            raise SnapshotError(
                f"{where}: basis_N should be uint8 ({n},). Received: {basis.dtype} {basis.shape}."
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
        marks = [] if self.basis_N is None else [self.basis_N]
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


def steps_of(snapshot: Snapshot) -> np.ndarray:
    """How a snapshot's vectors are marked where they are kept, uint8 [N]: the number of daily
    vectors that made each, 0 for one of content alone, INFERRED_STEPS for an inferred one.
    """
    if snapshot.basis_N is None:
        return np.ones(len(snapshot), np.uint8)
    steps = snapshot.basis_N.copy()
    steps[snapshot.basis_N == Basis.INFERRED] = INFERRED_STEPS
    return steps


def basis_of(steps_N: np.ndarray) -> np.ndarray:
    """What kept vectors rest on, Basis as uint8 [N]."""
    basis = np.minimum(steps_N, np.uint8(Basis.SEEN))
    basis[steps_N == INFERRED_STEPS] = Basis.INFERRED
    return basis


def counted(steps_N: np.ndarray) -> np.ndarray:
    """How many daily vectors stand in each state, at least one."""
    return np.where(steps_N == INFERRED_STEPS, 1, np.maximum(steps_N, 1))


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
