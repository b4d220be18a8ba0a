"""EventLog: one log, scanned day by day; EventDay: the usable rows of one of its days."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.errors import LogError
from headwater.events.cleaning import REASON, TIME, reasons, typed
from headwater.events.lake import Lake
from headwater.events.tables import collect, matching_files, scan
from headwater.events.times import US_PER_UNIT, day_bounds_us, to_us
from headwater.files import write_atomic
from headwater.ids import is_id, keys_of
from headwater.schema import Log

SOURCE = "_source_file"
Erased = Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class EventDay:
    """The usable rows of one day, oldest first: `time_us`, ids, features, labels.

    Also how many were refused, by reason, and how many were passed over because their user or item
    was erased.
    """

    log: Log
    day: dt.date
    frame: pl.DataFrame
    rejected: Mapping[str, int]
    erased: int = 0

    def __post_init__(self) -> None:
        if TIME not in self.frame.columns or not self.frame[TIME].is_sorted():
            raise LogError(f"log {self.log.name}: an EventDay holds its rows by time.")

    def __len__(self) -> int:
        return len(self.frame)

    def keys(self, entity: str) -> np.ndarray:
        """64-bit keys, uint64 [N], of the rows' `entity`."""
        return keys_of(self.frame[self.log.entities[entity]])


class EventLog:
    """A log on disk, of which only the rows asked for are ever in memory.

    `erased` says which keys of an entity were erased.
    """

    def __init__(
        self,
        log: Log,
        zone: ZoneInfo,
        quarantine: Path | None = None,
        erased: Erased | None = None,
        lake: Path | None = None,
        keeps: bool = False,
    ) -> None:
        """`lake` is where the logs' ledgers and parts lie; who `keeps` also adds to them."""
        self.log = log
        self.zone = zone
        self._erased = erased
        self._quarantine = quarantine / log.name if quarantine else None
        self._what = f"log {log.name}"
        folder = lake / log.name if lake else None
        self.lake = Lake(log, zone, folder, keeps, self._without_erased)

    def day(self, day: dt.date) -> EventDay:
        """The rows of one local day.

        Raises LogError: no rows, unreadable files, wrong unit, too many rejects.
        """
        low, high = day_bounds_us(day, self.zone)
        frame = self._rows(low, high)
        if frame.is_empty():
            raise self._empty(day)
        rows = len(frame)
        frame = self._without_erased(frame)
        if frame.is_empty():
            raise LogError(
                f"{self._what}, day {day}: each of its {rows:,} rows is of an entity that was"
                " erased; there is nothing to learn."
            )
        used, refused = self._split(frame)
        self._keep_aside(refused, f"{day}.parquet")
        self._keep_aside(self.undated(), "undated.parquet")
        counts = {
            str(reason): int(n)
            for reason, n in refused[REASON].value_counts().sort(REASON).iter_rows()
        }
        self._expect_few(counts, len(frame), day)
        return EventDay(self.log, day, used, counts, rows - len(frame))

    def _expect_few(self, refused: Mapping[str, int], rows: int, day: dt.date) -> None:
        total = sum(refused.values())
        share = total / max(1, rows)
        if share > self.log.max_reject_share:
            listed = "; ".join(f"{n} x {reason}" for reason, n in refused.items())
            raise LogError(
                f"{self._what}, day {day}: {total:,} of {rows:,} rows are bad"
                f" ({share:.1%}, allowed {self.log.max_reject_share:.1%}): {listed}. They lie in"
                f" quarantine/{self.log.name}/{day}.parquet; mend the log, or raise"
                f" logs.{self.log.name}.max_reject_share."
            )

    def between(self, low_us: int, high_us: int) -> pl.DataFrame:
        """The usable rows of a half-open interval of UTC microseconds, oldest first, if any."""
        return self._split(self._without_erased(self._rows(low_us, high_us)))[0]

    def join_keys_seen(self, key: str, from_us: int, known_by_us: int) -> pl.Series:
        """The distinct `key`s of the rows of a half-open interval of UTC microseconds.

        For labels that arrive in this log.
        """
        frames = []
        for file, rows in self.lake.frames(from_us, known_by_us):
            dtype = rows.collect_schema()[key]
            if not is_id(dtype):
                raise LogError(
                    f"{self._what}: {key!r}, by which labels are joined, holds {dtype}; write it as"
                    " integers or text."
                )
            known = rows.select(pl.col(key).drop_nulls().unique())
            frames.append(collect(known, file, self._what)[key].cast(pl.String))
        return pl.concat(frames).unique() if frames else pl.Series(key, [], pl.String)

    def first_sights(self, entity: str, keys_M: np.ndarray) -> np.ndarray:
        """When each of some keys (ascending) stands beside its first row, in UTC microseconds [M];
        the largest int64 where none does. Reads two columns of the whole log. Raises LogError.
        """
        column = self.log.entities[entity]
        first_us = np.full(len(keys_M), np.iinfo(np.int64).max)
        span = self.span()
        if span is None or len(keys_M) == 0:
            return first_us
        low, high = day_bounds_us(span[0], self.zone)[0], day_bounds_us(span[1], self.zone)[1]
        for file, rows in self.lake.frames(low, high):
            met = rows.select(column, TIME).drop_nulls(column)
            sights = collect(met.group_by(column).agg(pl.col(TIME).min()), file, self._what)
            keys = keys_of(sights[column])
            spots = np.minimum(np.searchsorted(keys_M, keys), len(keys_M) - 1)
            wanted = keys_M[spots] == keys
            np.minimum.at(first_us, spots[wanted], sights[TIME].to_numpy()[wanted])
        return first_us

    def undated(self) -> pl.DataFrame:
        """The rows whose time cannot be read, and so belong to no day.

        Raises LogError where they are too many.
        """
        ledger = self.lake.ledger
        frames = [collect(rows, file, self._what) for file, rows in self.lake.undated()]
        if not frames:
            return pl.DataFrame()
        bad = self._without_erased(pl.concat(frames, how="vertical_relaxed")).with_columns(
            pl.lit(f"{self.log.time}: not a time").alias(REASON)
        )
        if len(bad) > self.log.max_reject_share * ledger.total:
            raise LogError(
                f"{self._what}: {len(bad):,} of {ledger.total:,} rows have no readable time in"
                f" {self.log.time!r} (such as {bad[self.log.time][0]!r}). {self._unit_hint(bad)}"
            )
        return bad.drop(TIME)

    def span(self) -> tuple[dt.date, dt.date] | None:
        """First and last day with a readable time."""
        days = self.lake.ledger.days
        return (days[0], days[-1]) if days else None

    def columns_found(self) -> None:
        """Raise LogError unless every file is readable and has every declared column."""
        for file in matching_files(self.log.paths, self._what):
            scan(file, self.log.columns, self._what)

    def _rows(self, low_us: int, high_us: int) -> pl.DataFrame:
        frames = [
            collect(rows, file, self._what).with_columns(pl.lit(file).alias(SOURCE))
            for file, rows in self.lake.frames(low_us, high_us)
        ]
        self.lake.expect_unchanged(low_us, high_us)
        if not frames:
            file, nothing = self.lake.empty()
            frames = [
                collect(nothing, file, self._what).with_columns(
                    pl.lit(None, pl.String).alias(SOURCE)
                )
            ]
        try:
            return pl.concat(frames, how="vertical_relaxed").sort(TIME, maintain_order=True)
        except pl.exceptions.PolarsError as error:
            raise LogError(
                f"{self._what}: its files disagree on column types ({error}). Write them alike."
            ) from error

    def _without_erased(self, raw: pl.DataFrame) -> pl.DataFrame:
        if self._erased is None:
            return raw
        kept = np.ones(len(raw), bool)
        for entity, column in self.log.entities.items():
            if is_id(raw.schema[column]):
                there = np.flatnonzero(raw[column].is_not_null().to_numpy())
                kept[there] &= ~self._erased(entity, keys_of(raw[column].drop_nulls()))
        return raw if kept.all() else raw.filter(pl.Series(kept))

    def _split(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Usable rows by time, and refused ones with their reasons."""
        frame = typed(raw, self.log)
        for entity, column in self.log.entities.items():
            if not is_id(frame.schema[column]):
                raise LogError(
                    f"{self._what}: {column!r} ({entity} id) holds {frame.schema[column]}; ids are"
                    " strings or 64-bit integers."
                )
        try:
            why = reasons(frame, raw, self.log)
        except pl.exceptions.PolarsError as error:
            raise LogError(
                f"{self._what}: a column is not of its kind ({str(error).splitlines()[0]}). Labels"
                " are 0 or 1, numeric features numbers."
            ) from error
        refused = raw.with_columns(why).filter(why.is_not_null()).drop(TIME)
        used = frame.filter(why.is_null()).drop(SOURCE)
        keys = [keys_of(used[column]) for column in self.log.entities.values()]
        # not the order of files, which may be rewritten
        order = np.lexsort([*keys[::-1], used[TIME].to_numpy()])
        return used[order], refused

    def _keep_aside(self, refused: pl.DataFrame, name: str) -> None:
        if self._quarantine is not None and not refused.is_empty():
            buffer = io.BytesIO()
            refused.write_parquet(buffer)
            write_atomic(self._quarantine / name, buffer.getvalue())

    def _empty(self, day: dt.date) -> LogError:
        span = self.span()
        if span is None:
            self.undated()
            return LogError(f"{self._what}: it has no rows at all.")
        try:
            self.undated()
        except LogError as error:
            return error
        return LogError(
            f"{self._what}: no rows on {day} ({self.zone.key}); the log covers {span[0]} to"
            f" {span[1]}. Choose a day in that span, or correct logs.*.path, time_unit or"
            " time_zone."
        )

    def _unit_hint(self, bad: pl.DataFrame) -> str:
        for unit in US_PER_UNIT:
            us = to_us(self.log.time, bad.schema[self.log.time], unit, self.zone.key)
            guess = bad.select(pl.col(self.log.time), us.alias(TIME))[TIME]
            if unit != self.log.time_unit and guess.null_count() < len(bad) / 2:
                return (
                    f"Read as {unit!r} they are plausible: set logs.{self.log.name}.time_unit:"
                    f" {unit} (now {self.log.time_unit!r})."
                )
        return (
            "Expected integers since 1970, ISO text or datetimes; correct the column, or"
            " logs.*.time."
        )
