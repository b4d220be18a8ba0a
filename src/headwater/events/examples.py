"""Examples: the rows of a day as arrays.

Features and histories are as of the event, labels as known by a day. Shape suffix: N rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from headwater.digests import digest_of
from headwater.events.blocks import Block
from headwater.events.histories import Histories
from headwater.events.log import EventDay


@dataclass(frozen=True)
class Examples:
    """N rows of one log and day, oldest first.

    `labels` hold NaN where a task is not defined (its `given` is 0). `counters` are counting
    features of the histories, by scope: of the `log` alone, or in `full` with what the seed table
    adds.
    """

    log: str
    day: dt.date
    times_us_N: np.ndarray
    keys: Mapping[str, np.ndarray]
    entities: Mapping[str, Block]
    context: Block
    histories: Mapping[str, Histories]
    counters: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    rejected: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times_us_N)

    def take(self, rows_N: np.ndarray) -> Examples:
        return Examples(
            self.log,
            self.day,
            self.times_us_N[rows_N],
            {name: keys[rows_N] for name, keys in self.keys.items()},
            {name: block.take(rows_N) for name, block in self.entities.items()},
            self.context.take(rows_N),
            {name: history.take(rows_N) for name, history in self.histories.items()},
            {name: counts[rows_N] for name, counts in self.counters.items()},
            {name: labels[rows_N] for name, labels in self.labels.items()},
            self.rejected,
        )

    def rows_defined(self, tasks: tuple[str, ...]) -> np.ndarray:
        """The rows on which at least one of `tasks` has a label."""
        defined = np.zeros(len(self), bool)
        for task in tasks:
            defined |= ~np.isnan(self.labels[task])
        return np.flatnonzero(defined)

    def where_defined(self, tasks: tuple[str, ...]) -> Examples:
        """The same with the rows on which at least one of `tasks` has a label."""
        rows = self.rows_defined(tasks)
        return self if len(rows) == len(self) else self.take(rows)

    def with_histories(self, lengths: Mapping[str, int]) -> Examples:
        """The same rows with the newest events of these entities' histories only."""
        newest = {
            entity: self.histories[entity].newest(length) for entity, length in lengths.items()
        }
        return replace(self, histories=newest)

    def digest(self) -> str:
        """Of all that a model can read."""
        parts: list[object] = [self.log, self.day, self.times_us_N]
        for name in sorted(self.keys):
            parts += [name, self.keys[name], *self.entities[name].arrays()]
        parts += self.context.arrays()
        for name in sorted(self.histories):
            parts += [name, *self.histories[name].arrays()]
        for name in sorted(self.labels):
            parts += [name, self.labels[name]]
        return digest_of(*parts)


@dataclass(frozen=True)
class Listing:
    """Everyone of one kind whom a table lists, by ascending key.

    Features and histories are as of the end of a day.
    """

    keys_N: np.ndarray
    ids: pl.Series
    block: Block
    histories: Mapping[str, Histories]

    def digest(self) -> str:
        """Of all that a model can read."""
        histories = [
            array for name in sorted(self.histories) for array in self.histories[name].arrays()
        ]
        return digest_of(self.keys_N, *self.block.arrays(), *histories)


def distinct_ids(days: Sequence[EventDay], entity: str) -> tuple[np.ndarray, pl.Series]:
    """Sorted distinct keys of an entity on one day in several logs, and the id of each."""
    every_key = np.concatenate([events.keys(entity) for events in days])
    keys, first = np.unique(every_key, return_index=True)
    columns = [events.frame[events.log.entities[entity]] for events in days]
    kind = columns[0].dtype if len({column.dtype for column in columns}) == 1 else pl.String
    return keys, pl.concat([column.cast(kind).alias("id") for column in columns])[first]
