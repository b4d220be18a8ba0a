"""Pairs: who met which item on which day, and whether it was a positive.

Retrieval is judged by them. Shape suffix: M pairs.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.errors import ConfigError
from headwater.events.cleaning import TIME
from headwater.events.histories import seed_events
from headwater.events.log import EventLog
from headwater.events.tables import collect, matching_files, scan
from headwater.events.times import US_PER_SECOND, day_bounds_us
from headwater.ids import keys_of
from headwater.schema import History, Schema, Task


@dataclass(frozen=True)
class Pairs:
    """Keys of user and item, the day (an ordinal), and whether the label was 1; `known_M` is the
    day at whose end that is known.
    """

    users_M: np.ndarray
    items_M: np.ndarray
    days_M: np.ndarray
    positive_M: np.ndarray
    known_M: np.ndarray

    def __len__(self) -> int:
        return len(self.days_M)

    def take(self, rows: np.ndarray) -> Pairs:
        return Pairs(
            self.users_M[rows],
            self.items_M[rows],
            self.days_M[rows],
            self.positive_M[rows],
            self.known_M[rows],
        )

    def between(self, first: dt.date, last: dt.date) -> Pairs:
        """The pairs of the days from `first` to `last`, both included."""
        return self.take((self.days_M >= first.toordinal()) & (self.days_M <= last.toordinal()))

    def known_by(self, day: dt.date) -> Pairs:
        """The pairs that are known at the end of `day`."""
        return self.take(self.known_M <= day.toordinal())

    @property
    def positives(self) -> Pairs:
        return self.take(self.positive_M)

    @classmethod
    def none(cls) -> Pairs:
        keys, days = np.zeros(0, np.uint64), np.zeros(0, np.int32)
        return cls(keys, keys, days, np.zeros(0, bool), days)


def read_pairs(
    log: EventLog, task: Task, first: dt.date, last: dt.date, known_after_s: int = 0
) -> Pairs:
    """The usable rows of the days from `first` to `last`, as pairs that are known so many seconds
    later.

    Days without rows are passed over. Raises ConfigError for a task whose labels are not known with
    the row.
    """
    columns = label_columns_of(task)
    parts = []
    for n in range((last - first).days + 1):
        day = first + dt.timedelta(days=n)
        frame = log.between(*day_bounds_us(day, log.zone))
        users, items = (keys_of(frame[log.log.entities[entity]]) for entity in ("user", "item"))
        taken = pl.all_horizontal(pl.max_horizontal(alike) == 1 for alike in columns)
        positive = frame.select(taken).to_series().to_numpy()
        known = _known_on(frame[TIME].to_numpy() + known_after_s * US_PER_SECOND, day, log.zone)
        days = np.full(len(frame), day.toordinal(), np.int32)
        parts.append(Pairs(users, items, days, positive, known))
    return Pairs(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("users_M", "items_M", "days_M", "positive_M", "known_M")
        )
    )


def _known_on(known_us_M: np.ndarray, first: dt.date, zone: ZoneInfo) -> np.ndarray:
    """The day, an ordinal [M], at whose end each moment has come; none lies before `first`."""
    days_M = np.full(len(known_us_M), first.toordinal(), np.int32)
    day = first
    while (later_M := known_us_M > day_bounds_us(day, zone)[1]).any():
        days_M[later_M] += 1
        day += dt.timedelta(days=1)
    return days_M


def known_after_of(schema: Schema, task: Task) -> int:
    """Seconds after which what a user did in the task's log is known: as their history there has
    it.
    """
    history = schema.histories_of(task.log).get("user")
    return 0 if history is None else history.known_after_s


def label_columns_of(task: Task) -> list[tuple[str, ...]]:
    """The columns of which one has to be 1, of the task and of the one it is given."""
    chain = [task, *([task.given] if task.given else [])]
    if any(one.matures_days or not one.label.columns for one in chain):
        raise ConfigError(
            f"retrieval: the labels of the task {task.name!r} arrive late or in another log; name"
            " one that is a column of its rows (retrieval.task)."
        )
    return [one.label.columns for one in chain]


def seed_pairs(history: History, task: Task, day: dt.date) -> Pairs:
    """The events of a history's seed table, as pairs of `day`.

    Positive where the seed says that all of the task's labels were taken.
    """
    seed = seed_events(history)
    positive = np.ones(len(seed.owners_M), bool)
    for alike in label_columns_of(task):
        bits = [history.actions.index(column) for column in alike if column in history.actions]
        taken = [(seed.actions_M >> bit) & 1 == 1 for bit in bits]
        positive &= np.any(taken, axis=0) if bits else False
    days = np.full(len(positive), day.toordinal(), np.int32)
    return Pairs(seed.owners_M, seed.keys_M, days, positive, days)


def items_met(log: EventLog, user: int | str) -> np.ndarray:
    """Keys of the items that stand beside a user in the log. Reads the user's rows only."""
    user_column, item_column = (log.log.entities[entity] for entity in ("user", "item"))
    what = f"log {log.log.name}"
    found = []
    for file in matching_files(log.log.paths, what):
        rows = scan(file, (user_column, item_column), what)
        mine = rows.filter(pl.col(user_column).cast(pl.String) == str(user))
        items = mine.select(pl.col(item_column).drop_nulls().unique())
        found.append(keys_of(collect(items, file, what)[item_column]))
    return np.unique(np.concatenate(found))
