"""Leaks, planted: each becomes visible as an AUC that coin flips cannot have, and without it there is none."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headwater.config import parse_config
from headwater.embeddings import Served
from headwater.errors import LeakError
from headwater.evaluation import metrics_of
from headwater.models.downstream import ArmTask, fit_arm, predict_arm
from headwater.pipeline import Factory

DAYS = 4
FIRST = dt.date(2025, 1, 1)
USERS, ROWS = 400, 1200


def day(n: int) -> dt.date:
    return FIRST + dt.timedelta(days=n)


def write_coin_flips(folder: Path, planted: str) -> None:
    """A log whose clicks are coin flips: nothing can predict them, except a leak."""
    generator = np.random.default_rng(0)
    frames = []
    for n in range(DAYS):
        start = int(dt.datetime.combine(day(n), dt.time(1), tzinfo=dt.UTC).timestamp() * 1000)
        # each user keeps one coin for the day, so that whoever has seen the day knows it
        coins = generator.integers(0, 2, USERS)
        users = generator.integers(0, USERS, ROWS)
        frames.append(pl.DataFrame({"ts": start + 1000 * np.arange(ROWS), "u": users, "i": generator.integers(0, 50, ROWS), "click": coins[users]}))
    log = pl.concat(frames)
    rates = log.group_by("u").agg(rate=pl.col("click").mean()) if planted == "statistic" else pl.DataFrame({"u": np.arange(USERS), "rate": 0.5})
    log.write_parquet(folder / "log.parquet")
    rates.write_parquet(folder / "users.parquet")


def make_factory(folder: Path, planted: str = "none") -> Factory:
    write_coin_flips(folder, planted)
    return Factory(parse_config({
        "name": "coins", "workers": 0, "gates": {"settle_days": 99},
        "logs": {"feed": {"path": "log.parquet", "time": "ts", "entities": {"user": "u", "item": "i"}}},
        "entities": {"user": {"table": "users.parquet", "key": "u", "features": {"rate": {"kind": "numeric", "log": False}}}, "item": {}},
        "tasks": {"click": {"log": "feed", "label": "click"}},
        "upstreams": {"ctr": {"tasks": ["click"], "size": "tiny", "epochs": 15, "batch_rows": 128}},
        "downstream": {"ctr": {"task": "click", "arms": ["none", "ctr_user"], "seeds": [0], "counters": "none", "id_buckets": 1,
                               "batch_rows": 64, "epochs": 3, "learning_rate": 0.01, "projection": {"dropout": 0.0}}},
        "evaluation": {"start": str(day(1)), "bootstrap": 10},
    }), folder)  # fmt: skip


def auc_by_arm(factory: Factory) -> dict[str, float]:
    for _ in factory.backfill(day(0), day(DAYS - 1)):
        pass
    judged = factory.judgements.pooled("ctr", day(1), None, factory.days_done())
    return {arm: metrics_of(judged.labels_N, scores[0]).roc_auc for arm, scores in judged.scores.items()}


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> tuple[Factory, dict[str, float]]:
    factory = make_factory(tmp_path_factory.mktemp("honest"))
    return factory, auc_by_arm(factory)


def test_without_a_leak_coin_flips_cannot_be_predicted(honest) -> None:
    # 3,600 judged rows in 400 clusters a day: the standard error is about 0.015
    assert all(abs(auc - 0.5) < 0.05 for auc in honest[1].values()), honest[1]


def test_a_label_of_tomorrow_in_a_feature_is_visible(tmp_path) -> None:
    found = auc_by_arm(make_factory(tmp_path, planted="statistic"))
    assert found["none"] > 0.65, found  # a user's click rate over all days knows the days still to come


@dataclass(frozen=True)
class Peeking:
    """A join shifted by one day: serves each row the edition of its own day. What View refuses, done on purpose."""

    factory: Factory
    day: dt.date

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        return self.factory.as_of(rows_of).read(name, keys_N, rows_of + dt.timedelta(days=1))


def test_a_join_shifted_by_one_day_is_visible(honest, tmp_path) -> None:
    factory, _ = honest
    plan = next(plan for plan in factory.arms if plan.arm.name == "ctr_user")
    before, scores, labels = None, [], []
    for n in range(1, DAYS):
        rows = factory.log.read("feed", day(n), ("click",), known_by=day(n))
        task = ArmTask(plan, day(n), rows, Peeking(factory, day(n)), before, tmp_path / str(n), "f")
        if before is not None:
            scores.append(predict_arm(task)[0])
            labels.append(rows.labels["click"])
        fit_arm(task)
        before = task.folder
    assert metrics_of(np.concatenate(labels), np.concatenate(scores)).roc_auc > 0.65


def test_the_pipeline_cannot_express_that_shift(honest) -> None:
    factory, _ = honest
    rows = factory.log.read("feed", day(2), ("click",), known_by=day(2))
    with pytest.raises(LeakError, match="may not read what was published on 2025-01-03"):
        factory.as_of(day(2)).read("ctr_user", rows.keys["user"], rows.day)
    with pytest.raises(Exception, match="lag_days"):
        parse_config({**factory.config.model_dump(), "lifecycle": {"lag_days": 0}})
