"""A world written to Parquet, day by day, in chunks.

Memory is bounded by a chunk and the population.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headwater.files import new_folder, write_json
from headwater.worlds.adsworld.assumptions import Assumptions
from headwater.worlds.adsworld.pages import PageChunk, simulate_pages
from headwater.worlds.adsworld.population import Nature, Population, new_items, new_users
from headwater.worlds.adsworld.publishing import churn_of, first_catalogue, new_readers, publish
from headwater.worlds.adsworld.traffic import US_PER_DAY, Chunk, Inhabitants, Traffic, simulate

CHUNK_ROWS = 200_000


def write_world(
    folder: Path, a: Assumptions, seed: int, advance: Callable[[], None] = lambda: None
) -> None:
    """Write a world; all or nothing, and the same seed gives the same bytes.

    `impressions/`, `visits/`, `purchases/`, `truth/` (one file or more a day), `users.parquet`,
    `items.parquet`, `world.json`; a world of churn has no visits and purchases. `advance` is called
    after every day.
    """
    with new_folder(folder) as aside:
        nature = Nature.of(a, np.random.default_rng([seed, 0]))
        start = np.random.default_rng([seed, 1])
        trade: _Trade = _Ads(aside, a, nature) if a.churn is None else _Site(aside, a, nature)
        users, items = trade.begin(start)
        for number in range(a.days):
            day = a.first_day + dt.timedelta(days=number)
            generator = np.random.default_rng([seed, 2, number])
            if number:
                trade.pass_night(users, items, day, generator)
            today = users
            if a.mood:
                # Moods have a generator of their own: the same people and ads live here, whatever
                # their mood.
                today = users.in_mood(a.mood, np.random.default_rng([seed, 3, number]))
            trade.write_day(day, Inhabitants(users, today, items), generator)
            advance()
        users.frame().write_parquet(aside / "users.parquet")
        trade.item_table(items).write_parquet(aside / "items.parquet")
        write_json(aside / "world.json", {"seed": seed, "assumptions": _stated(a)})


def _stated(a: Assumptions) -> dict[str, Any]:
    """The assumptions as they are written down: of a world of ads nothing about pages."""
    return {name: value for name, value in asdict(a).items() if name != "churn" or value}


class _Trade(ABC):
    """Who and what there is in a world, from day to day, and the logs of it as they grow."""

    def __init__(self, folder: Path, a: Assumptions, nature: Nature) -> None:
        self.folder = folder
        self.a = a
        self.nature = nature

    @abstractmethod
    def begin(self, generator: np.random.Generator) -> tuple[Population, Population]:
        """The users and items of the first day."""

    @abstractmethod
    def pass_night(
        self, users: Population, items: Population, day: dt.date, generator: np.random.Generator
    ) -> None:
        """Make what was there the day before `day` what is there on it."""

    @abstractmethod
    def write_day(self, day: dt.date, there: Inhabitants, generator: np.random.Generator) -> None:
        """Write a day's traffic."""

    def item_table(self, items: Population) -> pl.DataFrame:
        """What is written down of the items."""
        return items.frame()


