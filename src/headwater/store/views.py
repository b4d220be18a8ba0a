"""The store's own View, and the point-in-time join of many days' rows."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.embeddings import Served
from headwater.errors import LeakError, SpaceMismatch
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
        """The vectors `name` (such as `ctr_user`) served to rows of the day `rows_of`; None before
        the first edition.

        Raises LeakError where the rows are not later than the view.
        """
        if rows_of <= self.day:
            raise LeakError(
                f"rows of {rows_of} may not read what was published on {self.day}: it has seen"
                " them. A row of a day reads editions of earlier days only."
            )
        return None if self.edition is None else self.edition.lookup(name, keys_N, rows_of)


def point_in_time(
    view_of: Callable[[dt.date], EditionView],
    name: str,
    width: int,
    keys_N: np.ndarray,
    days_N: np.ndarray,
) -> Served:
    """The vectors that were served to rows of many days (`days_N`: ordinals). Raises LeakError and,
    where the space changed in between, SpaceMismatch.
    """
    vectors, found, ages = (
        np.zeros((len(keys_N), width), np.float32),
        np.zeros(len(keys_N), bool),
        np.zeros(len(keys_N), np.float32),
    )
    spaces = {}
    order = np.lexsort(
        (keys_N, days_N)
    )  # by key within a day: neighbours in an edition are read one after the other
    edges = (
        np.flatnonzero(np.diff(days_N[order], prepend=-1, append=-1))
        if len(order)
        else np.zeros(0, np.int64)
    )
    for low, high in itertools.pairwise(edges):
        mine = order[low:high]
        day = dt.date.fromordinal(int(days_N[mine[0]]))
        served = view_of(day).read(name, keys_N[mine], day)
        if served is not None:
            spaces[served.space] = day
            vectors[mine], found[mine], ages[mine] = (
                served.vectors_ND,
                served.found_N,
                served.age_days_N,
            )
    if len(spaces) > 1:
        listed = ", ".join(f"{space} (such as {day})" for space, day in spaces.items())
        raise SpaceMismatch(
            f"{name}: the rows would read {len(spaces)} spaces: {listed}. Take the rows of one"
            " space only, or align them."
        )
    if not spaces:
        raise LeakError(f"{name}: no edition was published before any of these rows.")
    return Served(next(iter(spaces)), vectors, found, ages)
