"""The store's own View: one edition on disk, read bucket by bucket."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headwater.embeddings import Served
from headwater.embeddings.snapshot import day_number
from headwater.errors import LeakError
from headwater.store.buckets import bucket_of, read_part

if TYPE_CHECKING:
    from headwater.store.editions import Edition


@dataclass(frozen=True)
class EditionView:
    """What was served at the end of `day`: one edition or, before the first, nothing."""

    day: dt.date
    edition: Edition | None

    def __post_init__(self) -> None:
        if self.edition is not None and self.edition.day > self.day:
            raise LeakError(f"a view as of {self.day} was given the edition of {self.edition.day}.")

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        """The vectors `name` (such as `ctr_user`) served to rows of the day `rows_of`; None before the first edition.

        Raises LeakError where the rows are not later than the view.
        """
        if rows_of <= self.day:
            raise LeakError(f"rows of {rows_of} may not read what was published on {self.day}: it has seen them. A row of a day "
                            "reads editions of earlier days only.")  # fmt: skip
        if self.edition is None:
            return None
        space = self.edition.space(name)
        vectors = np.zeros((len(keys_N), space.width), np.float32)
        found = np.zeros(len(keys_N), bool)
        ages = np.zeros(len(keys_N), np.float32)
        homes = bucket_of(keys_N, self.edition.buckets)
        for bucket in np.unique(homes):
            keys, values, seen = self._bucket(name, int(bucket))
            if len(keys) == 0:
                continue
            mine = np.flatnonzero(homes == bucket)
            rows = np.minimum(np.searchsorted(keys, keys_N[mine]), len(keys) - 1)
            hit = keys[rows] == keys_N[mine]
            vectors[mine[hit]] = values[rows[hit]]
            ages[mine[hit]] = day_number(rows_of) - seen[rows[hit]]
            found[mine[hit]] = True
        return Served(space, vectors, found, ages)

    def __reduce__(self) -> tuple[type[EditionView], tuple[dt.date, Edition | None]]:
        return EditionView, (self.day, self.edition)  # open files stay behind when a view goes to another process

    @cached_property
    def _open(self) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        return {}

    def _bucket(self, name: str, bucket: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert self.edition is not None
        if (name, bucket) not in self._open:
            folder = self.edition.folder / name
            self._open[name, bucket] = (
                read_part(folder, bucket, "keys"), read_part(folder, bucket, "vectors"), read_part(folder, bucket, "seen")
            )  # fmt: skip
        return self._open[name, bucket]
