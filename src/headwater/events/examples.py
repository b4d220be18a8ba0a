"""Examples: the rows of a day as arrays, with features and histories as of the event and labels as
known by a day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.digests import digest_of
from headwater.errors import LeakError, LogError
from headwater.events.blocks import Block, BlockSpec, context_block
from headwater.events.cleaning import TIME
from headwater.events.entities import EntityTable
from headwater.events.histories import (
    Histories,
    PastEvents,
    as_of,
    counters,
    pair_numbers,
    past_events,
    seed_events,
)
from headwater.events.log import Erased, EventDay, EventLog
from headwater.events.times import US_PER_DAY, day_bounds_us
from headwater.ids import is_id
from headwater.schema import History, Schema, Task


@dataclass(frozen=True)
class Examples:
    """N rows of one log and day, oldest first. `labels` hold NaN where a task is not defined (its
    `given` is 0); `counters` are counting features of the histories, by scope: of the `log` alone,
    or in `full` with what the seed table adds.
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
        return replace(
            self,
            histories={
                entity: self.histories[entity].newest(length) for entity, length in lengths.items()
            },
        )

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
class Catalog:
    """Everyone of one kind whom a table lists, by ascending key, with features and histories as of
    the end of a day.
    """

    keys_N: np.ndarray
    ids: pl.Series
    block: Block
    histories: Mapping[str, Histories]

    def digest(self) -> str:
        histories = [
            array for name in sorted(self.histories) for array in self.histories[name].arrays()
        ]
        return digest_of(self.keys_N, *self.block.arrays(), *histories)


