"""The factory of an adsworld of churn: a content site's pages, with one click each.

All that may be left to a default is: it shows what the defaults are worth on a log of this kind.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def churn_config(written: Path, page_size: int, start: dt.date, end: dt.date) -> Mapping[str, Any]:
    """A raw config of the world whose files lie in `written`, judged from `start` to `end`."""
    return {
        "name": "adsworld-churn",
        "warehouse": "./warehouse",
        "time_zone": "UTC",
        "logs": {
            "impressions": {
                "path": str(written / "impressions" / "*.parquet"),
                "time": "time",
                "event_id": "impression_id",
                "entities": {"user": "user_id", "item": "item_id"},
                "features": {
                    "position": {
                        "kind": "categorical",
                        "values": list(range(1, page_size + 1)),
                    },
                    # of the day's items, whose `created` counts as missing all day
                    "age_hours": "numeric",
                    "time": "timestamp",
                },
            }
        },
        "entities": _entities(written),
        "histories": {
            "user": {
                "of": "item",
                "log": "impressions",
                "where": "is_click",
                "actions": ["is_long_click"],
            }
        },
        "tasks": {
            "click": {"log": "impressions", "label": "is_click"},
            "long_click": {"log": "impressions", "label": "is_long_click", "given": "click"},
        },
        "upstreams": {"ctr": {"tasks": ["click", "long_click"]}},
        "downstream": {"ctr": {"task": "click"}, "long_click": {"task": "long_click"}},
        "evaluation": {"start": str(start), "end": str(end), "group": "request_id"},
    }


def _entities(written: Path) -> dict[str, Any]:
    return {
        "user": {
            "table": str(written / "users.parquet"),
            "key": "user_id",
            "exists_from": "joined",
            "features": {
                "age": "categorical",
                "country": "categorical",
                "device": "categorical",
                "interests": "multi_categorical",
                "joined": "timestamp",
            },
        },
        "item": {
            "table": str(written / "items.parquet"),
            "key": "item_id",
            "exists_from": "created",
            "features": {
                "section": "categorical",
                "author": "categorical",
                "format": "categorical",
                "words": "numeric",
                "created": "timestamp",
            },
        },
    }
