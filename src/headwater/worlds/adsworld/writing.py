"""A world written to Parquet, day by day, in chunks: memory is bounded by a chunk and the
population.
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
from headwater.worlds.adsworld.traffic import US_PER_DAY, simulate

CHUNK_ROWS = 200_000


def write_world(
    folder: Path, a: Assumptions, seed: int, advance: Callable[[], None] = lambda: None
) -> None:
    """`impressions/`, `visits/`, `purchases/`, `truth/` (one file or more a day), `users.parquet`,
    `items.parquet`, `world.json`.

    All or nothing; the same seed gives the same bytes.
    """
    with new_folder(folder) as aside:
        for log in ("impressions", "visits", "purchases", "truth"):
            (aside / log).mkdir()
        nature = Nature.of(a, np.random.default_rng([seed, 0]))
        start = np.random.default_rng([seed, 1])
        users = new_users(a.users, 1, a.first_day, a, nature, start)
        items = new_items(a.items, 1, a.first_day, a, nature, start)
        counters = {"impression": 1, "visit": 1}
        pending = pl.DataFrame(
            schema={"visit_id": pl.Int64, "impression_id": pl.Int64, "time": pl.Int64}
        )
        for number in range(a.days):
            day = a.first_day + dt.timedelta(days=number)
            generator = np.random.default_rng([seed, 2, number])
            if number:
                _a_day_passes(users, items, day, a, nature, generator)
            # Moods have a generator of their own: the same people and ads live here, whatever their
            # mood.
            today = (
                users.in_mood(a.mood, np.random.default_rng([seed, 3, number])) if a.mood else users
            )
            pending = _write_day(aside, day, users, today, items, counters, pending, a, generator)
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
    users.drift(a.user_drift, generator)
    items.drift(a.item_drift, generator)
    left = users.leave(a.user_turnover, generator), items.leave(a.item_turnover, generator)
    users.join(new_users(left[0], len(users.alive_N) + 1, day, a, nature, generator))
    items.join(new_items(left[1], len(items.alive_N) + 1, day, a, nature, generator))


def _write_day(
    folder: Path,
    day: dt.date,
    users: Population,
    today: Population,
    items: Population,
    counters: dict[str, int],
    pending: pl.DataFrame,
    a: Assumptions,
    generator: np.random.Generator,
) -> pl.DataFrame:
    """Write a day's traffic and the purchases reported on it; returns those reported later."""
    midnight_us = int(dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC).timestamp()) * 1_000_000
    chunks = max(1, -(-a.impressions_a_day // CHUNK_ROWS))
    for chunk in range(chunks):
        rows, organic = (
            _share(total, chunks, chunk) for total in (a.impressions_a_day, a.organic_visits_a_day)
        )
        traffic = simulate(
            rows,
            organic,
            midnight_us,
            counters["impression"],
            counters["visit"],
            users,
            today,
            items,
            a,
            generator,
        )
        counters["impression"] += rows
        counters["visit"] += len(traffic.visits["visit_id"])
        name = f"{day}.parquet" if chunks == 1 else f"{day}-{chunk:03d}.parquet"
        for log in ("impressions", "visits", "truth"):
            _frame(getattr(traffic, log)).write_parquet(folder / log / name)
        pending = pl.concat([pending, _frame(traffic.purchases, typed=False)])
    in_time = pl.col("time") < midnight_us + US_PER_DAY
    reported = pending.filter(in_time).sort("time", "visit_id")
    paid = pl.when(pl.col("impression_id") >= 0).then(pl.col("impression_id"))
    reported = reported.with_columns(paid, pl.col("time").cast(pl.Datetime("us", "UTC")))
    reported.write_parquet(folder / "purchases" / f"{day}.parquet")
    return pending.filter(~in_time)


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
