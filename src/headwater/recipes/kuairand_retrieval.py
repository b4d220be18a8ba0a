"""KuaiRand for retrieval: one upstream trained to find what is clicked next.

It learns the users' earlier history as well.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from headwater.files import new_file
from headwater.recipes.base import Recipe
from headwater.recipes.kuairand import KUAIRAND

PREHISTORY = "prehistory.parquet"
FIRST_DAY = dt.datetime(2022, 4, 25, tzinfo=ZoneInfo("Asia/Shanghai"))
# before it, over which a user's history is spread: its order is known, its times are not
DAYS = 10
MS_PER_DAY = 86_400_000


def write_prehistory(data: Path, out: Path) -> None:
    """Write the `history` table as log rows.

    A user's videos come in their order, evenly over the ten days before the first; clicked is what
    was watched long.
    """
    history = pl.concat([pl.read_parquet(path) for path in sorted(data.glob("history*.parquet"))])
    rows = (
        history.select("user_id", "watch_seq", "long_watch_seq")
        .explode("watch_seq")
        .drop_nulls("watch_seq")
    )
    share = (pl.int_range(pl.len()).over("user_id") + 0.5) / pl.len().over("user_id")
    begins = int((FIRST_DAY - dt.timedelta(days=DAYS)).timestamp() * 1000)
    watched = pl.col("watch_seq").is_in(pl.col("long_watch_seq")).cast(pl.Int8)
    made = rows.select(
        pl.col("user_id").cast(pl.Int64),
        pl.col("watch_seq").cast(pl.Int64).alias("video_id"),
        (begins + (share * DAYS * MS_PER_DAY).cast(pl.Int64)).alias("time_ms"),
        watched.alias("is_click"),
        watched.alias("long_view"),
        pl.lit(1, pl.Int8).alias("tab"),
    ).join(_durations(data), on="video_id", how="left", maintain_order="left")
    with new_file(out / PREHISTORY) as aside:
        made.write_parquet(aside)


def _durations(data: Path) -> pl.DataFrame:
    """How long each video is, in milliseconds."""
    columns = ["video_id", "video_duration"]
    items = [pl.read_parquet(path, columns=columns) for path in sorted(data.glob("items*.parquet"))]
    return pl.concat(items).select(pl.col("video_id").cast(pl.Int64), duration_ms="video_duration")


def _config(data: Path, written: Path) -> dict[str, Any]:
    raw = KUAIRAND.config(data, written)
    raw["logs"]["feed"]["path"] = [PREHISTORY, raw["logs"]["feed"]["path"]]
    history = raw["histories"]["user"]
    del history["seed"]  # its rows are in the log now
    return raw | {
        "name": "kuairand_retrieval",
        "tasks": {"click": raw["tasks"]["click"]},
        "upstreams": {"ctr": {"tasks": ["click"], "size": "small", "contrastive_weight": 1.0}},
        "downstream": {},
        "retrieval": {"prior": {"weight": 0.5, "days": 1}, "unseen": True},
        # the day the history ends, traffic falls to a sixth, and other users and items come
        "gates": {"min_coverage_share": 0.2, "min_rows_share": 0.2, "min_fresh_share": 0.05},
    }


KUAIRAND_RETRIEVAL = Recipe(
    name="kuairand_retrieval",
    summary=(
        "the same log, with the users' earlier history as ten days more, for retrieval (table T8)"
    ),
    source=KUAIRAND.source,
    needs=KUAIRAND.needs,
    config=_config,
    prepare=write_prehistory,
)
