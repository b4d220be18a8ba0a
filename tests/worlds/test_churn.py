"""A world of churn: pages of several items with one click each, most of them new that day."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from conftest import TINY, day
from headwater.cli.main import app
from headwater.config import parse_config
from headwater.recipes import RECIPES
from headwater.worlds.adsworld import Churn, best_reachable, write_world, writing
from headwater.worlds.adsworld.population import Nature
from headwater.worlds.adsworld.publishing import new_readers

SITE = replace(TINY, users=150, items=120, impressions_a_day=3_000, days=4, churn=Churn())
LATE = Churn().published_until_h


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("churn") / "world"
    write_world(folder, SITE, seed=3)
    return folder


def log_of(folder: Path) -> pl.DataFrame:
    shown = pl.read_parquet(folder / "impressions" / "*.parquet")
    truth = pl.read_parquet(folder / "truth" / "*.parquet")
    items = pl.read_parquet(folder / "items.parquet").select("item_id", "created")
    return shown.join(truth, on="impression_id").join(items, on="item_id").sort("impression_id")


def share_of_today(rows: pl.DataFrame) -> float:
    return float((rows["time"].dt.date() == rows["created"].dt.date()).mean())


def test_a_seed_is_a_world(site, tmp_path) -> None:
    write_world(tmp_path / "again", SITE, seed=3)
    write_world(tmp_path / "other", SITE, seed=4)
    names = sorted(path.relative_to(site) for path in site.rglob("*.parquet"))
    assert len(names) == 2 * SITE.days + 2
    for name in [*names, Path("world.json")]:
        assert (site / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        assert (site / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_a_page_is_one_request_of_distinct_items_with_one_click(site) -> None:
    rows = log_of(site)
    pages = rows.group_by("request_id").agg(
        pl.len(),
        pl.col("item_id").n_unique().alias("items"),
        pl.col("time").n_unique().alias("times"),
        pl.col("user_id").n_unique().alias("users"),
        pl.col("is_click").sum().cast(pl.Int64),
        pl.col("position").sort().alias("positions"),
    )
    assert len(pages) == SITE.days * 300
    assert (pages["len"] == 10).all()
    assert (pages["items"] == 10).all()
    for one in ("times", "users", "is_click"):
        assert (pages[one] == 1).all()
    assert all(list(places) == list(range(1, 11)) for places in pages["positions"])
    assert rows["impression_id"].to_list() == list(range(1, len(rows) + 1))
    assert rows["request_id"].is_sorted()
    assert rows["time"].dt.date().n_unique() == SITE.days


def test_nothing_is_shown_before_it_is_published_or_after_it_is_gone(site) -> None:
    rows = log_of(site)
    hours = (rows["time"] - rows["created"]).dt.total_microseconds() / 3_600_000_000
    assert hours.min() >= 0
    assert hours.max() <= (4 + 1) * 24
    np.testing.assert_allclose(rows["age_hours"], hours, rtol=1e-5, atol=1e-6)
    first = rows.group_by("item_id").agg(pl.col("time").min(), pl.col("created").first())
    new = first.filter(pl.col("created").dt.date() >= SITE.first_day)
    assert (new["time"].dt.date() == new["created"].dt.date()).mean() > 0.9


@pytest.mark.parametrize(("share", "low", "high"), [(0.65, 0.58, 0.66), (0.2, 0.15, 0.22)])
def test_so_much_of_a_day_is_of_the_day(tmp_path, share, low, high) -> None:
    churn = replace(Churn(), fresh_share=share)
    write_world(tmp_path / "w", replace(SITE, items=600, days=2, churn=churn), seed=1)
    assert low < share_of_today(log_of(tmp_path / "w")) < high


def test_the_catalogue_keeps_its_size(site) -> None:
    items = pl.read_parquet(site / "items.parquet")
    a_day = items.group_by(pl.col("created").dt.date()).len().sort("created")
    assert a_day["created"].to_list() == [SITE.first_day + dt.timedelta(n) for n in range(-4, 4)]
    assert (a_day["len"] == SITE.items / 4).all()
    assert items["created"].is_sorted()
    assert (items["created"].dt.hour() < LATE).all()
    assert "picture" not in items.columns


def test_a_page_size_of_its_own(tmp_path) -> None:
    few = replace(SITE, days=1, churn=replace(Churn(), page_size=4))
    write_world(tmp_path / "w", few, seed=1)
    assert set(log_of(tmp_path / "w").group_by("request_id").len()["len"]) == {4}


def test_a_shelf_that_is_nearly_empty_makes_shorter_pages(tmp_path) -> None:
    write_world(tmp_path / "w", replace(SITE, days=2, items=8, impressions_a_day=500), seed=1)
    pages = (
        log_of(tmp_path / "w")
        .group_by("request_id")
        .agg(pl.len(), pl.col("item_id").n_unique().alias("items"), pl.col("is_click").sum())
    )
    assert pages["len"].min() < 10
    assert (pages["len"] == pages["items"]).all()
    assert (pages["is_click"] == 1).all()


def test_few_people_read_most_pages(site) -> None:
    pages = log_of(site).group_by("user_id").agg(pl.col("request_id").n_unique())
    ordered = np.sort(pages["request_id"].to_numpy())[::-1]
    assert 0.45 < ordered[: SITE.users // 5].sum() / ordered.sum() < 0.75
    assert ordered[0] < 0.3 * ordered.sum()


@pytest.mark.parametrize("seed", range(5))
def test_nobody_reads_more_than_a_day_holds(seed) -> None:
    a = replace(SITE, users=60_000)
    nature = Nature.of(a, np.random.default_rng(0))
    readers = new_readers(60_000, 1, a.first_day, a, nature, np.random.default_rng(seed))
    assert readers.weight_N.max() < 0.001 * readers.weight_N.sum()
    assert readers.weight_N.max() / readers.weight_N.min() <= 100


def test_true_probabilities_are_true(tmp_path) -> None:
    many = replace(SITE, users=2_000, items=600, impressions_a_day=60_000, days=1)
    write_world(tmp_path / "w", many, seed=2)
    rows = log_of(tmp_path / "w")
    sums = rows.group_by("request_id").agg(pl.col("p_click").cast(pl.Float64).sum())["p_click"]
    np.testing.assert_allclose(sums, 1, atol=1e-6)
    clicked = rows.filter(pl.col("is_click") == 1)
    for label, chance, frame, cuts in (
        ("is_click", "p_click", rows, (0, 0.05, 0.2, 0.5, 1)),
        ("is_long_click", "p_long_click", clicked, (0, 0.5, 0.7, 1)),
    ):
        for low, high in pairwise(cuts):
            part = frame.filter(pl.col(chance).is_between(low, high))
            # (one click a page makes the error smaller still)
            error = np.sqrt((part[chance] * (1 - part[chance])).sum()) / len(part)
            assert abs(part[label].mean() - part[chance].mean()) < 4 * error


def test_a_choice_is_the_softmax_of_utilities_within_a_page(site) -> None:
    page = log_of(site).filter(pl.col("request_id") == 17)
    powers = np.exp(page["utility"].to_numpy().astype(float))
    np.testing.assert_allclose(page["p_click"], powers / powers.sum(), rtol=1e-4)


def test_a_long_click_is_known_by_its_seconds(site) -> None:
    rows = log_of(site)
    clicked = rows.filter(pl.col("is_click") == 1)
    assert rows.filter(pl.col("is_click") == 0)["dwell_s"].is_null().all()
    assert not clicked["dwell_s"].is_null().any()
    assert ((clicked["dwell_s"] >= 30) == (clicked["is_long_click"] == 1)).all()
    assert rows.filter(pl.col("is_click") == 0)["is_long_click"].sum() == 0
    assert 0.2 < clicked["is_long_click"].mean() < 0.9


def test_the_best_that_can_be_reached_counted_pair_by_pair(site) -> None:
    best = best_reachable(site, day(1), day(2))
    rows = log_of(site).filter(pl.col("time").dt.date().is_between(day(1), day(2)))
    assert best["click"] == pytest.approx(roc_auc_score(rows["is_click"], rows["p_click"]))
    assert best["click_row_by_row"] == roc_auc_score(rows["is_click"], rows["utility"])
    days = [rows.filter(pl.col("time").dt.date() == one) for one in (day(1), day(2))]
    daily = [roc_auc_score(one["is_click"], one["p_click"]) for one in days]
    assert best["click_daily"] == pytest.approx(np.mean(daily))  # days are of one size
    shares = []
    for page in rows.partition_by("request_id"):
        clicked = page["is_click"].to_numpy() == 1
        chances = page["p_click"].to_numpy()
        others = chances[~clicked]
        won = (others < chances[clicked]).sum() + 0.5 * (others == chances[clicked]).sum()
        shares.append(won / len(others))
    assert best["click_in_request"] == pytest.approx(np.mean(shares))
    clicked_rows = rows.filter(pl.col("is_click") == 1)
    assert best["long_click"] == pytest.approx(
        roc_auc_score(clicked_rows["is_long_click"], clicked_rows["p_long_click"])
    )
    assert 0.5 < best["click_row_by_row"] <= best["click"] < 1


def test_a_large_day_is_written_in_chunks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writing, "CHUNK_ROWS", 700)
    write_world(tmp_path / "w", replace(SITE, days=2), seed=1)
    assert len(list((tmp_path / "w" / "impressions").glob(f"{day(0)}-*.parquet"))) == 5
    rows = log_of(tmp_path / "w")
    assert rows["impression_id"].to_list() == list(range(1, 6_001))
    assert rows["request_id"].n_unique() == 600
    assert set(rows.group_by("request_id").len()["len"]) == {10}


def test_moods_reach_pages_too(site, tmp_path) -> None:
    write_world(tmp_path / "w", replace(SITE, mood=1.0), seed=3)
    moody, calm = log_of(tmp_path / "w"), log_of(site)
    assert moody["item_id"].head(3_000).equals(calm["item_id"].head(3_000))
    assert 0.2 < np.corrcoef(moody["utility"][:3_000], calm["utility"][:3_000])[0, 1] < 0.95


# ---- commands and recipe -------------------------------------------------------------------------


def init(out: Path, *arguments: str) -> tuple[int, str]:
    data = ["adsworld", "--data", str(out / "world"), "--size", "tiny", "--days", "2"]
    done = CliRunner().invoke(app, ["init", *data, "--out", str(out), *arguments])
    return done.exit_code, done.output + str(done.exception or "")


def test_init_makes_a_world_of_churn_and_its_factory(tmp_path) -> None:
    code, told = init(
        tmp_path, "--churn", "--users", "99", "--page-size", "5", "--fresh-share", "0.5"
    )
    assert code == 0, told
    stated = json.loads((tmp_path / "world" / "world.json").read_text())["assumptions"]
    assert stated["users"] == 99
    assert stated["churn"]["page_size"] == 5
    assert stated["churn"]["fresh_share"] == 0.5
    assert stated["churn"]["position_power"] == Churn().position_power
    config = parse_config(yaml.safe_load((tmp_path / "factory.yaml").read_text()))
    assert config.tasks["long_click"].given == "click"
    assert set(config.downstream) == {"ctr", "long_click"}
    assert (
        CliRunner().invoke(app, ["check", "--factory", str(tmp_path / "factory.yaml")]).exit_code
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--page-size", "5"], "--page-size: only a world of pages has any; add --churn"),
        (["--page-size", "5", "--fresh-share", "0.5"], "--page-size and --fresh-share"),
        (["--churn", "--page-size", "1"], "no page of 1"),
        (["--churn", "--fresh-share", "1.5"], "no share 1.5"),
    ],
)
def test_impossible_pages_are_refused(tmp_path, arguments, told) -> None:
    code, output = init(tmp_path, *arguments)
    assert code != 0
    assert told in output
    assert not (tmp_path / "world").exists()


def test_the_recipe_reads_nothing_that_a_click_comes_before(site) -> None:
    raw = RECIPES["adsworld"].config(site, site)
    assert "dwell_s" not in json.dumps(raw)
    assert raw["upstreams"] == {"ctr": {"tasks": ["click", "long_click"]}}