class _Ads(_Trade):
    """Ads that live for weeks; their logs are impressions, visits and purchases."""

    def __init__(self, folder: Path, a: Assumptions, nature: Nature) -> None:
        super().__init__(folder, a, nature)
        self.next_impression = 1
        self.next_visit = 1
        self.pending = pl.DataFrame(
            schema={"visit_id": pl.Int64, "impression_id": pl.Int64, "time": pl.Int64}
        )
        for log in ("impressions", "visits", "purchases", "truth"):
            (folder / log).mkdir()

    def begin(self, generator: np.random.Generator) -> tuple[Population, Population]:
        a = self.a
        users = new_users(a.users, 1, a.first_day, a, self.nature, generator)
        return users, new_items(a.items, 1, a.first_day, a, self.nature, generator)

    def pass_night(
        self, users: Population, items: Population, day: dt.date, generator: np.random.Generator
    ) -> None:
        """Tastes drift, some leave for good, and as many arrive."""
        a, nature = self.a, self.nature
        users.drift(a.user_drift, generator)
        items.drift(a.item_drift, generator)
        users_left = users.leave(a.user_turnover, generator)
        items_left = items.leave(a.item_turnover, generator)
        users.join(new_users(users_left, len(users.alive_N) + 1, day, a, nature, generator))
        items.join(new_items(items_left, len(items.alive_N) + 1, day, a, nature, generator))

    def write_day(self, day: dt.date, there: Inhabitants, generator: np.random.Generator) -> None:
        """Write a day's traffic, and the purchases reported on it."""
        midnight_us = _midnight_us(day)
        chunks = max(1, -(-self.a.impressions_a_day // CHUNK_ROWS))
        for number in range(chunks):
            chunk = self._chunk(midnight_us, chunks, number)
            traffic = simulate(chunk, there, self.a, generator)
            self._write_traffic(traffic, _file_of(day, chunks, number))
            self.next_impression += chunk.impressions
            self.next_visit += len(traffic.visits["visit_id"])
        self._write_purchases(f"{day}.parquet", midnight_us + US_PER_DAY)

    def _chunk(self, midnight_us: int, chunks: int, number: int) -> Chunk:
        return Chunk(
            midnight_us,
            impressions=_share(self.a.impressions_a_day, chunks, number),
            organic_visits=_share(self.a.organic_visits_a_day, chunks, number),
            first_impression=self.next_impression,
            first_visit=self.next_visit,
        )

    def _write_traffic(self, traffic: Traffic, name: str) -> None:
        for log in ("impressions", "visits", "truth"):
            _frame(getattr(traffic, log)).write_parquet(self.folder / log / name)
        self.pending = pl.concat([self.pending, _frame(traffic.purchases, typed=False)])

    def _write_purchases(self, name: str, end_us: int) -> None:
        """Those reported before the day's end; the others stay pending."""
        in_time = pl.col("time") < end_us
        reported = self.pending.filter(in_time).sort("time", "visit_id")
        paid = pl.when(pl.col("impression_id") >= 0).then(pl.col("impression_id"))
        reported = reported.with_columns(paid, pl.col("time").cast(pl.Datetime("us", "UTC")))
        reported.write_parquet(self.folder / "purchases" / name)
        self.pending = self.pending.filter(~in_time)


class _Site(_Trade):
    """A content site, whose log is of pages (see `Churn`)."""

    def __init__(self, folder: Path, a: Assumptions, nature: Nature) -> None:
        super().__init__(folder, a, nature)
        self.next_request = 1
        self.next_impression = 1
        for log in ("impressions", "truth"):
            (folder / log).mkdir()

    def begin(self, generator: np.random.Generator) -> tuple[Population, Population]:
        a, nature = self.a, self.nature
        users = new_readers(a.users, 1, a.first_day, a, nature, generator)
        items = first_catalogue(a, nature, generator)
        publish(items, a.first_day, a, nature, generator)
        return users, items

    def pass_night(
        self, users: Population, items: Population, day: dt.date, generator: np.random.Generator
    ) -> None:
        """Tastes drift, some users leave and as many arrive; the day's items are published."""
        a, nature = self.a, self.nature
        users.drift(a.user_drift, generator)
        left = users.leave(a.user_turnover, generator)
        users.join(new_readers(left, len(users.alive_N) + 1, day, a, nature, generator))
        publish(items, day, a, nature, generator)

    def write_day(self, day: dt.date, there: Inhabitants, generator: np.random.Generator) -> None:
        pages = max(1, round(self.a.impressions_a_day / churn_of(self.a).page_size))
        chunks = max(1, -(-self.a.impressions_a_day // CHUNK_ROWS))
        for number in range(chunks):
            chunk = PageChunk(
                _midnight_us(day),
                _share(pages, chunks, number),
                self.next_request,
                self.next_impression,
            )
            traffic = simulate_pages(chunk, there, self.a, generator)
            name = _file_of(day, chunks, number)
            # without a click there is nothing to measure
            shown = _frame(traffic.impressions).with_columns(pl.col("dwell_s").fill_nan(None))
            shown.write_parquet(self.folder / "impressions" / name)
            _frame(traffic.truth).write_parquet(self.folder / "truth" / name)
            self.next_request += chunk.pages
            self.next_impression += len(traffic.impressions["impression_id"])

    def item_table(self, items: Population) -> pl.DataFrame:
        """Published at a moment, not on a day: it says of which time zone."""
        return items.frame().with_columns(pl.col("created").dt.replace_time_zone("UTC"))


def _midnight_us(day: dt.date) -> int:
    midnight = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
    return int(midnight.timestamp()) * 1_000_000


def _file_of(day: dt.date, chunks: int, number: int) -> str:
    return f"{day}.parquet" if chunks == 1 else f"{day}-{number:03d}.parquet"


def _share(total: int, parts: int, part: int) -> int:
    return total // parts + (part < total % parts)


def _frame(columns: Mapping[str, np.ndarray], typed: bool = True) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            name: values.astype(str) if values.dtype == object else values
            for name, values in columns.items()
        }
    )
    if typed and "time" in frame.columns:
        frame = frame.with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")))
    return frame
