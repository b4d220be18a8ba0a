"""Entities exist from a time on: nobody gets a vector before, is served, indexed, or drawn as a
negative; and the audit finds who did.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import conftest
from conftest import day
from headwater.cli.checking import check_factory
from headwater.config import parse_config
from headwater.config.base import shaping
from headwater.errors import ConfigError, LeakError
from headwater.events.entities import EntityTable
from headwater.events.times import day_bounds_us
from headwater.factory import Factory
from headwater.ids import keys_of
from headwater.models.upstream.derm.learning import parts_of
from headwater.schema import Entity
from headwater.serving.reader import Reader

RUN = [day(n) for n in range(4)]


def only_ctr(raw: dict[str, Any], **upstream: Any) -> None:
    raw["upstreams"] = {"ctr": raw["upstreams"]["ctr"] | upstream}
    raw["downstream"] = {}


def with_content(raw: dict[str, Any]) -> None:
    only_ctr(raw, content_vectors=["user", "item"])


def table_of(factory: Factory, name: str, key: str) -> pl.DataFrame:
    frame = pl.read_parquet(factory.workspace.root / "world" / f"{name}s.parquet")
    return frame.with_columns(key=pl.Series(keys_of(frame[key])))


def held(factory: Factory, now: dt.date, name: str) -> np.ndarray:
    return np.array(factory.workspace.edition(now).part(name).keys)


# ---- no vector before ----------------------------------------------------------------------------


def test_no_edition_holds_anyone_who_is_created_later(make_factory) -> None:
    factory = make_factory(with_content)
    later = dict[str, int]()
    for now in RUN:
        factory.run_day(now)
        end = dt.datetime.combine(now + dt.timedelta(days=1), dt.time())
        for name, key, column in (("user", "user_id", "joined"), ("item", "ad_id", "created")):
            table = table_of(factory, name, key)
            born = table.filter(pl.col(column) < end)["key"].to_numpy()
            there = held(factory, now, f"ctr_{name}")
            # everyone listed who exists, and nobody else
            np.testing.assert_array_equal(there, np.sort(born))
            later[name] = later.get(name, 0) + len(table) - len(born)
    assert later["user"] > 3
    assert later["item"] > 3
    # they are served and indexed from what the edition holds alone
    reader = Reader(factory.workspace)
    found = reader.retrieve(int(table_of(factory, "user", "user_id")["user_id"][0]), k=100)
    ids = set(table_of(factory, "item", "ad_id").filter(pl.col("created") < end)["ad_id"])
    assert set(found.ids) == ids


def moved(factory: Factory, chosen: pl.Expr, moment: Any) -> list[str]:
    """Ads of the table for which it tells another moment of creation; their ids."""
    file = factory.workspace.root / "world" / "items.parquet"
    items = pl.read_parquet(file)
    told = pl.when(chosen).then(pl.lit(moment, items.schema["created"])).otherwise("created")
    items.with_columns(created=told).write_parquet(file)
    return items.filter(chosen)["ad_id"].to_list()


def shown_on(factory: Factory, now: dt.date) -> list[str]:
    rows = pl.read_parquet(factory.workspace.root / "world" / "impressions" / f"{now}.parquet")
    return rows["ad_id"].unique(maintain_order=True).to_list()


def test_what_the_table_tells_counts_even_where_rows_show_an_entity_earlier(make_factory) -> None:
    factory = make_factory(lambda raw: only_ctr(raw, uniform_negatives=8))
    early = shown_on(factory, day(0))[:5]
    midnight = dt.datetime.combine(day(2), dt.time())
    moved(factory, pl.col("ad_id").is_in(early), midnight)
    keys = keys_of(pl.Series(early))
    pools = []
    for now in RUN[:3]:
        work = conftest.derm_days(factory, conftest.read_day(factory, now))["ctr"]
        drawn = np.concatenate(
            [part.examples.keys["item"][part.items_I] for part in parts_of(work)]
        )
        pools.append(np.isin(keys, drawn).any())
        factory.run_day(now)
        shown = np.isin(keys, keys_of(pl.Series(shown_on(factory, now))))
        there = np.isin(keys, held(factory, now, "ctr_item"))
        np.testing.assert_array_equal(there, shown if now >= day(2) else np.zeros(5, bool))
    assert pools == [False, False, True]


def test_the_end_of_the_day_is_the_border(tmp_path) -> None:
    frame = pl.DataFrame(
        {
            "ad": ["a", "b", "c", "d"],
            "made": [
                dt.datetime(2025, 1, 6, 23, 59, 59, 999_999),
                dt.datetime(2025, 1, 7),
                None,
                dt.datetime(1970, 1, 1),  # no time of ours
            ],
        }
    )
    frame.write_parquet(tmp_path / "ads.parquet")
    entity = Entity("item", (str(tmp_path / "ads.parquet"),), "ad", {}, "made")
    shanghai = parse_config(
        {
            "name": "x",
            "time_zone": "Asia/Shanghai",
            "logs": {"l": {"path": "l.csv", "time": "t", "entities": {"user": "u", "item": "i"}}},
            "entities": {"user": {}, "item": {}},
            "tasks": {"click": {"log": "l", "label": "c"}},
            "upstreams": {"ctr": {"tasks": ["click"]}},
        }
    ).zone
    existence = EntityTable(entity, shanghai).existence
    end_us = day_bounds_us(dt.date(2025, 1, 6), shanghai)[1]
    assert existence.to_come(end_us).tolist() == keys_of(pl.Series(["b"])).tolist()
    assert existence.untold == 2


def test_whom_nothing_tells_of_exists_from_first_sight_in_any_log(make_factory) -> None:
    """Without a declared time, and for rows that have none, a vector of content is for those whom a
    log has shown: visits show ads that impressions do not.
    """

    def change(raw: dict[str, Any]) -> None:
        raw["upstreams"]["ctr"]["content_vectors"] = ["item"]
        raw["entities"]["item"].pop("exists_from")
        raw["downstream"] = {}

    undeclared = make_factory(change, name="undeclared")

    def declared(raw: dict[str, Any]) -> None:
        change(raw)
        raw["entities"]["item"]["exists_from"] = "created"

    untold = make_factory(declared, name="untold")
    moved(untold, pl.lit(True), None)
    for factory in (undeclared, untold):
        seen, content = set[str](), 0
        for now in RUN[:3]:
            visits = pl.read_parquet(factory.workspace.root / "world" / "visits" / f"{now}.parquet")
            shown = shown_on(factory, now)
            content += len(set(visits["ad_id"]) - seen - set(shown))
            seen |= {*shown, *visits["ad_id"]}
            factory.run_day(now)
            expected = np.sort(keys_of(pl.Series(sorted(seen))))
            np.testing.assert_array_equal(held(factory, now, "ctr_item"), expected)
        assert content > 0
        assert len(seen) < len(table_of(factory, "item", "ad_id"))


def test_who_is_listed_for_tomorrow_changes_nothing_today(make_factory) -> None:
    """Tables grow: a day that is made again is made of the same, and recognised."""
    factory = make_factory(with_content)
    file = factory.workspace.root / "world" / "items.parquet"
    items = pl.read_parquet(file)
    now = dt.datetime.combine(day(1), dt.time())
    items.filter(pl.col("created") < now).write_parquet(file)
    first = factory.run_day(day(0)).edition
    models = sorted((factory.workspace.root / "warehouse" / "models").rglob("model.json"))
    items.write_parquet(file)
    again = Factory(factory.config, factory.workspace.root)
    assert again.run_day(day(0), replay=True).edition == first
    assert sorted((factory.workspace.root / "warehouse" / "models").rglob("model.json")) == models


# ---- the audit -----------------------------------------------------------------------------------


def run_shop(root: Path, world: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The factory.yaml of a tiny ads world with content vectors that ran four days."""
    shutil.copytree(world, root / "world")
    raw = conftest.tiny_config(world, Path("world"))
    raw["upstreams"] = {"ctr": raw["upstreams"]["ctr"] | {"content_vectors": ["item"]}}
    raw["downstream"] = {"ctr": raw["downstream"]["ctr"] | {"variants": ["none", "all"]}}
    change(raw)
    path = root / "factory.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(raw)), sort_keys=False))
    for _ in Factory.load(path).backfill(RUN[0], RUN[-1]):
        pass
    return path


