"""From a day's rows to examples. Shape suffixes: N rows, L events, K and J codes of a cell."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.errors import LeakError, LogError
from headwater.events.blocks import Block, BlockSpec
from headwater.events.cleaning import TIME
from headwater.events.encoding import context_block
from headwater.events.entities import EntityTable
from headwater.events.examples import Examples, Listing
from headwater.events.histories import (
    Histories,
    PastEvents,
    as_of,
    counters,
    known_until,
    pair_numbers,
    past_events,
    seed_events,
)
from headwater.events.log import Erased, EventDay, EventLog
from headwater.events.moments import MISSING_MOMENT
from headwater.events.specs import block_specs
from headwater.events.times import US_PER_DAY, US_PER_SECOND, day_bounds_us
from headwater.ids import is_id
from headwater.schema import History, Schema, Task


class ExampleReader:
    """Reads the examples of a day.

    Keeps entity tables and history seeds in memory, never a log. What was `erased` is passed over.
    """

    def __init__(
        self,
        schema: Schema,
        zone: ZoneInfo,
        quarantine: Path | None = None,
        erased: Erased | None = None,
        lake: Path | None = None,
        keeps: bool = False,
    ) -> None:
        """`quarantine` is where refused rows go, `lake` where what is known of the logs lies, which
        is added to by who `keeps`.
        """
        self.schema = schema
        self.zone = zone
        self._erased = erased
        self.logs = {
            name: EventLog(log, zone, quarantine, erased, lake, keeps)
            for name, log in schema.logs.items()
        }
        self._tables: dict[str, EntityTable] = {}
        self._seeds: dict[tuple[str, str], PastEvents] = {}

    def table(self, entity: str) -> EntityTable:
        """The features of all entities of one kind. Raises LogError, SchemaError."""
        if entity not in self._tables:
            self._tables[entity] = EntityTable(self.schema.entities[entity], self.zone)
        return self._tables[entity]

    def specs(self, log: str) -> dict[str, BlockSpec]:
        """Sizes of the blocks of a log's examples, by entity, and under `context`, `counters`."""
        return block_specs(self.schema, log)

    def read(self, log: str, day: dt.date, tasks: tuple[str, ...], known_by: dt.date) -> Examples:
        """The rows of `day`, with labels of `tasks` as they were known at the end of `known_by`.

        Raises LogError (see EventLog.day), and LeakError where a label would not have matured by
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
        """The examples of rows that were read before. Raises LeakError, LogError, SchemaError."""
        log, day = events.log.name, events.day
        times = events.frame[TIME].to_numpy()
        keys = {entity: events.keys(entity) for entity in events.log.entities}
        declared = self.schema.histories_of(log)
        histories = {
            entity: self._history(history, keys[entity], times)
            for entity, history in declared.items()
        }
        context = context_block(
            events.frame, events.log.features, f"log {log}", self.zone, day, times
        )
        return Examples(
            log=log,
            day=day,
            times_us_N=times,
            keys=keys,
            entities={name: self.table(name).gather(keys[name], day, times) for name in keys},
            context=self._with_pairs(context, histories, keys, declared),
            histories=histories | self._histories_beside(log, keys, times),
            counters={
                scope: self._counters(log, histories, len(times), seeded=scope == "full")
                for scope in ("log", "full")
            },
            labels={
                task: self._labels(events, self.schema.tasks[task], known_by) for task in tasks
            },
            rejected=events.rejected,
        )

    def _labels(self, events: EventDay, task: Task, known_by: dt.date) -> np.ndarray:
        if known_by < events.day + dt.timedelta(days=task.matures_days):
            raise LeakError(
                f"task {task.name}: the labels of {events.day} mature after {task.matures_days}"
                f" days and are not known on {known_by}."
            )
        if task.label.columns:
            any_of = events.frame.select(pl.max_horizontal(task.label.columns)).to_series()
            values = any_of.to_numpy().astype(np.float32)
        else:
            values = self._joined_labels(events, task)
        if task.given is not None:
            given = self._labels(events, task.given, known_by)
            values = np.where(given == 1, values, np.float32("nan"))
        return values

    def _joined_labels(self, events: EventDay, task: Task) -> np.ndarray:
        """1 for the rows whose key is found in another log, from the day before the rows' own until
        the labels' day has ended.
        """
        log, key = task.label.log, task.label.key
        assert log is not None
        assert key is not None
        dtype = events.frame.schema[key]
        if not is_id(dtype):
            raise LogError(
                f"log {events.log.name}: {key!r}, by which labels are joined, holds"
                f" {dtype}; write it as integers or text."
            )
        first_us = day_bounds_us(events.day - dt.timedelta(days=1), self.zone)[0]
        last_us = day_bounds_us(events.day + dt.timedelta(days=task.matures_days), self.zone)[1]
        seen = self.logs[log].join_keys_seen(key, first_us, last_us)
        hit = events.frame[key].cast(pl.String).is_in(seen.implode()).fill_null(False)
        return hit.to_numpy().astype(np.float32)

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
                own_NK = table.codes(feature, keys[history.of])
                past_codes = table.codes(feature, past.keys_NL.reshape(-1))
                past_NLJ = past_codes.reshape(*past.keys_NL.shape, -1)
                numbers.append(pair_numbers(past, len(history.actions), own_NK, past_NLJ))
        return context.with_numbers(np.hstack(numbers)) if numbers else context

    def _histories_beside(
        self, log: str, keys: Mapping[str, np.ndarray], times_N: np.ndarray
    ) -> dict[str, Histories]:
        """The entities' histories, as of each row, in logs that an upstream learns beside this one.

        By `ENTITY@LOG`.
        """
        return {
            f"{entity}@{other}": self._history(history, keys[entity], times_N)
            for other in self.schema.beside(log)
            for entity, history in self.schema.histories_of(other).items()
            if entity in keys
        }

    def listing(
        self, log: str, entity: str, day: dt.date, sighted: Callable[[np.ndarray], np.ndarray]
    ) -> Listing:
        """Everyone whom the entity's table lists and who exists, as known at the end of `day`.

        Of whom the table does not tell since when they exist, those exist that a log has shown:
        `sighted` says which of some keys. Moments are read as of the midnight that begins the next
        day, when what is made of them is served.
        """
        table = self.table(entity)
        end_us = day_bounds_us(day, self.zone)[1]
        since_us = table.existence.of(table.keys)
        told = since_us != MISSING_MOMENT
        keep = told & (since_us < end_us)
        keep[~told] = sighted(table.keys[~told])
        if self._erased is not None:
            keep &= ~self._erased(entity, table.keys)
        keys = table.keys[keep]
        ends = np.full(len(keys), end_us, np.int64)
        own = {
            name: self._history(history, keys, ends)
            for name, history in self.schema.histories_of(log).items()
            if name == entity and len(keys)
        }
        tomorrow = table.gather(keys, day + dt.timedelta(days=1), ends)
        return Listing(
            keys,
            table.ids.filter(pl.Series(keep)),
            tomorrow,
            own | self._histories_beside(log, {entity: keys}, ends),
        )

    def to_come(self, entity: str, day: dt.date) -> np.ndarray:
        """Keys, ascending, of the entities that do not exist by the end of `day`, as their table
        tells.
        """
        return self.table(entity).existence.to_come(day_bounds_us(day, self.zone)[1])

    def _history(self, history: History, owners_N: np.ndarray, times_N: np.ndarray) -> Histories:
        seeds = self._seed(history)
        if len(times_N) == 0:
            return as_of(seeds, owners_N, times_N, history.length)
        window_us, wait_us = history.days * US_PER_DAY, history.known_after_s * US_PER_SECOND
        newest_us = int(known_until(times_N, wait_us).max())
        frame = self.logs[history.log].between(int(times_N.min()) - window_us, newest_us)
        live = past_events(frame, self.schema.logs[history.log], history)
        people = np.unique(owners_N)
        known = [part.keep(np.isin(part.owners_M, people)) for part in (seeds, live)]
        past = PastEvents.merge(*known)
        return as_of(past, owners_N, times_N, history.length, window_us, wait_us)

    def _seed(self, history: History) -> PastEvents:
        place = (history.log, history.entity)
        if place not in self._seeds:
            seeds = seed_events(history)
            if self._erased is not None:
                erased = self._erased(history.entity, seeds.owners_M)
                erased = erased | self._erased(history.of, seeds.keys_M)
                seeds = seeds.keep(~erased)
            self._seeds[place] = seeds
        return self._seeds[place]
