"""Leaks, planted: each becomes visible as an AUC that coin flips cannot have, and makes `headwater
lift` fail by name.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import conftest
from headwater.config import parse_config
from headwater.embeddings import Served
from headwater.errors import LeakError
from headwater.evaluation import metrics_of
from headwater.factory import Factory
from headwater.lifecycle.erase import erase
from headwater.models.downstream import VariantTask, fit_variant, predict_variant

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
        frames.append(
            pl.DataFrame(
                {
                    "ts": start + 1000 * np.arange(ROWS),
                    "u": users,
                    "i": generator.integers(0, 50, ROWS),
                    "click": coins[users],
                }
            )
        )
    log = pl.concat(frames)
    rates = (
        log.group_by("u").agg(rate=pl.col("click").mean())
        if planted == "statistic"
        else pl.DataFrame({"u": np.arange(USERS), "rate": 0.5})
    )
    log.write_parquet(folder / "log.parquet")
    rates.write_parquet(folder / "users.parquet")


def make_factory(folder: Path, planted: str = "none") -> Factory:
    write_coin_flips(folder, planted)
    return Factory(
        parse_config(
            {
                "name": "coins",
                "workers": 0,
                "gates": {"settle_days": 99},
                "logs": {
                    "feed": {
                        "path": "log.parquet",
                        "time": "ts",
                        "entities": {"user": "u", "item": "i"},
                    }
                },
                "entities": {
                    "user": {
                        "table": "users.parquet",
                        "key": "u",
                        "features": {"rate": {"kind": "numeric", "log": False}},
                    },
                    "item": {},
                },
                "tasks": {"click": {"log": "feed", "label": "click"}},
                "upstreams": {
                    "ctr": {"tasks": ["click"], "size": "tiny", "epochs": 15, "batch_rows": 128}
                },
                "downstream": {
                    "ctr": {
                        "task": "click",
                        "variants": ["none", "ctr_user"],
                        "seeds": [0],
                        "counters": "none",
                        "id_buckets": 1,
                        "batch_rows": 64,
                        "epochs": 3,
                        "learning_rate": 0.01,
                        "projection": {"dropout": 0.0},
                    }
                },
                "evaluation": {"start": str(day(1))},
            }
        ),
        folder,
    )


def auc_by_variant(factory: Factory) -> dict[str, float]:
    for _ in factory.backfill(day(0), day(DAYS - 1)):
        pass
    judged = factory.workspace.judged("ctr", factory.days_done())
    return {
        variant: metrics_of(judged.labels_N, scores[0]).roc_auc
        for variant, scores in judged.scores.items()
    }


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> tuple[Factory, dict[str, float]]:
    factory = make_factory(tmp_path_factory.mktemp("honest"))
    return factory, auc_by_variant(factory)


def test_without_a_leak_coin_flips_cannot_be_predicted(honest) -> None:
    # 3,600 judged rows in 400 clusters a day: the standard error is about 0.015
    assert all(abs(auc - 0.5) < 0.05 for auc in honest[1].values()), honest[1]


def test_a_label_of_tomorrow_in_a_feature_is_visible(tmp_path) -> None:
    found = auc_by_variant(make_factory(tmp_path, planted="statistic"))
    assert found["none"] > 0.65, (
        found
    )  # a user's click rate over all days knows the days still to come


@dataclass(frozen=True)
class Peeking:
    """A join shifted by one day: serves each row the edition of its own day. What View refuses,
    done on purpose.
    """

    factory: Factory
    day: dt.date

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        return self.factory.workspace.as_of(rows_of).read(
            name, keys_N, rows_of + dt.timedelta(days=1)
        )


def test_a_join_shifted_by_one_day_is_visible(honest, tmp_path) -> None:
    factory, _ = honest
    plan = next(plan for plan in factory.run.rankers if plan.variant.name == "ctr_user")
    # Three seeds together: one alone lies at .645 to .66, by machine.
    plan = replace(plan, config=plan.config.model_copy(update={"seeds": (0, 1, 2)}))
    before, scores, labels = None, [], []
    for n in range(1, DAYS):
        rows = factory.run.reader.events.read("feed", day(n), ("click",), known_by=day(n))
        task = VariantTask(
            plan, day(n), rows, Peeking(factory, day(n)), before, tmp_path / str(n), "f"
        )
        if before is not None:
            scores.append(np.mean(list(predict_variant(task).values()), axis=0))
            labels.append(rows.labels["click"])
        fit_variant(task)
        before = task.folder
    assert metrics_of(np.concatenate(labels), np.concatenate(scores)).roc_auc > 0.65


def test_the_pipeline_cannot_express_that_shift(honest) -> None:
    factory, _ = honest
    rows = factory.run.reader.events.read("feed", day(2), ("click",), known_by=day(2))
    with pytest.raises(LeakError, match="may not read what was published on 2025-01-03"):
        factory.workspace.as_of(day(2)).read("ctr_user", rows.keys["user"], rows.day)
    with pytest.raises(Exception, match="lag_days"):
        parse_config({**factory.config.model_dump(), "lifecycle": {"lag_days": 0}})


# ---- the audit: leaks planted in whole factories -------------------------------------------------

RUN = [conftest.day(n) for n in range(5)]
JUDGED = RUN[1:]


def run_shop(
    root: Path, world: Path, change: Callable[[dict[str, Any]], None] = lambda raw: None
) -> Path:
    """The factory.yaml of a tiny ads world that ran five days, with one upstream and one ranker;
    `change` plants something before it runs.
    """
    shutil.copytree(world, root / "world", dirs_exist_ok=True)
    raw = json.loads(json.dumps(conftest.tiny_config(world, Path("world"))))
    raw["upstreams"] = {"ctr": raw["upstreams"]["ctr"]}
    raw["downstream"] = {"ctr": raw["downstream"]["ctr"] | {"variants": ["none", "all"]}}
    change(raw)
    (root / "factory.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    for _ in Factory.load(root / "factory.yaml").backfill(RUN[0], RUN[-1]):
        pass
    return root / "factory.yaml"


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    raw = yaml.safe_load(path.read_text())
    change(raw)
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def lift(path: Path) -> list[str]:
    """What `headwater lift` does; the notes of its table on what nobody has checked."""
    told = "Not checked for leaks: "
    return [
        note.removeprefix(told)
        for note in conftest.table_at(path, "T2").notes
        if note.startswith(told)
    ]


def impressions(world: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(world / "impressions" / f"{known}.parquet") for known in RUN])


@pytest.fixture(scope="module")
def shop(tmp_path_factory, world) -> Path:
    return run_shop(tmp_path_factory.mktemp("shop"), world)


@pytest.fixture
def own_shop(shop, tmp_path) -> Path:
    """A copy of the honest factory, to tamper with."""
    shutil.copytree(shop.parent, tmp_path / "shop", ignore=shutil.ignore_patterns("audits"))
    return tmp_path / "shop" / "factory.yaml"


def test_an_honest_factory_passes(shop) -> None:
    assert [note.split(":")[0] for note in lift(shop)] == [
        "item.picture"
    ]  # a pretrained vector, of which nobody said when it was made
    assert len(list((shop.parent / "warehouse" / "audits").glob("*.json"))) == 1


def plant_both(raw: dict[str, Any], world: Path, seed: Path) -> None:
    """Statistics of all days in both entity tables, and a seed that holds every click."""
    rows = impressions(world)
    for table, key, columns in (
        ("users", "user_id", {"month_ctr": pl.col("is_click").mean()}),
        ("items", "ad_id", {"month_shown": pl.len()}),
    ):
        file = world / f"{table}.parquet"
        pl.read_parquet(file).join(
            rows.group_by(key).agg(**columns), on=key, how="left"
        ).write_parquet(file)
        raw["entities"][table[:-1]]["features"] |= dict.fromkeys(columns, "numeric")
    rows.filter(pl.col("is_click") == 1).group_by("user_id").agg("ad_id").write_parquet(seed)
    raw["histories"]["user"]["seed"] = {"table": seed.name, "key": "user_id", "ids": "ad_id"}


@pytest.fixture(scope="module")
def leaking(tmp_path_factory, world) -> Path:
    root = tmp_path_factory.mktemp("leaking")
    return run_shop(root, world, lambda raw: plant_both(raw, root / "world", root / "seed.parquet"))


LEAKS = {
    "user.month_ctr": (
        r"user.month_ctr: knows \d+% of the chance in the judged positives of \d+ users .*: it"
        r" holds judged days"
    ),
    "item.month_shown": (
        r"item.month_shown: knows \d+% of the chance in the judged rows of \d+ items .*: it holds"
        r" judged days"
    ),
    "histories.user.seed": (
        r"histories.user.seed: whether the row's own item stands there tells its label with ROC-AUC"
        r" 0\.[6-9].*: it holds judged events"
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_each_planted_leak_fails_the_lift_by_its_name(leaking, name) -> None:
    others = [other for other in (*LEAKS, "histories.user") if other != name]
    edit(leaking, lambda raw: raw["evaluation"].update(trusted=others))
    with pytest.raises(LeakError, match=LEAKS[name]) as caught:
        lift(leaking)
    assert (
        len([line for line in str(caught.value).splitlines() if line.startswith("  - ")]) == 1
    )  # nothing innocent is named beside it


def test_what_is_trusted_passes_and_is_told(leaking) -> None:
    edit(leaking, lambda raw: raw["evaluation"].update(trusted=[*LEAKS, "histories.user"]))
    notes = lift(leaking)
    assert all(
        any(note.startswith(f"{name}: trusted, as evaluation.trusted says; ") for note in notes)
        for name in LEAKS
    )


def test_a_seed_of_the_judged_days_is_named_where_that_is_declared(leaking) -> None:
    edit(
        leaking,
        lambda raw: (
            raw["evaluation"].update(trusted=[*LEAKS, "histories.user"]),
            raw["histories"]["user"]["seed"].update(as_of=str(JUDGED[0])),
        ),
    )
    with pytest.raises(
        LeakError,
        match=(
            rf"histories.user.seed.as_of: {JUDGED[0]} is not before {JUDGED[0]}, the first"
            r" judged day"
        ),
    ):
        lift(leaking)
    edit(leaking, lambda raw: raw["histories"]["user"]["seed"].pop("as_of"))


def test_a_log_that_repeats_its_rows_is_named(own_shop) -> None:
    for file in (own_shop.parent / "world" / "impressions").glob("*.parquet"):
        rows = pl.read_parquet(file)
        again = rows.with_columns(
            pl.col("time") + pl.duration(seconds=2), impression_id=pl.col("impression_id") + 10**9
        )
        pl.concat([rows, again]).write_parquet(file)
    with pytest.raises(
        LeakError,
        match=(
            r"logs.impressions: whether the newest event of the row's history is its own item tells"
            r" its .*repeat earlier ones"
        ),
    ):
        lift(own_shop)


def test_vectors_of_a_table_of_the_judged_days_are_named_where_that_is_declared(own_shop) -> None:
    edit(own_shop, lambda raw: raw["entities"]["item"].update(as_of=str(RUN[0])))
    lift(own_shop)
    edit(own_shop, lambda raw: raw["entities"]["item"].update(as_of=str(JUDGED[2])))
    with pytest.raises(
        LeakError,
        match=rf"entities.item.as_of: {JUDGED[2]} is not before {JUDGED[0]}, the first judged day",
    ):
        lift(own_shop)


def tamper(path: Path, judged: dt.date, **columns: pl.Expr) -> None:
    file = path.parent / "warehouse" / "judged" / "ctr" / f"{judged}.parquet"
    pl.read_parquet(file).with_columns(**columns).write_parquet(file)


def test_predictions_say_which_edition_they_read(shop) -> None:
    factory = Factory.load(shop)
    assert factory.workspace.predictions.editions_read("ctr", RUN[0]) == [(None, None)]
    for before, known in zip(RUN, JUDGED, strict=False):
        assert factory.workspace.predictions.editions_read("ctr", known) == [
            (before, factory.workspace.entry(before).fingerprint)
        ]


@pytest.mark.parametrize(
    "rows", [pl.lit(True), pl.int_range(pl.len()) == 0], ids=["every row", "one row"]
)
def test_an_edition_of_the_judged_day_is_named(own_shop, rows) -> None:
    tamper(own_shop, JUDGED[1], edition=pl.when(rows).then(pl.lit(JUDGED[1])).otherwise("edition"))
    with pytest.raises(
        LeakError,
        match=(
            rf"judged/ctr/{JUDGED[1]}: the rows of {JUDGED[1]} read the edition of {JUDGED[1]}: the"
            rf" newest .* is of {RUN[1]}"
        ),
    ):
        lift(own_shop)


def test_an_edition_that_is_another_now_is_named(own_shop) -> None:
    tamper(own_shop, JUDGED[1], edition_inputs=pl.lit("0" * 32))
    tamper(own_shop, JUDGED[2], edition=pl.lit(dt.date(2024, 12, 31)))
    with pytest.raises(LeakError) as caught:
        lift(own_shop)
    assert (
        f"the rows of {JUDGED[1]} read the edition of {RUN[1]}: the catalog's edition of that day"
        " was made of other inputs" in str(caught.value)
    )
    assert (
        f"the rows of {JUDGED[2]} read the edition of 2024-12-31: the catalog has none of that day"
        in str(caught.value)
    )


def test_days_judged_before_editions_were_written_down_pass_with_a_note(own_shop) -> None:
    file = own_shop.parent / "warehouse" / "judged" / "ctr" / f"{JUDGED[0]}.parquet"
    pl.read_parquet(file).drop("edition", "edition_inputs").write_parquet(file)
    assert (
        "judged/ctr: 1 of 4 days were judged before the editions they read were written down"
        in lift(own_shop)
    )


def test_an_erasure_is_no_leak(own_shop) -> None:
    factory = Factory.load(own_shop)
    someone = int(impressions(own_shop.parent / "world")["user_id"].mode()[0])
    erase(factory.workspace, "user", [someone])
    assert (
        factory.workspace.entry(RUN[1]).digest
        != Factory.load(own_shop).workspace.predictions.editions_read("ctr", JUDGED[1])[0][1]
    )
    lift(own_shop)


def test_what_was_measured_is_kept_and_what_cannot_be_is_told(own_shop) -> None:
    lift(own_shop)
    shutil.rmtree(own_shop.parent / "world" / "impressions")
    assert not any("impressions" in note for note in lift(own_shop))  # no second look at the log
    shutil.rmtree(own_shop.parent / "warehouse" / "audits")
    assert any(
        note.startswith("logs.impressions: nothing was measured: log impressions: no file matches")
        for note in lift(own_shop)
    )


# ---- features alone ------------------------------------------------------------------------------


def plant_outcomes(raw: dict[str, Any], world: Path) -> None:
    """Columns of the log that were measured after the click, or made of it, one of each kind; one
    that nearly is; and one that is not.
    """
    generator = np.random.default_rng(0)
    for file in (world / "impressions").glob("*.parquet"):
        rows = pl.read_parquet(file)
        clicked = rows["is_click"].to_numpy() == 1
        noise = generator.random(len(rows))
        rows.with_columns(
            dwell_s=np.where(clicked, 20 + 60 * noise, 5 * noise),
            page_after=pl.when(pl.Series(clicked))
            .then(pl.Series((noise * 40).astype(int)).cast(pl.String))
            .otherwise(None),
            landed=pl.when(pl.Series(clicked)).then(pl.col("time")),
            opened=pl.when(pl.Series(clicked))
            .then(pl.lit("a,") + pl.col("ad_id"))
            .otherwise(pl.lit("b")),
            eager=1.9 * clicked + generator.standard_normal(len(rows)),
            calm=noise,
        ).write_parquet(file)
    raw["logs"]["impressions"]["features"] |= {
        "dwell_s": "numeric",
        "page_after": "categorical",
        "landed": "timestamp",
        "opened": "multi_categorical",
        "eager": {"kind": "numeric", "log": False},
        "calm": "numeric",
    }


OUTCOMES = [f"logs.impressions.{name}" for name in ("dwell_s", "page_after", "landed", "opened")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, world) -> Path:
    root = tmp_path_factory.mktemp("outcomes")
    return run_shop(root, world, lambda raw: plant_outcomes(raw, root / "world"))


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_feature_of_the_log_that_was_measured_after_the_click_fails_the_lift(
    outcomes, name
) -> None:
    others = [other for other in OUTCOMES if other != name]
    edit(outcomes, lambda raw: raw["evaluation"].update(trusted=others))
    told = (
        rf"{name}: alone tells the label with ROC-AUC (1\.0000|0\.99\d+) .*; allowed 0\.95: it was"
    )
    with pytest.raises(LeakError, match=told) as caught:
        lift(outcomes)
    assert len([line for line in str(caught.value).splitlines() if line.startswith("  - ")]) == 1


def test_one_that_nearly_tells_the_label_is_a_note(outcomes) -> None:
    edit(outcomes, lambda raw: raw["evaluation"].update(trusted=OUTCOMES))
    table = conftest.table_at(outcomes, "T2")
    near = [note for note in table.notes if note.startswith("Look at how it comes about: ")]
    assert [note.split(": ")[1] for note in near] == ["logs.impressions.eager"]
    assert "alone tells the label with ROC-AUC 0.9" in near[0]
    kept = json.loads(next((outcomes.parent / "warehouse" / "audits").glob("*.json")).read_text())
    figures = {one["name"]: one["figure"] for one in kept if "alone" in one["reason"]}
    assert figures["logs.impressions.calm"] < 0.6
    assert set(figures) >= {
        *OUTCOMES,
        "logs.impressions.surface",
        "logs.impressions.time",
        "user.interests",
        "item.category",
        "item.price",
        "item.picture",
        "histories.user.counters",
    }


def audits(path: Path) -> int:
    return len(list((path.parent / "warehouse" / "audits").glob("*.json")))


def test_a_table_that_changed_is_audited_anew(own_shop) -> None:
    lift(own_shop)
    lift(own_shop)
    assert audits(own_shop) == 1
    file = own_shop.parent / "world" / "items.parquet"
    items, rows = pl.read_parquet(file), impressions(own_shop.parent / "world")
    of_all_days = rows.group_by("ad_id").agg(pl.len().cast(pl.Float64).alias("shown"))
    rates = items.join(of_all_days, on="ad_id", how="left").with_columns(price=pl.col("shown"))
    stat = file.stat()
    rates.drop("shown").write_parquet(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(LeakError, match=r"item.price: knows \d+% of the chance"):
        lift(own_shop)
    items.write_parquet(file)
    lift(own_shop)
