"""What the audit measures: known answers, a slow twin, and simulated worlds whose features are
honest or not.
"""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import conftest
from headwater.config import (
    Categorical,
    MultiCategorical,
    Numeric,
    Timestamp,
    Vector,
    parse_config,
)
from headwater.errors import ConfigError
from headwater.evaluation.audit import (
    Tally,
    _dispersion_of_positives,
    _dispersion_of_rows,
    auc_above,
    foreknowledge,
    is_leak,
)
from headwater.events.encoding import context_block
from headwater.recipes import RECIPES
from headwater.store import Entry
from headwater.store.catalog import Lane
from headwater.studies.auditing import Finding, alone, declared, measured
from headwater.studies.auditing.alone import FeaturesAlone, columns_of
from headwater.workspace import Workspace

DAYS, FIRST = 10, 6


# ---- the dispersion ------------------------------------------------------------------------------


def test_dispersion_by_hand() -> None:
    # one entity, rows 1 1 | 0 0 on two days, p = 1/2: pairs (1,1) and (0,0) give +1/4, the four of
    # different days -1/4
    tally = Tally(np.array([[2.0, 2.0]]), np.array([[2.0, 0.0]]), np.zeros(1), np.zeros(1))
    half = np.array([0.5])
    # every pair: 1 + (2/4 - 4/4) / (3 * 1/4) / (6 / 9) = 0; pairs of two days: 1 + (-4/4) / (3 *
    # 1/4) / (4 / 9) = -2
    assert _dispersion_of_positives(tally, half, half**2)[0] == pytest.approx(0.0)
    # the same rows with a click a day, (1,0) and (0,1), know themselves too, but not across the
    # days: -2/4 and 0
    crossed = replace(tally, positives_ED=np.array([[1.0, 1.0]]))
    assert _dispersion_of_positives(crossed, half, half**2)[0] == pytest.approx(1.0)


def test_dispersion_agrees_with_a_loop_over_all_pairs() -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(1, 6, (7, 3))
    p, v = generator.uniform(0.3, 0.5, 7), generator.uniform(0.2, 0.25, 7)
    hits = generator.binomial(rows, 0.4)
    totals = {"every": [0.0, 0.0], "apart": [0.0, 0.0]}
    for entity in range(7):
        own = {"every": [0.0, 0.0], "apart": [0.0, 0.0]}
        mine = [
            (day, label - p[entity])
            for day in range(3)
            for label in [1] * hits[entity, day] + [0] * (rows[entity, day] - hits[entity, day])
        ]
        for (one, first), (other, second) in itertools.combinations(mine, 2):
            for which in ["every"] + ["apart"] * (one != other):
                own[which][0] += first * second / ((len(mine) - 1) * v[entity])
                own[which][1] += 1 / (len(mine) - 1) ** 2
        for which, (pairs, freedom) in own.items():
            totals[which][0] += min(pairs, 8 * freedom)  # one entity counts as 9 at most
            totals[which][1] += freedom
    expected = max(1 + pairs / freedom for pairs, freedom in totals.values())
    found, _ = _dispersion_of_positives(
        Tally(rows.astype(float), hits.astype(float), np.zeros(7), np.zeros(7)), p, v
    )
    assert found == pytest.approx(expected)


def test_counts_have_dispersion_one_where_they_are_poisson_and_none_where_they_are_known() -> None:
    generator = np.random.default_rng(1)
    expected = generator.uniform(5, 50, 4000)
    rows = generator.poisson(expected[:, None] * np.array([0.2, 0.3, 0.5])).astype(float)
    tally = Tally(rows, rows, np.zeros(4000), np.zeros(4000))
    left, z = _dispersion_of_rows(tally, expected, expected)
    assert left == pytest.approx(1.0, abs=0.1)
    assert abs(z) < 4
    left, z = _dispersion_of_rows(tally, rows.sum(axis=1), expected)
    assert left == pytest.approx(0.0, abs=0.1)
    assert z < -50


# ---- simulated worlds ----------------------------------------------------------------------------