def test_vectors_of_who_did_not_exist_fail_the_lift_with_counts(tmp_path, world) -> None:
    """A table that was wrong when the days ran says that all ads exist from the first day: they got
    vectors before they were shown. With the true table, or by their first sight where none is told,
    that is found.
    """
    wrong = tmp_path / "wrong.parquet"
    items = pl.read_parquet(world / "items.parquet")
    first = pl.lit(dt.datetime.combine(day(0), dt.time()))
    items.with_columns(created=first.cast(items.schema["created"])).write_parquet(wrong)

    def change(raw: dict[str, Any]) -> None:
        raw["entities"]["item"]["table"] = str(wrong)

    path = run_shop(tmp_path / "shop", world, change)
    conftest.table_at(path, "T2")  # by that table all is well
    rows = pl.concat(
        [
            pl.read_parquet(world / "impressions" / f"{now}.parquet").with_columns(day=pl.lit(now))
            for now in RUN[1:]
        ]
    )
    created = items.select("ad_id", pl.col("created").dt.date())
    early = rows.join(created, on="ad_id").filter(pl.col("day") == pl.col("created"))
    told = (
        rf"entities.item: {len(early):,} of {len(rows):,} judged rows were served a vector that was"
        rf" made before their item existed \({early['ad_id'].n_unique()} items\)"
    )
    assert len(early) > 5
    raw = yaml.safe_load(path.read_text())
    for how in ({"exists_from": "created"}, {"exists_from": None}):
        raw["entities"]["item"] |= {"table": "world/items.parquet"} | how
        path.write_text(yaml.safe_dump(raw))
        with pytest.raises(LeakError, match=told):
            conftest.table_at(path, "T2")
    raw["evaluation"]["trusted"] = ["entities.item"]
    path.write_text(yaml.safe_dump(raw))
    notes = conftest.table_at(path, "T2").notes
    assert any("entities.item: trusted, as evaluation.trusted says; " in note for note in notes)


