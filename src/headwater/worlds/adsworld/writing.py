"""A world written to Parquet, day by day, in chunks.

Memory is bounded by a chunk and the population.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from headwater.files import new_folder, write_json
from headwater.worlds.adsworld.assumptions import Assumptions
from headwater.worlds.adsworld.population import Nature, Population, new_items, new_users
from headwater.worlds.adsworld.traffic import US_PER_DAY, Chunk, Inhabitants, Traffic, simulate

CHUNK_ROWS = 200_000


def write_world(
    folder: Path, a: Assumptions, seed: int, advance: Callable[[], None] = lambda: None
) -> None:
    """Write a world; all or nothing, and the same seed gives the same bytes.

    `impressions/`, `visits/`, `purchases/`, `truth/` (one file or more a day), `users.parquet`,
    `items.parquet`, `world.json`. `advance` is called after every day.
    """
    with new_folder(folder) as aside:
        nature = Nature.of(a, np.random.default_rng([seed, 0]))
        start = np.random.default_rng([seed, 1])
        users = new_users(a.users, 1, a.first_day, a, nature, start)
        items = new_items(a.items, 1, a.first_day, a, nature, start)
        logs = _Logs(aside, a)
        for number in range(a.days):
            day = a.first_day + dt.timedelta(days=number)
            generator = np.random.default_rng([seed, 2, number])
            if number:
                _a_day_passes(users, items, day, a, nature, generator)
            today = users
            if a.mood:
                # Moods have a generator of their own: the same people and ads live here, whatever
                # their mood.
                today = users.in_mood(a.mood, np.random.default_rng([seed, 3, number]))
            logs.write_day(day, Inhabitants(users, today, items), generator)
            advance()
        users.frame().write_parquet(aside / "users.parquet")
        items.frame().write_parquet(aside / "items.parquet")
        write_json(aside / "world.json", {"seed": seed, "assumptions": asdict(a)})


def _a_day_passes(
    users: Population,
    items: Population,
    day: dt.date,
    a: Assumptions,
    nature: Nature,
    generator: np.random.Generator,
) -> None:
    """Tastes drift, some leave for good, and as many arrive."""
    users.drift(a.user_drift, generator)
    items.drift(a.item_drift, generator)
    users_left = users.leave(a.user_turnover, generator)
    items_left = items.leave(a.item_turnover, generator)
    users.join(new_users(users_left, len(users.alive_N) + 1, day, a, nature, generator))
    items.join(new_items(items_left, len(items.alive_N) + 1, day, a, nature, generator))


class _Logs:
    """The logs of a world as they grow: next ids, and purchases that are not reported yet."""

    def __init__(self, folder: Path, a: Assumptions) -> None:
        self.folder = folder
        self.a = a
        self.next_impression = 1
        self.next_visit = 1
        self.pending = pl.DataFrame(
            schema={"visit_id": pl.Int64, "impression_id": pl.Int64, "time": pl.Int64}
        )
        for log in ("impressions", "visits", "purchases", "truth"):
            (folder / log).mkdir()

    def write_day(self, day: dt.date, there: Inhabitants, generator: np.random.Generator) -> None:
        """Write a day's traffic, and the purchases reported on it."""
        midnight = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
        midnight_us = int(midnight.timestamp()) * 1_000_000
        chunks = max(1, -(-self.a.impressions_a_day // CHUNK_ROWS))
        for number in range(chunks):
            chunk = self._chunk(midnight_us, chunks, number)
            traffic = simulate(chunk, there, self.a, generator)
            name = f"{day}.parquet" if chunks == 1 else f"{day}-{number:03d}.parquet"
            self._write_traffic(traffic, name)
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
