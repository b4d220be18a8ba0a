"""Groups: which rows compete with one another, by a key that is kept with them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest

from headwater.config import parse_config
from headwater.errors import ConfigError, LogError
from headwater.events import EventLog, groups_of
from headwater.events.groups import looked_up, settled, shared_rows, user_groups
from headwater.ids import key_of
from headwater.schema import Schema
from shop import RAW

DAY = dt.date(2025, 1, 1)
MIDNIGHT_US = 1_735_689_600_000_000


def config_of(group: Any = None) -> dict[str, Any]:
    raw = {**RAW, "downstream": {"ctr": {"task": "click"}}}
    raw["logs"] = {"feed": RAW["logs"]["feed"] | {"time_unit": "s"}}
    return raw | ({} if group is None else {"evaluation": {"group": group}})


def events_of(tmp_path, group: Any = None, page: Any = None):
    """Four rows of two users: two of user 1 in one second, one of 1 a second later, one of 2."""
    seconds = MIDNIGHT_US // 1_000_000 + 60
    frame = pl.DataFrame(
        {
            "t": [seconds, seconds, seconds + 1, seconds + 1],
            "u": [1, 1, 1, 2],
            "i": [10, 11, 12, 13],
            "c": [0, 1, 0, 0],
        }
    )
    if page is not None:
        frame = frame.with_columns(page=page)
    frame.write_parquet(tmp_path / "feed.parquet")
    config = parse_config(config_of(group))
    log = Schema.from_config(config, tmp_path).logs["feed"]
    return EventLog(log, config.zone).day(DAY)


def classes(keys: np.ndarray, events) -> list[set[int]]:
    """The items of each group."""
    items = events.frame["i"].to_numpy()
    return sorted((set(items[keys == key].tolist()) for key in np.unique(keys)), key=min)


def test_by_default_rows_of_one_user_at_one_time_are_a_group(tmp_path) -> None:
    events = events_of(tmp_path)
    found = groups_of(events)
    assert found.keys_N.dtype == np.uint64
    assert classes(found.keys_N, events) == [{10, 11}, {12}, {13}]
    assert (found.of, found.in_words) == ("user_time", "user and time")


def test_rows_of_one_user_on_one_day(tmp_path) -> None:
    events = events_of(tmp_path, "user_day")
    assert classes(groups_of(events).keys_N, events) == [{10, 11, 12}, {13}]


@pytest.mark.parametrize("page", [["a", "b", "b", None], ["a", "b", "b", " "], [1, 2, 2, None]])
def test_a_column_names_the_group_and_a_row_without_one_stands_alone(tmp_path, page) -> None:
    events = events_of(tmp_path, "page", pl.Series(page))
    found = groups_of(events)
    by_item = dict(zip(events.frame["i"].to_list(), found.keys_N.tolist(), strict=True))
    assert by_item[10] == key_of(page[0])  # the key by which its id is known everywhere
    assert by_item[11] == by_item[12] == key_of(page[1])
    assert len(set(by_item.values())) == 3
    assert found.in_words == "page"


def test_a_column_that_is_no_id_is_refused(tmp_path) -> None:
    with pytest.raises(LogError, match="'page', which evaluation.group names, holds Float64"):
        groups_of(events_of(tmp_path, "page", pl.Series([1.0, 2.0, 2.0, 3.0])))
    with pytest.raises(LogError, match="has no column 'pagina'"):
        events_of(tmp_path, "pagina")


def test_where_no_rows_share_a_user_and_a_time_the_default_is_user_and_day() -> None:
    generator = np.random.default_rng(0)
    users = generator.integers(0, 20, 300).astype(np.uint64)
    days = generator.integers(0, 3, 300)
    apart = np.arange(300)
    found = user_groups("auto", users, apart, days)
    assert shared_rows(found.keys_N) == 0
    chosen = settled("auto", found, users, apart, days)
    assert chosen.in_words == "user and day"
    pairs = {(u, d): k for u, d, k in zip(users, days, chosen.keys_N.tolist(), strict=True)}
    assert len(set(pairs.values())) == len(pairs) == len(set(chosen.keys_N.tolist()))
    together = apart // 30
    paged = user_groups("auto", users, together, days)
    assert settled("auto", paged, users, together, days) is paged
    assert settled("user_time", found, users, apart, days) is found  # as was asked for


def test_rows_judged_under_another_group_find_theirs_in_the_log(tmp_path) -> None:
    page = pl.Series(["a", "b", "b", "c"])
    events = events_of(tmp_path, "page", page)
    rows = pl.DataFrame(
        {
            "user": events.keys("user"),
            "item": events.keys("item"),
            "time_us": events.frame["time_us"],
        }
    )
    order = [2, 0, 3, 1]
    found = looked_up(events, rows[order])
    np.testing.assert_array_equal(found, groups_of(events).keys_N[order])
    gone = rows[[0, 0]].with_columns(item=pl.lit(99, pl.UInt64))
    assert len(set(looked_up(events, gone).tolist())) == 2


def test_the_group_shapes_no_vector_and_a_mapping_names_it_by_log() -> None:
    digests = {
        parse_config(config_of(group)).digest() for group in (None, "page", {"feed": "page"})
    }
    assert len(digests) == 1
    raw = config_of({"feed": "page"})
    raw["logs"] = raw["logs"] | {"visits": raw["logs"]["feed"]}
    config = parse_config(raw)
    assert (config.group_of("feed"), config.group_of("visits")) == ("page", "auto")
    alone = parse_config(raw | {"evaluation": {"group": "page"}})
    assert (alone.group_of("feed"), alone.group_of("visits")) == ("page", "auto")
    with pytest.raises(ConfigError, match=r"evaluation.group: no log named 'fed'"):
        parse_config(config_of({"fed": "page"}))
    with pytest.raises(ConfigError, match=r"evaluation.group: is empty"):
        parse_config(config_of(""))
