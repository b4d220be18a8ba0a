"""What a day of an upstream gives: fresh vectors of its entities, and how its learning went.

Shape suffixes: N entities, D width of a vector.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from headwater.embeddings.snapshot import Basis, Snapshot, Space, day_number
from headwater.ids import keys_of


@dataclass(frozen=True)
class DailyVectors:
    """Fresh vectors of one entity: `keys_N` uint64 ascending and unique, `vectors_ND` float32,
    `ids` the originals.

    `basis_N` (Basis as uint8; None: all were SEEN) says what each rests on, and `seen_N` (days
    since 1970; None: today) when rows last showed its entity. Only what was SEEN renews an expiry
    or an average, and only as of the day it was seen on.
    """

    space: Space
    entity: str
    keys_N: np.ndarray
    vectors_ND: np.ndarray
    ids: pl.Series
    basis_N: np.ndarray | None = None
    seen_N: np.ndarray | None = None

    @classmethod
    def of_ids(
        cls,
        space: Space,
        entity: str,
        ids: Sequence[int | str] | pl.Series,
        vectors_ND: np.ndarray,
        basis: Basis = Basis.SEEN,
    ) -> DailyVectors:
        """A vector an id, in any order, all of them of one basis."""
        series = pl.Series("id", ids)
        keys = keys_of(series)
        order = np.argsort(keys)
        vectors = np.asarray(vectors_ND, np.float32)[order]
        marks = np.full(len(keys), basis, np.uint8)
        return cls(space, entity, keys[order], vectors, series.gather(order), marks)

    def snapshot(self, day: dt.date) -> Snapshot:
        """As the snapshot of a day. Raises SnapshotError."""
        seen = self.seen_N
        if seen is None:
            seen = np.full(len(self.keys_N), day_number(day), np.int32)
        return Snapshot(
            self.space, self.entity, day, self.keys_N, self.vectors_ND, seen, self.ids, self.basis_N
        )


@dataclass(frozen=True)
class Training:
    """A day of an upstream's learning. `curve` has a point for each stretch of steps: the last of
    them, and their mean loss; `total_steps` counts from the day its space began.
    """

    loss: float | None = None
    steps: int = 0
    total_steps: int = 0
    curve: tuple[tuple[int, float], ...] = ()
    temperature: float | None = None

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "loss": self.loss,
            "steps": self.steps,
            "total_steps": self.total_steps,
            "curve": [list(point) for point in self.curve],
        }
        return found if self.temperature is None else found | {"temperature": self.temperature}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Training:
        curve = tuple((int(step), float(loss)) for step, loss in raw["curve"])
        temperature = raw.get("temperature")
        return cls(raw["loss"], raw["steps"], raw["total_steps"], curve, temperature)
