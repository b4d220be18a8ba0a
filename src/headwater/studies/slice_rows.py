"""Which judged rows a slice holds: by the past of their users and items in the log, and by context.
Shape suffix: N rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from headwater.config import Categorical
from headwater.errors import ExperimentError, LogError
from headwater.evaluation import Judged
from headwater.events.cleaning import TIME
from headwater.events.log import EventDay, EventLog
from headwater.workspace import Workspace

NEW_ITEM_DAYS = 2
MOST_VALUES = 20  # a context feature with more is no slicing
MISSING = "missing"
IDENTITY = ("user", "item", "time")


def slices_of(
    workspace: Workspace, consumer: str, judged: Judged
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(what is sliced by, value, which of the rows: bool [N])."""
    config = workspace.config
    log = config.tasks[config.downstream[consumer].task].log
    features = [
        name for name, kind in config.logs[log].features.items() if isinstance(kind, Categorical)
    ]
    found = _circumstances(workspace.events().logs[log], judged, features)
    yield from _by_user(found.rows_before_N)
    yield from _by_item(judged.days_N, found.first_seen_N)
    for name, values_N in found.context.items():
        values, counts = np.unique(values_N, return_counts=True)
        if 1 < len(values) <= MOST_VALUES:
            for value in values[np.argsort(-counts, kind="stable")]:
                yield name, str(value), values_N == value


def _by_user(before_N: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    known = before_N[before_N > 0]
    median = float(np.median(known)) if len(known) else 0
    yield "user", "new", before_N == 0
    yield "user", "light", (before_N > 0) & (before_N < median)
    yield "user", "heavy", (before_N > 0) & (before_N >= median)


def _by_item(days_N: np.ndarray, first_seen_N: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    new_N = days_N - first_seen_N <= NEW_ITEM_DAYS
    yield "item", "never seen before that day", days_N == first_seen_N
    yield "item", "new", new_N
    yield "item", "old", ~new_N


# ---- the past of a row ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Circumstances:
    """Of every judged row, [N]: context values as text, rows of its user in the log before the day,
    and the day (ordinal) on which its item was first seen.
    """

    context: dict[str, np.ndarray]
    rows_before_N: np.ndarray
    first_seen_N: np.ndarray


class _Past:
    """What the log held before a day: rows by user, and the day each item was first seen."""

    def __init__(self) -> None:
        self._rows = pl.DataFrame(schema={"user": pl.UInt64, "rows": pl.UInt32})
        self._firsts = pl.DataFrame(schema={"item": pl.UInt64, "first": pl.Int64})

    def rows_of_users(self, asked: pl.DataFrame) -> np.ndarray:
        """0 for a user who was never seen."""
        return _looked_up(asked, self._rows, ["user"])["rows"].fill_null(0).to_numpy()

    def first_days_of_items(self, asked: pl.DataFrame, today: int) -> np.ndarray:
        """`today` for an item that was never seen."""
        return _looked_up(asked, self._firsts, ["item"])["first"].fill_null(today).to_numpy()

    def add(self, events: EventDay, ordinal: int) -> None:
        """The day's rows become past."""
        items = pl.DataFrame({"item": events.keys("item")}).unique()
        items = items.with_columns(first=pl.lit(ordinal, pl.Int64))
        firsts = pl.concat([self._firsts, items]).group_by("item")
        self._firsts = firsts.agg(pl.col("first").min())
        users = pl.DataFrame({"user": events.keys("user")}).group_by("user").agg(rows=pl.len())
        rows = pl.concat([self._rows, users]).group_by("user")
        self._rows = rows.agg(pl.col("rows").sum())


def _circumstances(log: EventLog, judged: Judged, features: Sequence[str]) -> _Circumstances:
    """One walk over the log, from its first day to the last judged one. Raises ExperimentError
    where the log begins later than the judged days, LogError where a judged day cannot be read.
    """
    size = len(judged.labels_N)
    found = _Circumstances(
        context={name: np.full(size, MISSING, object) for name in features},
        rows_before_N=np.zeros(size, np.int64),
        first_seen_N=np.zeros(size, np.int64),
    )
    past = _Past()
    for ordinal in range(_first_day(log, judged), int(judged.days_N.max()) + 1):
        mine_M = np.flatnonzero(judged.days_N == ordinal)
        try:
            events = log.day(dt.date.fromordinal(ordinal))
        except LogError:
            if len(mine_M):
                raise
            continue  # a day without rows, which nobody was judged on
        if len(mine_M):
            asked = _identity(judged, mine_M)
            found.rows_before_N[mine_M] = past.rows_of_users(asked)
            found.first_seen_N[mine_M] = past.first_days_of_items(asked, ordinal)
            known = _looked_up(asked, _context(events, features), IDENTITY)
            for name in features:
                found.context[name][mine_M] = known[f"={name}"].fill_null(MISSING).to_numpy()
        past.add(events, ordinal)
    return found


def _first_day(log: EventLog, judged: Judged) -> int:
    span = log.span()
    assert span is not None  # rows of it were judged
    if judged.days_N.min() < span[0].toordinal():
        raise ExperimentError(
            f"slices: the log begins on {span[0]} now, and the first judged day is"
            f" {judged.day(int(judged.days_N.argmin()))}. Put the log back, or set evaluation.start"
            " to a later day."
        )
    return span[0].toordinal()


def _identity(judged: Judged, rows_M: np.ndarray) -> pl.DataFrame:
    """What a row of the log is known by."""
    assert judged.times_us_N is not None
    return pl.DataFrame(
        {
            "user": judged.users_N[rows_M],
            "item": judged.items_N[rows_M],
            "time": judged.times_us_N[rows_M],
        }
    )


def _context(events: EventDay, features: Sequence[str]) -> pl.DataFrame:
    """The values of a day's rows as text, `=NAME` for each feature."""
    rows = pl.DataFrame(
        {
            "user": events.keys("user"),
            "item": events.keys("item"),
            "time": events.frame[TIME].to_numpy(),
        }
    ).with_columns(
        events.frame[name].cast(pl.String).fill_null(MISSING).alias(f"={name}") for name in features
    )
    return rows.unique(list(IDENTITY), keep="first")


def _looked_up(asked: pl.DataFrame, table: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The rows asked for, in their order, with what the table has of them."""
    return asked.join(table, on=list(key), how="left", maintain_order="left")