# ---- the config ----------------------------------------------------------------------------------


def test_check_counts_of_whom_no_time_can_be_read(tmp_path, world) -> None:
    shutil.copytree(world, tmp_path / "world")
    raw = conftest.tiny_config(world, Path("world"))
    raw["upstreams"]["ctr"]["content_vectors"] = ["user"]
    raw["entities"]["user"].pop("exists_from")
    file = tmp_path / "world" / "items.parquet"
    items = pl.read_parquet(file)
    items.with_columns(
        created=pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise("created")
    ).write_parquet(file)
    path = tmp_path / "factory.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(raw))))
    notes = check_factory(path).notes
    assert notes[0] == (
        f"entities.item.exists_from: 7 of {len(items)} rows have no readable time in 'created';"
        " those exist from their first sight in a log"
    )
    assert notes[1].startswith("upstreams.ctr: entities.user has no exists_from, so ")
    assert len(notes) == 2


def test_integers_count_what_is_declared(tmp_path, world) -> None:
    raw = conftest.tiny_config(world)

    def unit(**spec: Any) -> str:
        changed = raw | {"entities": raw["entities"] | {"item": raw["entities"]["item"] | spec}}
        return parse_config(changed).entities["item"].exists_unit

    features = raw["entities"]["item"]["features"]
    in_seconds = features | {"created": {"kind": "timestamp", "unit": "s"}}
    assert unit() == "ms"
    assert unit(features=in_seconds) == "s"
    assert unit(features=in_seconds, exists_from_unit="us") == "us"
    assert unit(exists_from="born", exists_from_unit="s") == "s"


def test_a_column_needs_a_table_and_none_changes_no_digest(world) -> None:
    raw = conftest.tiny_config(world)
    entity = raw["entities"]["item"]
    with pytest.raises(ConfigError, match="entities.item.exists_from: there is no table to read"):
        parse_config(raw | {"entities": raw["entities"] | {"item": {"exists_from": "created"}}})
    entity.pop("exists_from")
    digested = shaping(parse_config(raw).entities["item"])
    assert not {"exists_from", "exists_from_unit"} & set(digested)
