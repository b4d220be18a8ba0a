"""adsworld's factory: impressions with clicks in one log, site visits with purchases in another.

Of a world of churn it is the one of `adsworld_churn.py`.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from headwater.errors import ConfigError
from headwater.recipes.adsworld_churn import churn_config
from headwater.recipes.base import Recipe
from headwater.worlds.adsworld import SIZES

# purchases mature after three days: by the seventh every consumer has learnt with served vectors
# for some days
WARM_UP_DAYS = 6


def _config(data: Path, written: Path) -> dict[str, Any]:
    world = _world(data)
    first = dt.date.fromisoformat(world["first_day"])
    last = first + dt.timedelta(days=world["days"] - 1)
    start = first + dt.timedelta(days=min(WARM_UP_DAYS, world["days"] // 2))
    if "churn" in world:
        return dict(churn_config(written, world["churn"]["page_size"], start, last))
    tiny = world["impressions_a_day"] <= SIZES["tiny"].impressions_a_day
    size = "tiny" if tiny else "small"
    return {
        "name": "adsworld",
        "warehouse": "./warehouse",
        "time_zone": "UTC",
        "logs": _logs(written),
        "entities": _entities(written, world["vector_width"]),
        "histories": _histories(),
        "tasks": _tasks(world["matures_days"]),
        "upstreams": {
            "ctr": {"tasks": ["click", "long_click"], "size": size},
            "cvr": {"tasks": ["purchase"], "size": size, "epochs": 3, "contrastive_weight": 0.5},
        },
        "lifecycle": {
            "policy": {"kind": "ema", "weight": 0.8, "warm_up_days": 5},
            "lag_days": 1,
            "expire_days": 90,
        },
        "store": {"online": "lmdb"},
        "downstream": _downstream(tiny),
        "evaluation": {
            "start": str(start),
            "end": str(last),
            "group": "user_day",  # impressions come one at a time
        },
    }


def _world(data: Path) -> dict[str, Any]:
    """What the world assumes. Raises ConfigError."""
    try:
        assumptions: dict[str, Any] = json.loads((data / "world.json").read_text())["assumptions"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{data}: no adsworld lies here ({error}). `headwater init adsworld` makes one."
        ) from error
    return assumptions


def _logs(written: Path) -> dict[str, Any]:
    return {
        "impressions": {
            "path": str(written / "impressions" / "*.parquet"),
            "time": "time",
            "event_id": "impression_id",
            "entities": {"user": "user_id", "item": "ad_id"},
            "features": {
                "surface": {"kind": "categorical", "values": ["home", "related", "search"]},
                "position": {"kind": "categorical", "values": [1, 2, 3, 4, 5]},
                "time": "timestamp",
            },
        },
        "visits": {
            "path": str(written / "visits" / "*.parquet"),
            "time": "time",
            "event_id": "visit_id",
            "entities": {"user": "user_id", "item": "ad_id"},
            "features": {
                "source": {"kind": "categorical", "values": ["ad", "organic"]},
                "time": "timestamp",
            },
        },
        "purchases": {"path": str(written / "purchases" / "*.parquet"), "time": "time"},
    }


def _entities(written: Path, vector_width: int) -> dict[str, Any]:
    return {
        "user": {
            "table": str(written / "users.parquet"),
            "key": "user_id",
            "exists_from": "joined",
            "features": {
                "age": "categorical",
                "country": "categorical",
                "device": "categorical",
                "interests": {"kind": "multi_categorical", "buckets": 100},
                "joined": "timestamp",
            },
        },
        "item": {
            "table": str(written / "items.parquet"),
            "key": "ad_id",
            "exists_from": "created",
            "features": {
                "advertiser": "categorical",
                "category": "categorical",
                "format": "categorical",
                "price": "numeric",
                "picture": {"kind": "vector", "width": vector_width},
                "created": "timestamp",
            },
        },
    }


def _histories() -> dict[str, Any]:
    return {
        "user": {
            "of": "item",
            "log": "impressions",
            "where": "is_click",
            "actions": ["is_long_click"],
            "length": 30,
        },
        "visitor": {"entity": "user", "of": "item", "log": "visits", "length": 30},
    }


def _tasks(matures_days: int) -> dict[str, Any]:
    return {
        "click": {"log": "impressions", "label": "is_click"},
        "long_click": {"log": "impressions", "label": "is_long_click", "given": "click"},
        "conversion": {
            "log": "impressions",
            "label": {"log": "purchases", "key": "impression_id"},
            "given": "click",
            "matures_days": matures_days,
        },
        "purchase": {
            "log": "visits",
            "label": {"log": "purchases", "key": "visit_id"},
            "matures_days": matures_days,
        },
    }


def _downstream(tiny: bool) -> dict[str, Any]:
    # a tiny world is to be looked at, not to learn from
    light = {"seeds": [0], "sequence": {"length": 5}} if tiny else {}
    ctr = {"task": "click", "also": {"long_click": 0.5}, "model": "moe_dcn"}
    cvr = {
        "task": "conversion",
        "model": "dhen",
        "batch_rows": 128,
        "epochs": 2,
        "id_learning_rate": 0.03,
        "variants": ["none", "cvr_user+cvr_item", "ctr_user+ctr_item", "all", "shuffled"],
    }
    return {"ctr": ctr | light, "cvr": cvr | light}


ADSWORLD = Recipe(
    name="adsworld",
    summary=(
        "a simulated ads world with known truth: impressions, clicks, site visits and delayed"
        " purchases"
    ),
    source="made on this machine by `headwater init adsworld`, from a seed",
    needs=("world.json",),
    config=_config,
)
