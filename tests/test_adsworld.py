"""The simulated world: seeded, honest about its truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from conftest import TINY, day
from headwater.events.adsworld import best_reachable, write_world, writing


def test_a_seed_is_a_world(tmp_path, world) -> None:
    write_world(tmp_path / "again", TINY, seed=7)
    write_world(tmp_path / "other", TINY, seed=8)
    names = sorted(path.relative_to(world) for path in world.rglob("*.parquet"))
    assert len(names) == 4 * TINY.days + 2
    assert all((world / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    assert any((world / name).read_bytes() != (tmp_path / "other" / name).read_bytes() for name in names)


def test_true_probabilities_are_true(tmp_path) -> None:
    write_world(tmp_path / "w", replace(TINY, impressions_a_day=20_000, days=2), seed=1)
    rows = pl.read_parquet(tmp_path / "w" / "impressions" / "*.parquet").join(pl.read_parquet(tmp_path / "w" / "truth" / "*.parquet"), on="impression_id")
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 1)):
        part = rows.filter(pl.col("p_click").is_between(low, high))
        error = np.sqrt((part["p_click"] * (1 - part["p_click"])).mean() / len(part))
        assert abs(part["is_click"].mean() - part["p_click"].mean()) < 4 * error
    best = best_reachable(tmp_path / "w", day(0), day(1))
    assert best["click"] == roc_auc_score(rows["is_click"].to_numpy(), rows["p_click"].to_numpy())
    assert 0.7 < best["click"] < 0.95


def test_purchases_arrive_late_and_only_after_a_visit(world) -> None:
    visits = pl.read_parquet(world / "visits" / "*.parquet")
    purchases = pl.read_parquet(world / "purchases" / "*.parquet")
    joined = purchases.join(visits, on="visit_id", suffix="_visit")
    assert len(joined) == len(purchases)
    delay = (joined["time"] - joined["time_visit"]).dt.total_seconds() / 86_400
    assert delay.min() > 0
    assert (delay > 1).mean() > 0.1


def test_people_and_ads_come_and_go(world) -> None:
    first, last = (pl.read_parquet(world / "impressions" / f"{day(n)}.parquet")["ad_id"].unique() for n in (0, TINY.days - 1))
    assert set(last) - set(first)
    assert pl.read_parquet(world / "items.parquet")["created"].n_unique() > 1


def test_a_large_day_is_written_in_chunks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writing, "CHUNK_ROWS", 300)
    write_world(tmp_path / "w", replace(TINY, impressions_a_day=1_000, days=2), seed=1)
    assert len(list((tmp_path / "w" / "impressions").glob(f"{day(0)}-*.parquet"))) == 4
    ids = pl.read_parquet(tmp_path / "w" / "impressions" / "*.parquet")["impression_id"]
    assert ids.n_unique() == 2_000
