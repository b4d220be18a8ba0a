"""KuaiRand-Pure: short-video impressions with clicks and long views (Gao et al., CIKM 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.recipes.base import Recipe

# Of the item table only what an uploader sets is read: its *_cnt, *_num and play_* columns sum over
# the whole month, later days included, and would leak the future. `play_time_ms` and the
# *_stay_time of a row are outcomes, not context.
_USER_CATEGORICAL = (
    "user_active_degree",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{n}" for n in range(18)),
)
_USER_NUMERIC = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")

_CVR_VARIANTS = ["none", "cvr_user+cvr_item", "ctr_user+ctr_item", "all", "shuffled"]
_SEEDS = [0, 1, 2, 3, 4]


def _config(data: Path, written: Path) -> dict[str, Any]:
    del data  # nothing in it changes the config
    return {
        "name": "kuairand",
        "warehouse": "./warehouse",
        "time_zone": "Asia/Shanghai",
        "logs": _logs(written),
        "entities": {"user": _user(written), "item": _item(written)},
        "histories": _histories(written),
        "tasks": _tasks(),
        "upstreams": {
            "ctr": {"tasks": ["click"], "size": "small"},
            "cvr": {"tasks": ["long_view", "engage"], "size": "small"},
        },
        "lifecycle": {
            "policy": {"kind": "ema", "weight": 0.8, "warm_up_days": 4},
            "lag_days": 1,
            "expire_days": 90,
        },
        "store": {"online": "lmdb"},
        "downstream": _downstream(),
        # hardly any two rows share a user and a time
        "evaluation": {"start": "2022-05-02", "end": "2022-05-08", "group": "user_day"},
    }


def _logs(written: Path) -> dict[str, Any]:
    return {
        "feed": {
            "path": str(written / "interactions*.parquet"),
            "time": "time_ms",
            "time_unit": "ms",
            "entities": {"user": "user_id", "item": "video_id"},
            "features": {
                "tab": {"kind": "categorical", "values": list(range(15))},
                "time_ms": "timestamp",
                "duration_ms": "numeric",
            },
            "max_reject_share": 0.06,  # 2.6 % of its rows repeat, up to 3.9 % of a day
        }
    }


def _user(written: Path) -> dict[str, Any]:
    return {
        "table": str(written / "users*.parquet"),
        "key": "user_id",
        "features": (
            dict.fromkeys(_USER_CATEGORICAL, "categorical")
            | {"onehot_feat3": {"kind": "categorical", "buckets": 2000}}
            | dict.fromkeys(_USER_NUMERIC, "numeric")
        ),
    }


def _item(written: Path) -> dict[str, Any]:
    return {
        "table": str(written / "items*.parquet"),
        "key": "video_id",
        "features": {
            "author_id": {"kind": "categorical", "buckets": 10000},
            "music_id": {"kind": "categorical", "buckets": 10000},
            "tag": {"kind": "multi_categorical", "buckets": 500, "length": 4},
            "video_type": "categorical",
            "upload_type": "categorical",
            "music_type": "categorical",
            "video_duration": "numeric",
            "server_width": "numeric",
            "server_height": "numeric",
        },
    }


def _histories(written: Path) -> dict[str, Any]:
    return {
        "user": {
            "of": "item",
            "log": "feed",
            "actions": ["is_click", "long_view"],
            "length": 50,
            "seed": {
                "table": str(written / "history*.parquet"),
                "key": "user_id",
                "ids": "watch_seq",
                "actions": {"is_click": "long_watch_seq", "long_view": "long_watch_seq"},
            },
        }
    }


def _tasks() -> dict[str, Any]:
    return {
        "click": {"log": "feed", "label": "is_click"},
        "long_view": {"log": "feed", "label": "long_view", "given": "click"},
        # rare, as conversions are: 7.5 % of clicks
        "engage": {
            "log": "feed",
            "label": ["is_like", "is_follow", "is_comment", "is_forward", "is_profile_enter"],
            "given": "click",
        },
    }


def _downstream() -> dict[str, Any]:
    return {
        "ctr": {
            "task": "click",
            "also": {"long_view": 0.5},
            "model": "moe_dcn",
            "seeds": _SEEDS,
        },
        "cvr": {
            "task": "long_view",
            "model": "dhen",
            "variants": _CVR_VARIANTS,
            "seeds": _SEEDS,
        },
        "engage": {
            "task": "engage",
            "also": {"click": 0.5, "long_view": 0.5},
            "model": "dhen",
            "variants": _CVR_VARIANTS,
            "seeds": _SEEDS,
        },
    }


KUAIRAND = Recipe(
    name="kuairand",
    summary="228,329 short-video impressions of 14 days, with click and long view (KuaiRand-Pure)",
    source=(
        "https://kuairand.com (Gao et al., CIKM 2022; CC BY-SA 4.0), its last 14 days as Parquet"
    ),
    needs=("interactions*.parquet", "users*.parquet", "items*.parquet", "history*.parquet"),
    config=_config,
)
