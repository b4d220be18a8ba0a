"""The simulated world: seeded, honest about its truth."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from conftest import TINY, day
from headwater.cli.demo import Demonstration
from headwater.cli.main import app
from headwater.worlds.adsworld import best_reachable, write_world, writing
from headwater.worlds.adsworld.population import Population
from headwater.worlds.adsworld.traffic import affinity

CALM_DIGEST = (  # of the world before there were moods
    "94db66aba8652e15d71c75b4c97ada67fc5734cafaa33f5f203f4f13d8b0be46"
)

BEFORE_CHURN = {  # every file of that world, before there was another kind
    "impressions": "a57e807f8ea5ad8a753c1ec96c14b92e462991579d6c388a5f9c22e12a173baf",
    "visits": "6905deaf70f155273b6f6bfc722244ae9952a1b12673388269765f6fdf66e324",
    "purchases": "639dd48304e9d094914d788094f671549b94e21be79869ddaf724957237e705d",
    "truth": "9c9e35b721a0725062794537a2fbd1be323d4b00b6339973ef3684debf87b3a7",
    "users.parquet": "aa2ae6dd286c81149ab42f23e1143ab4169acd43f99cb07c0b8ab9d147959f84",
    "items.parquet": "243f7191670300bf7630526b3073d60044ff4f09f84448915d9375c7888cc6b9",
    "world.json": "fdbca8594ca9b3d4794b5318762a5aa79ed2bb0f02160ad2f732955400ef4cec",
}


def test_a_seed_is_a_world(tmp_path, world) -> None:
    write_world(tmp_path / "again", TINY, seed=7)
    write_world(tmp_path / "other", TINY, seed=8)
    names = sorted(path.relative_to(world) for path in world.rglob("*.parquet"))
    assert len(names) == 4 * TINY.days + 2
    assert all(
        (world / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names
    )
    assert any(
        (world / name).read_bytes() != (tmp_path / "other" / name).read_bytes() for name in names
    )


def test_the_calm_world_is_pinned(world) -> None:
    rows = (
        pl.read_parquet(world / "impressions" / "*.parquet")
        .with_columns(pl.col("time").dt.epoch("us"))
        .rows()
    )
    assert hashlib.sha256(repr(rows).encode()).hexdigest() == CALM_DIGEST


def test_without_churn_no_file_of_the_world_has_changed(world) -> None:
    found = {
        name: hashlib.sha256(
            b"".join(file.read_bytes() for file in sorted((world / name).glob("*.parquet")))
        ).hexdigest()
        for name in ("impressions", "visits", "purchases", "truth")
    } | {
        name: hashlib.sha256((world / name).read_bytes()).hexdigest()
        for name in ("users.parquet", "items.parquet", "world.json")
    }
    assert found == BEFORE_CHURN


def test_a_mood_changes_what_people_do_and_nothing_else(tmp_path, world) -> None:
    moody = tmp_path / "moody"
    write_world(moody, replace(TINY, mood=1.0), seed=7)
    assert json.loads((moody / "world.json").read_text())["assumptions"]["mood"] == 1.0
    for table in ("users.parquet", "items.parquet"):
        assert (moody / table).read_bytes() == (world / table).read_bytes()
    shown, calmly = (
        pl.read_parquet(folder / "impressions" / "*.parquet").drop("is_click", "is_long_click")
        for folder in (moody, world)
    )
    assert shown.equals(calmly)
    for number in range(TINY.days):
        truth, calm = (
            pl.read_parquet(folder / "truth" / f"{day(number)}.parquet")
            for folder in (moody, world)
        )
        both = truth["p_conversion"].is_not_nan() & calm["p_conversion"].is_not_nan()
        for name, rows in (("p_click", truth["p_click"].is_not_nan()), ("p_conversion", both)):
            assert 0.2 < np.corrcoef(truth[name].filter(rows), calm[name].filter(rows))[0, 1] < 0.95


def test_a_mood_is_gone_the_next_day(tmp_path, monkeypatch) -> None:
    days: list[tuple[Population, Population]] = []
    in_mood = Population.in_mood

    def watched(users: Population, amount: float, generator: np.random.Generator) -> Population:
        days.append(
            (replace(users), in_mood(users, amount, generator))
        )  # a copy: the next day turns the tastes
        return days[-1][1]

    monkeypatch.setattr(Population, "in_mood", watched)
    write_world(tmp_path / "w", replace(TINY, users=4_000, days=2, mood=1.0), seed=1)
    for name in ("click_NL", "buy_NL"):
        asides = []
        for users, today in days:
            steady, tastes = getattr(users, name)[:4_000], getattr(today, name)[:4_000]
            cosine = affinity(steady, tastes)
            assert 0.65 < cosine.mean() < 0.75
            asides.append(
                tastes - cosine[:, None] * steady
            )  # to the side: along itself each taste is shorter on any day
        assert abs(affinity(*asides).mean()) < 0.02 < 0.3 < affinity(asides[0], asides[0]).mean()
    (users, today), _ = days
    assert affinity(today.click_NL, today.buy_NL).mean() == pytest.approx(
        affinity(users.click_NL, users.buy_NL).mean(), abs=0.05
    )


def test_init_and_demo_take_a_mood(tmp_path, monkeypatch) -> None:
    def run(command: str, out: str, mood: float) -> int:
        data = (
            ["adsworld", "--data", str(tmp_path / out / "world"), "--days", "1"]
            if command == "init"
            else []
        )
        return (
            CliRunner()
            .invoke(
                app,
                [
                    command,
                    *data,
                    "--out",
                    str(tmp_path / out),
                    "--size",
                    "tiny",
                    "--mood",
                    str(mood),
                ],
            )
            .exit_code
        )

    def mood_of(out: str) -> float:
        return json.loads((tmp_path / out / "world" / "world.json").read_text())["assumptions"][
            "mood"
        ]

    nothing = Demonstration((), {"click": 0, "conversion": 0}, report="", factory="")
    asked = []
    monkeypatch.setattr(
        "headwater.cli.demo.run_demo", lambda *arguments: (asked.append(arguments), nothing)[1]
    )
    assert run("init", "i", 0.8) == 0
    assert mood_of("i") == 0.8
    assert run("init", "i", 0.3) == 0
    assert mood_of("i") == 0.8  # a world that lies there is used as it is
    assert run("demo", "d", 0.8) == 0
    assert asked[0][1].mood == 0.8
    assert all(run("init", "none", wrong) for wrong in (-1.0, np.nan, np.inf))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("mood", [0.0, 1.0])
def test_true_probabilities_are_true(tmp_path, mood) -> None:
    write_world(tmp_path / "w", replace(TINY, impressions_a_day=20_000, days=2, mood=mood), seed=1)
    rows = pl.read_parquet(tmp_path / "w" / "impressions" / "*.parquet").join(
        pl.read_parquet(tmp_path / "w" / "truth" / "*.parquet"), on="impression_id"
    )
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
    first, last = (
        pl.read_parquet(world / "impressions" / f"{day(n)}.parquet")["ad_id"].unique()
        for n in (0, TINY.days - 1)
    )
    assert set(last) - set(first)
    assert pl.read_parquet(world / "items.parquet")["created"].n_unique() > 1


def test_a_large_day_is_written_in_chunks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writing, "CHUNK_ROWS", 300)
    write_world(tmp_path / "w", replace(TINY, impressions_a_day=1_000, days=2), seed=1)
    assert len(list((tmp_path / "w" / "impressions").glob(f"{day(0)}-*.parquet"))) == 4
    ids = pl.read_parquet(tmp_path / "w" / "impressions" / "*.parquet")["impression_id"]
    assert ids.n_unique() == 2_000
