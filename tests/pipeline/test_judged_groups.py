"""The group of a judged row: kept with it, found again under another config, and what a day's
report says of the order within it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import day
from headwater.config import parse_config
from headwater.evaluation.within import daily_auc, group_auc
from headwater.evidence import ask, table_of
from headwater.factory import Factory
from headwater.ids import keys_of
from headwater.store.reports import DayReport, Quality
from headwater.workspace import Workspace


def with_pages(factory: Factory) -> None:
    """Every impression gets the page it was shown on: one a user and six hours."""
    for path in sorted((factory.workspace.root / "world" / "impressions").glob("*.parquet")):
        frame = pl.read_parquet(path)
        page = pl.concat_str("user_id", pl.col("time").dt.truncate("6h").cast(pl.String))
        frame.with_columns(page=page).write_parquet(path)


def by(group: str) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        raw["evaluation"]["group"] = group

    return change


@pytest.fixture
def paged(make_factory) -> Factory:
    """Two days, judged within pages."""
    factory = make_factory(by("page"))
    with_pages(factory)
    for n in range(2):
        factory.run_day(day(n))
    return factory


def seen_by(factory: Factory, group: str) -> Workspace:
    """The same warehouse under another `evaluation.group`."""
    span = factory.config.evaluation.model_copy(update={"group": group})
    config = parse_config(
        factory.config.model_copy(update={"evaluation": span}).model_dump(exclude_unset=True)
    )
    return Workspace.of(config, factory.workspace.root)


def pages_of(factory: Factory, n: int) -> pl.DataFrame:
    """The page of every impression of a day, by what a judged row is known by."""
    raw = pl.read_parquet(factory.workspace.root / "world" / "impressions" / f"{day(n)}.parquet")
    return pl.DataFrame(
        {
            "user": keys_of(raw["user_id"]),
            "item": keys_of(raw["ad_id"]),
            "time_us": raw["time"].cast(pl.Int64),
            "page": keys_of(raw["page"]),
        }
    )


def test_judged_rows_keep_the_key_of_their_group(paged) -> None:
    kept = pl.read_parquet(paged.workspace.layout.judged("ctr", day(1)))
    assert set(kept["group_of"]) == {"page"}
    joined = kept.join(pages_of(paged, 1), on=["user", "item", "time_us"])
    assert len(joined) == len(kept)
    assert (joined["group"] == joined["page"]).all()
    judged = paged.workspace.judged("ctr", [day(1)])
    assert judged.group == "page"
    np.testing.assert_array_equal(judged.groups_N, kept["group"].to_numpy())


def test_another_group_is_another_table_and_the_same_factory(paged, make_factory) -> None:
    """Nothing is run again: groups of user and time come from the rows, those of a column that was
    not kept from the log.
    """
    of_day = seen_by(paged, "user_day")
    assert of_day.config.digest() == paged.config.digest()
    assert of_day.judged("ctr", [day(1)]).group == "user and day"
    report = paged.run_day(day(1))
    assert Factory(of_day.declared, of_day.root).run_day(day(1)) == report  # a no-op
    other = make_factory(by("auto"), name="other")
    with_pages(other)
    for n in range(2):
        other.run_day(day(n))
    assert other.workspace.judged("ctr", [day(1)]).group == "user and day"  # no two rows together
    assert set(pl.read_parquet(other.workspace.layout.judged("ctr", day(1)))["group_of"]) == {
        "user_time"
    }
    np.testing.assert_array_equal(
        seen_by(other, "page").judged("ctr", [day(1)]).groups_N,
        paged.workspace.judged("ctr", [day(1)]).groups_N,
    )
    assert other.workspace.edition(day(1)).digest == paged.workspace.edition(day(1)).digest


def test_a_table_says_within_what_rows_compete(paged) -> None:
    for group, words in (("page", "within page"), ("user_day", "within user and day")):
        table = table_of(ask(seen_by(paged, group), "T2"))
        assert any(words in note for note in table.notes)
        assert {row["group_of"] for row in table.rows} == {words.removeprefix("within ")}
        judged = seen_by(paged, group).judged("ctr", [day(1)])
        scores = judged.scores["all"][0]
        found = {row["variant"]: row for row in table.rows if row["baseline"] == "none"}
        for metric, key in ((daily_auc, "daily_auc"), (group_auc, "group_auc")):
            assert found["all"][key] == pytest.approx(metric(judged, scores).value)


def test_rows_judged_before_groups_were_kept_have_them_too(paged) -> None:
    path = paged.workspace.layout.judged("ctr", day(1))
    pl.read_parquet(path).drop("group", "group_of").write_parquet(path)
    for group in ("user_time", "user_day", "page"):
        judged = seen_by(paged, group).judged("ctr", [day(1)])
        assert len(judged.groups_N) == len(judged.labels_N)
    joined = pl.read_parquet(path).join(pages_of(paged, 1), on=["user", "item", "time_us"])
    np.testing.assert_array_equal(judged.groups_N, joined["page"].to_numpy())


def test_a_day_s_report_has_the_order_within_groups_by_loops_over_pairs(paged) -> None:
    report = paged.run_day(day(1))
    quality = report.quality["ctr"]
    assert quality.group == "page"
    rows = pl.read_parquet(paged.workspace.layout.judged("ctr", day(1)))
    for variant in ("none", "all", "shuffled"):
        won = total = 0.0
        for _, page in rows.group_by("group"):
            scores = page[f"{variant}|0"].to_numpy()
            clicked = page["label"].to_numpy() == 1
            if clicked.all() or not clicked.any():
                continue
            less = scores[clicked][:, None] - scores[~clicked]
            won += len(page) * ((less > 0) + (less == 0) / 2).mean()
            total += len(page)
        assert quality.group_auc[variant] == pytest.approx(won / total, abs=1e-9)
    raw = report.as_json()
    assert DayReport.from_json(raw) == report
    older = {name: raw["quality"]["ctr"][name] for name in ("day", "rows", "roc_auc")}
    assert Quality.from_json(older).group_auc == {}