class ExampleReader:
    """Reads the examples of a day. Keeps entity tables and history seeds in memory, never a log.
    What was `erased` is passed over.
    """

    def __init__(
        self,
        schema: Schema,
        zone: ZoneInfo,
        quarantine: Path | None = None,
        erased: Erased | None = None,
    ) -> None:
        self.schema, self.zone, self._erased = schema, zone, erased
        self.logs = {
            name: EventLog(log, zone, quarantine, erased) for name, log in schema.logs.items()
        }
        self._tables: dict[str, EntityTable] = {}
        self._seeds: dict[tuple[str, str], PastEvents] = {}

    def table(self, entity: str) -> EntityTable:
        if entity not in self._tables:
            self._tables[entity] = EntityTable(self.schema.entities[entity], self.zone)
        return self._tables[entity]

    def specs(self, log: str) -> dict[str, BlockSpec]:
        """Sizes of the blocks of a log's examples, by entity, and under `context` and
        `counters`.
        """
        entities, histories = self.schema.logs[log].entities, self.schema.histories_of(log).values()
        found = {name: BlockSpec.of(self.schema.entities[name].features) for name in entities}
        found["counters"] = BlockSpec(
            (), (), sum(2 + len(history.actions) for history in histories), ()
        )
        pairs = sum(len(history.pairs) * (2 + len(history.actions)) for history in histories)
        return found | {
            "context": BlockSpec.of(self.schema.logs[log].features, context=True, pairs=pairs)
        }

    def original_ids(self, log: str, day: dt.date, entity: str) -> tuple[np.ndarray, pl.Series]:
        """Sorted distinct keys of a day and the ids they stand for."""
        return distinct_ids([self.logs[log].day(day)], entity)

    def read(self, log: str, day: dt.date, tasks: tuple[str, ...], known_by: dt.date) -> Examples:
        """The rows of `day`, with the labels of `tasks` as they were known at the end of
        `known_by`.

        Raises LogError (see EventLog.day) and LeakError where a label would not have matured by
        then.
        """
        return self.build(self.logs[log].day(day), tasks, known_by)

    def parts(
        self, events: EventDay, tasks: tuple[str, ...], known_by: dt.date, rows: int
    ) -> Iterator[Examples]:
        """As `build`, `rows` at a time: a day that does not fit in memory once it is encoded."""
        for low in range(0, len(events), rows):
            yield self.build(replace(events, frame=events.frame[low : low + rows]), tasks, known_by)

    def build(self, events: EventDay, tasks: tuple[str, ...], known_by: dt.date) -> Examples:
        log, day = events.log.name, events.day
        keys = {entity: events.keys(entity) for entity in events.log.entities}
        times = events.frame[TIME].to_numpy()
        declared = self.schema.histories_of(log)
        histories = {
            entity: self._history(history, keys[entity], times)
            for entity, history in declared.items()
        }
        context = context_block(
            events.frame, events.log.features, f"log {log}", self.zone, day, times
        )
        return Examples(
            log,
            day,
            times,
            keys,
            {entity: self.table(entity).gather(keys[entity], day, times) for entity in keys},
            self._with_pairs(context, histories, keys, declared),
            histories | self._histories_beside(log, keys, times),
            {
                scope: self._counters(log, histories, len(times), seeded=scope == "full")
                for scope in ("log", "full")
            },
            {task: self._labels(events, self.schema.tasks[task], known_by) for task in tasks},
            events.rejected,
        )

    def _labels(self, events: EventDay, task: Task, known_by: dt.date) -> np.ndarray:
        if known_by < events.day + dt.timedelta(days=task.matures_days):
            raise LeakError(
                f"task {task.name}: the labels of {events.day} mature after {task.matures_days}"
                f" days and are not known on {known_by}."
            )
        source = task.label
        if source.columns:
            values = (
                events.frame.select(pl.max_horizontal(source.columns))
                .to_series()
                .to_numpy()
                .astype(np.float32)
            )
        else:
            assert source.log is not None
            assert source.key is not None
            known_by_us = day_bounds_us(
                events.day + dt.timedelta(days=task.matures_days), self.zone
            )[1]
            if not is_id(events.frame.schema[source.key]):
                raise LogError(
                    f"log {events.log.name}: {source.key!r}, by which labels are joined, holds"
                    f" {events.frame.schema[source.key]}; write it as integers or text."
                )
            seen = self.logs[source.log].join_keys_seen(source.key, known_by_us)
            hit = events.frame[source.key].cast(pl.String).is_in(seen.implode()).fill_null(False)
            values = hit.to_numpy().astype(np.float32)
        if task.given is not None:
            values = np.where(
                self._labels(events, task.given, known_by) == 1, values, np.float32("nan")
            )
        return values

    def _counters(
        self, log: str, histories: Mapping[str, Histories], n: int, seeded: bool
    ) -> np.ndarray:
        declared = self.schema.histories_of(log)
        parts = [
            counters(history, len(declared[entity].actions), seeded)
            for entity, history in histories.items()
        ]
        return np.hstack(parts) if parts else np.zeros((n, 0), np.float32)

    def _with_pairs(
        self,
        context: Block,
        histories: Mapping[str, Histories],
        keys: Mapping[str, np.ndarray],
        declared: Mapping[str, History],
    ) -> Block:
        """The context with what the histories tell of each row's own pair."""
        numbers = []
        for entity, history in declared.items():
            past, table = histories[entity], self.table(history.of)
            for feature in history.pairs:
                past_NLJ = table.codes(feature, past.keys_NL.reshape(-1)).reshape(
                    *past.keys_NL.shape, -1
                )
                numbers.append(
                    pair_numbers(
                        past, len(history.actions), table.codes(feature, keys[history.of]), past_NLJ
                    )
                )
        return context.with_numbers(np.hstack(numbers)) if numbers else context

    def _histories_beside(
        self, log: str, keys: Mapping[str, np.ndarray], times_N: np.ndarray
    ) -> dict[str, Histories]:
        """The same entities' histories in the logs that an upstream learns beside this one, as of
        each row, as `ENTITY@LOG`.
        """
        return {
            f"{entity}@{other}": self._history(history, keys[entity], times_N)
            for other in self.schema.beside(log)
            for entity, history in self.schema.histories_of(other).items()
            if entity in keys
        }

    def catalog(self, log: str, entity: str, day: dt.date) -> Catalog:
        """Everyone whom the entity's table lists, as known at the end of `day`: moments are read as
        of the midnight that begins the next, when what is made of them is served.
        """
        table, end = self.table(entity), day_bounds_us(day, self.zone)[1]
        keep = (
            np.ones(len(table.keys), bool)
            if self._erased is None
            else ~self._erased(entity, table.keys)
        )
        keys, ends = table.keys[keep], np.full(int(keep.sum()), end, np.int64)
        own = {
            name: self._history(history, keys, ends)
            for name, history in self.schema.histories_of(log).items()
            if name == entity and len(keys)
        }
        tomorrow = table.gather(keys, day + dt.timedelta(days=1), ends)
        return Catalog(
            keys,
            table.ids.filter(pl.Series(keep)),
            tomorrow,
            own | self._histories_beside(log, {entity: keys}, ends),
        )

    def _history(self, history: History, owners_N: np.ndarray, times_N: np.ndarray) -> Histories:
        place = (history.log, history.entity)
        if place not in self._seeds:
            seeds = seed_events(history)
            if self._erased is not None:
                seeds = seeds.keep(
                    ~(
                        self._erased(history.entity, seeds.owners_M)
                        | self._erased(history.of, seeds.keys_M)
                    )
                )
            self._seeds[place] = seeds
        if len(times_N) == 0:
            return as_of(self._seeds[place], owners_N, times_N, history.length)
        low = int(times_N.min()) - history.days * US_PER_DAY
        frame = self.logs[history.log].between(low, int(times_N.max()))
        live = past_events(frame, self.schema.logs[history.log], history)
        people = np.unique(owners_N)
        parts = (self._seeds[place], live)
        known = [part.keep(np.isin(part.owners_M, people)) for part in parts]
        return as_of(
            PastEvents.merge(*known), owners_N, times_N, history.length, history.days * US_PER_DAY
        )


def distinct_ids(days: Sequence[EventDay], entity: str) -> tuple[np.ndarray, pl.Series]:
    """Sorted distinct keys of the `entity` of one day's rows in several logs and, beside each, the
    id it stands for.
    """
    keys, first = np.unique(
        np.concatenate([events.keys(entity) for events in days]), return_index=True
    )
    columns = [events.frame[events.log.entities[entity]] for events in days]
    kind = columns[0].dtype if len({column.dtype for column in columns}) == 1 else pl.String
    return keys, pl.concat([column.cast(kind).alias("id") for column in columns])[first]
