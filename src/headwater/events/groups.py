"""Groups: rows that compete with one another, such as those of one request, by a 64-bit key.

Shape suffix: N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from headwater.config import AUTO_GROUP, USER_DAY, USER_TIME
from headwater.errors import LogError
from headwater.events.cleaning import TIME
from headwater.events.log import EventDay
from headwater.ids import is_id, keys_of, mix64

# of rows that stand in a group of two or more; below it, user and time are said to group nothing
LEAST_SHARED = 0.25
IDENTITY = ("user", "item", "time_us")  # what a judged row is known by
IN_WORDS = {USER_TIME: "user and time", USER_DAY: "user and day"}


@dataclass(frozen=True)
class Groups:
    """The group of each row: keys, uint64 [N], and what they are of (USER_TIME, USER_DAY or a
    column).
    """

    of: str
    keys_N: np.ndarray

    @property
    def in_words(self) -> str:
        return IN_WORDS.get(self.of, self.of)


def kept_as(group: str) -> str:
    """What a declared group is kept as: USER_TIME for AUTO_GROUP."""
    return USER_TIME if group == AUTO_GROUP else group


def groups_of(events: EventDay) -> Groups:
    """The groups of a day's rows, as their log declares them; AUTO_GROUP keeps user and time.

    A row without a value in the declared column stands alone. Raises LogError where that column
    holds neither integers nor text.
    """
    column = events.log.group_column
    if column is not None:
        return Groups(column, _column_keys(events, column))
    return user_groups(
        events.log.group,
        events.keys("user"),
        events.frame[TIME].to_numpy(),
        np.full(len(events), events.day.toordinal()),
    )


def user_groups(
    group: str, users_N: np.ndarray, times_us_N: np.ndarray, days_N: np.ndarray
) -> Groups:
    """Of USER_TIME (or AUTO_GROUP) or USER_DAY. Times are as the log resolves them; days are
    ordinals.
    """
    if group == USER_DAY:
        return Groups(USER_DAY, _pair_keys(users_N, days_N))
    return Groups(USER_TIME, _pair_keys(users_N, times_us_N))


def settled(
    group: str, found: Groups, users_N: np.ndarray, times_us_N: np.ndarray, days_N: np.ndarray
) -> Groups:
    """`found`, or user and day where `group` is AUTO_GROUP and hardly any two rows share a user
    and a time.
    """
    if group == AUTO_GROUP and shared_rows(found.keys_N) < LEAST_SHARED:
        return user_groups(USER_DAY, users_N, times_us_N, days_N)
    return found


def shared_rows(keys_N: np.ndarray) -> float:
    """The share of rows whose group has another row."""
    if len(keys_N) == 0:
        return 0.0
    sizes = np.unique(keys_N, return_counts=True)[1]
    return float(sizes[sizes > 1].sum() / len(keys_N))


def looked_up(events: EventDay, judged: pl.DataFrame) -> np.ndarray:
    """The group keys, uint64 [N], of rows that were judged under another group: `judged` has their
    IDENTITY. Rows that the log has no more stand alone.
    """
    known = pl.DataFrame(
        {
            "user": events.keys("user"),
            "item": events.keys("item"),
            "time_us": events.frame[TIME].to_numpy(),
            "group": groups_of(events).keys_N,
        }
    ).unique(list(IDENTITY), keep="first")
    found = judged.select(IDENTITY).join(
        known, on=list(IDENTITY), how="left", maintain_order="left"
    )
    alone = _alone(np.arange(len(judged)), events.day.toordinal())
    return np.where(found["group"].is_null(), alone, found["group"].fill_null(0).to_numpy())


def _column_keys(events: EventDay, column: str) -> np.ndarray:
    values = events.frame[column]
    if not is_id(values.dtype):
        raise LogError(
            f"log {events.log.name}: {column!r}, which evaluation.group names, holds"
            f" {values.dtype}; write it as integers or text."
        )
    there = values.is_not_null()
    if values.dtype == pl.String:
        there = there & (values.str.strip_chars() != "")
    keys_N = _alone(np.arange(len(values)), events.day.toordinal())
    keys_N[there.to_numpy()] = keys_of(values.filter(there))
    return keys_N


def _alone(rows_N: np.ndarray, day: int) -> np.ndarray:
    """Keys that no two rows of a day share."""
    return _pair_keys(mix64(rows_N), np.full(len(rows_N), -day))


def _pair_keys(keys_N: np.ndarray, numbers_N: np.ndarray) -> np.ndarray:
    """One key of a key and an integer."""
    return mix64(keys_N ^ mix64(numbers_N.astype(np.int64).view(np.uint64)))