def world(seed: int, entities: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows and positives by entity and day, true rates, true activity."""
    generator = np.random.default_rng([seed, 99])
    activity = 8 * generator.gamma(0.7, 1, entities) + 0.2
    rates = 1 / (1 + np.exp(1.1 - 0.6 * generator.standard_normal(entities)))
    rows = generator.poisson(activity[:, None], (entities, DAYS))
    return (
        rows.astype(float),
        generator.binomial(rows, rates[:, None]).astype(float),
        rates,
        activity,
    )


def verdict(values: np.ndarray, rows: np.ndarray, hits: np.ndarray) -> bool:
    found = foreknowledge(
        values,
        [
            Tally(
                rows[:, FIRST:],
                hits[:, FIRST:],
                rows[:, :FIRST].sum(axis=1),
                hits[:, :FIRST].sum(axis=1),
            )
        ],
    )
    return any(is_leak(one, 2 * len(found)) for one in found)


def test_honest_features_are_never_refused_even_if_they_know_every_true_rate() -> None:
    for seed in range(12):
        rows, hits, rates, activity = world(seed)
        noise = np.random.default_rng(seed).standard_normal(len(rows))
        past = hits[:, :FIRST].sum(axis=1) / np.maximum(rows[:, :FIRST].sum(axis=1), 1)
        for values in (
            rates,
            activity,
            rates * activity,
            noise,
            past,
            np.log1p(rows[:, :FIRST].sum(axis=1)),
            np.where(noise > 0, rates, np.nan),
        ):
            assert not verdict(values, rows, hits)


@pytest.mark.parametrize(
    "planted",
    [
        "mean",
        "smoothed",
        "log",
        "rounded",
        "of the judged days",
        "positives",
        "count",
        "log count",
        "a day",
    ],
)
def test_statistics_over_the_judged_days_are_refused(planted) -> None:
    for seed in range(3):
        rows, hits, _, _ = world(seed)
        n, k = rows.sum(axis=1), hits.sum(axis=1)
        mean = k / np.maximum(n, 1)
        values = {
            "mean": mean,
            "smoothed": (k + 5) / (n + 20),
            "log": np.log1p(mean),
            "rounded": mean.round(2),
            "positives": k,
            "count": n,
            "log count": np.log1p(n),
            "a day": n / DAYS,
            "of the judged days": (
                hits[:, FIRST:].sum(axis=1) / np.maximum(rows[:, FIRST:].sum(axis=1), 1)
            ),
        }[planted]
        assert verdict(values, rows, hits)


def test_weak_leaks_pass() -> None:
    """What docs/leaks.md says cannot be told."""
    rows, hits, _, _ = world(0)
    mean = hits.sum(axis=1) / np.maximum(rows.sum(axis=1), 1)
    assert not verdict(mean.round(0), rows, hits)
    assert not verdict(mean + 0.1 * np.random.default_rng(0).standard_normal(len(mean)), rows, hits)


def test_what_repels_itself_by_design_is_not_blamed_on_a_feature() -> None:
    generator = np.random.default_rng(3)
    _, _, rates, activity = world(3)
    pages = generator.poisson(activity[:, None] / 2, (len(rates), DAYS))
    rows, hits = (
        5.0 * pages,
        generator.binomial(pages, np.minimum(0.9, 3 * rates)[:, None]).astype(float),
    )  # five a page, at most one click
    assert not verdict(rates, rows, hits)
    fixed = np.repeat(
        np.ceil(activity)[:, None], DAYS, axis=1
    )  # so many rows a day, whatever happens
    assert not verdict(
        fixed[:, 0], fixed, generator.binomial(fixed.astype(int), rates[:, None]).astype(float)
    )


def test_too_little_to_tell() -> None:
    rows, hits, rates, _ = world(0, entities=15)
    tally = Tally(
        rows[:, FIRST:], hits[:, FIRST:], rows[:, :FIRST].sum(axis=1), hits[:, :FIRST].sum(axis=1)
    )
    assert foreknowledge(rates, [tally]) == []
    rows, hits, rates, _ = world(0)
    tally = Tally(
        rows[:, FIRST:], hits[:, FIRST:], rows[:, :FIRST].sum(axis=1), hits[:, :FIRST].sum(axis=1)
    )
    assert foreknowledge((rates > 0.25).astype(float), [tally]) == []  # two values: no statistic


# ---- histories -----------------------------------------------------------------------------------


def test_auc_above_folds_and_leaves_its_error() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 400)
    scores = ((labels == 1) & (generator.random(400) < 0.4)).astype(np.int8)
    auc, lowest = auc_above(labels, scores)
    assert auc == pytest.approx(roc_auc_score(labels, scores))
    assert auc_above(labels, -scores) == pytest.approx((auc, lowest))
    draws = generator.integers(0, 400, (2000, 400))
    shares = [
        (scores[draws] * (labels[draws] == label)).sum(axis=1)
        / (labels[draws] == label).sum(axis=1)
        for label in (1, 0)
    ]
    assert (auc - lowest) / 4 == pytest.approx(
        np.std((1 + shares[0] - shares[1]) / 2), rel=0.1
    )  # the AUC of a yes or no, bootstrapped
    assert auc_above(np.r_[np.ones(19), np.zeros(500)], np.r_[np.ones(19), np.zeros(500)]) == (
        0.5,
        0.5,
    )


# ---- features alone ------------------------------------------------------------------------------


def test_columns_are_told_apart_by_the_features_that_they_encode() -> None:
    """Whatever the order in which kinds are declared: numbers come first, then what moments are
    read as.
    """
    features = {
        "when": Timestamp(unit="s", read=("recency", "cycles")),
        "price": Numeric(log=False),
        "tags": MultiCategorical(buckets=50, length=2),
        "vec": Vector(width=2),
        "page": Categorical(values=("a", "b")),
        "made": Timestamp(unit="s", read=("recency",)),
        "stock": Numeric(log=False),
        "colour": Categorical(buckets=10),
    }
    midnight = int(dt.datetime(2025, 1, 6, tzinfo=dt.UTC).timestamp())
    frame = pl.DataFrame(
        {
            "when": [midnight + 3600, None],
            "price": [1.0, 2.0],
            "tags": ["x,y", ""],
            "vec": [[3.0, 4.0], None],
            "page": ["b", None],
            "made": [None, midnight + 7200],
            "stock": [7.0, None],
            "colour": ["red", None],
        }
    )
    times = np.full(2, (midnight + 3 * 3600) * 1_000_000)
    block = context_block(frame, features, "log", ZoneInfo("UTC"), dt.date(2025, 1, 6), times)
    found = dict(columns_of(features, block, context=True))
    assert set(found) == set(features)
    assert {name: column.values.shape for name, column in found.items()} == {
        "when": (2, 5),
        "price": (2, 1),
        "tags": (2, 2),
        "vec": (2, 3),
        "page": (2,),
        "made": (2, 1),
        "stock": (2, 1),
        "colour": (2,),
    }
    np.testing.assert_allclose(found["when"].values[:, 0], [np.log1p(2), np.nan], rtol=1e-6)
    np.testing.assert_allclose(found["made"].values[:, 0], [np.nan, np.log1p(1)], rtol=1e-6)
    assert found["price"].values[:, 0].tolist() == [1, 2]
    np.testing.assert_array_equal(found["stock"].values[:, 0], [7, np.nan])
    np.testing.assert_array_equal(found["vec"].values, [[5, 3, 4], [np.nan] * 3])
    assert found["page"].values.tolist() == [3, 0]
    assert (found["tags"].values > 0).tolist() == [[True, True], [False, False]]
    assert [column.kind for column in found.values()] == [type(kind) for kind in features.values()]


def test_many_rows_are_sampled_evenly_and_that_is_told(make_factory, monkeypatch) -> None:
    def change(raw) -> None:
        raw["histories"]["user"]["pairs"] = ["id", "category"]

    workspace = make_factory(change).workspace
    schema, reader = workspace.schema, workspace.events()
    log, label = schema.logs["impressions"], "click"
    entities = {name: schema.entities[name] for name in log.entities}

    def findings(rows_looked_at: int) -> dict[str, Finding]:
        monkeypatch.setattr(alone, "ROWS", rows_looked_at)
        features = FeaturesAlone(log, entities, {"user": schema.histories["user"]}, 2)
        for n in range(3):
            now = conftest.day(n)
            rows = reader.read("impressions", now, (label,), known_by=now)
            features.add(rows, rows.labels[label], judged=n > 0)
        return {one.name: one for one in features.findings()}

    every, some, few = findings(10_000), findings(300), findings(30)
    assert {
        "logs.impressions.position",
        "histories.user.pairs.id",
        "histories.user.pairs.category",
        "histories.user.counters",
        "item.picture",
        "user.joined",
    } <= set(every)
    assert set(every) == set(some)
    assert "(800 judged rows); allowed 0.95" in every["item.price"].reason
    told = "(300 of 800, evenly spread over each day, judged rows); allowed 0.95"
    assert told in some["item.price"].reason
    assert all(one.passed and not one.noted for one in (*every.values(), *some.values()))
    assert [one.reason for one in few.values()] == [
        "no feature was measured alone: the judged rows have fewer than 20 positives, or negatives"
    ]
    assert findings(300) == some


# ---- the config ----------------------------------------------------------------------------------


def config_of(world: Path, **changes):
    raw = RECIPES["adsworld"].config(world, world)
    raw["entities"]["item"] |= changes.get("item", {})
    raw["histories"]["user"] |= changes.get("user", {})
    raw["evaluation"] |= changes.get("evaluation", {})
    return parse_config(raw)


def test_a_declared_date_must_lie_before_the_first_judged_day(world) -> None:
    seed = {"table": "seed.parquet", "key": "user_id", "ids": "ads", "as_of": "2025-01-07"}
    config = config_of(world, item={"as_of": "2025-01-06"}, user={"seed": seed})
    found = {one.name: one.passed for one in declared(config, dt.date(2025, 1, 7))}
    assert found == {"entities.item.as_of": True, "histories.user.seed.as_of": False}
    assert list(declared(config_of(world), dt.date(2025, 1, 7))) == []


def test_a_declared_date_shapes_nothing(world) -> None:
    seed = {"table": "seed.parquet", "key": "user_id", "ids": "ads"}
    assert config_of(world, item={"as_of": "2025-01-06"}).digest() == config_of(world).digest()
    dated = config_of(world, user={"seed": seed | {"as_of": "2025-01-01"}})
    assert (
        dated.digest()
        == config_of(world, user={"seed": seed}).digest()
        != config_of(world).digest()
    )


def test_only_what_is_audited_can_be_trusted(world) -> None:
    config = config_of(
        world, evaluation={"trusted": ["item.price", "histories.visitor", "logs.impressions"]}
    )
    assert config.evaluation.trusted == ("item.price", "histories.visitor", "logs.impressions")
    with pytest.raises(
        ConfigError,
        match=(
            r"evaluation.trusted: no feature, history or log named 'item.prize'; declared:"
            r" user.age, .*histories.user"
        ),
    ):
        config_of(world, evaluation={"trusted": ["item.prize"]})


# ---- the real log --------------------------------------------------------------------------------


def test_kuairand_passes_and_its_items_with_a_mean_of_all_days_do_not(kuairand, tmp_path) -> None:
    days = [dt.date(2022, 4, 25) + dt.timedelta(days=n) for n in range(4)]
    lane = Lane(tuple(Entry(day, "", None, "") for day in days))
    raw = RECIPES["kuairand"].config(kuairand, kuairand) | {
        "warehouse": str(tmp_path / "warehouse")
    }
    log = pl.read_parquet(kuairand / "interactions.parquet").filter(
        pl.col("date").is_between(20220425, 20220428)
    )
    means = log.group_by("video_id").agg(month_ctr=pl.col("is_click").mean())
    pl.read_parquet(kuairand / "items.parquet").join(
        means, on="video_id", how="left"
    ).write_parquet(tmp_path / "items.parquet")
    raw["entities"]["item"] = raw["entities"]["item"] | {"table": str(tmp_path / "items.parquet")}
    raw["entities"]["item"]["features"] = raw["entities"]["item"]["features"] | {
        "month_ctr": "numeric"
    }
    workspace = Workspace.of(parse_config(raw), tmp_path)
    found: dict[str, Finding] = {
        one.name: one for one in measured(workspace, lane, "ctr", days[2:])
    }
    assert [name for name, one in found.items() if not one.passed] == ["item.month_ctr"]
    assert found["item.month_ctr"].figure > 0.6
    assert {
        "user.register_days",
        "item.video_duration",
        "histories.user.seed",
        "histories.user",
        "logs.feed",
    } <= set(found)
