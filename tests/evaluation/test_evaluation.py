"""Metrics and intervals: known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import average_precision_score, roc_auc_score

from headwater.errors import ConfigError, HeadwaterError
from headwater.evaluation import (
    Chart,
    Column,
    Judged,
    Series,
    Table,
    Variant,
    lift_table,
    metrics_of,
    quick_lift,
    subsets,
)
from headwater.evaluation.metrics import WeightedRanking, placements

NAMES = ("ctr_user", "ctr_item", "cvr_user", "cvr_item")


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_ranking_agrees_with_scikit_learn(ties) -> None:
    generator = np.random.default_rng(0)
    labels, weights = generator.integers(0, 2, 500), generator.integers(0, 4, 500).astype(float)
    scores = generator.random(500).round(1 if ties else 12)
    auc, precision = WeightedRanking(labels, scores)(weights)
    assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    assert precision == pytest.approx(
        average_precision_score(labels, scores, sample_weight=weights), abs=1e-12
    )


@pytest.mark.parametrize("ties", [False, True])
def test_three_libraries_agree_on_roc_auc(ties) -> None:
    """scikit-learn, SciPy's Mann-Whitney U, and the means of DeLong's placements."""
    generator = np.random.default_rng(1)
    labels, scores = generator.integers(0, 2, 300), generator.random(300).round(1 if ties else 12)
    u = mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic / (
        (labels == 1).sum() * (labels == 0).sum()
    )
    shares = placements(labels, scores)
    assert [u, shares[labels == 1].mean(), shares[labels == 0].mean()] == pytest.approx(
        [roc_auc_score(labels, scores)] * 3, abs=1e-12
    )


def test_metrics_by_hand() -> None:
    found = metrics_of(np.array([1, 0, 1, 0]), np.array([0.8, 0.6, 0.4, 0.2]))
    assert found.roc_auc == 0.75
    assert found.pr_auc == pytest.approx((1 + 2 / 3) / 2)
    loss = -np.log([0.8, 0.4, 0.4, 0.8]).mean()
    assert found.log_loss == pytest.approx(loss)
    assert found.ne == pytest.approx(loss / np.log(2))


def test_predicting_the_base_rate_has_ne_one() -> None:
    labels = np.array([1, 0, 0, 0])
    assert metrics_of(labels, np.full(4, 0.25)).ne == pytest.approx(1)
    assert np.isnan(metrics_of(np.ones(3), np.full(3, 0.5)).roc_auc)


def judged(strength: dict[str, float], n: int = 4000, users: int = 400) -> Judged:
    """Variants whose scores see a hidden truth with the given strength, the same noise in each
    seed.
    """
    generator = np.random.default_rng(1)
    truth = generator.standard_normal(n)
    labels = (generator.random(n) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    noise = {seed: generator.standard_normal(n) for seed in range(3)}
    scores = {
        variant: {seed: 1 / (1 + np.exp(-(s * truth + noise[seed]))) for seed in noise}
        for variant, s in strength.items()
    }
    return Judged(labels, generator.integers(0, users, n), np.zeros(n, np.int32), scores)


def test_a_real_lift_has_an_interval_above_zero_and_none_has_not() -> None:
    rows = {
        row.variant: row
        for row in lift_table(judged({"none": 0.5, "all": 0.8, "same": 0.5}), 200, 0.95, seed=0)
    }
    assert rows["none"].low == rows["none"].high == 0
    assert 0 < rows["all"].low < rows["all"].roc_auc_lift_pct < rows["all"].high
    assert rows["same"].low == rows["same"].roc_auc_lift_pct == rows["same"].high == 0
    assert (rows["all"].seeds, rows["all"].n) == (3, 4000)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Two variants of equal worth: the interval should miss zero in about one case in ten at 90
    %.
    """
    missed = 0
    for trial in range(40):
        generator = np.random.default_rng(trial)
        truth, labels = generator.standard_normal(600), None
        labels = (generator.random(600) < 1 / (1 + np.exp(-truth))).astype(np.float32)
        scores = {
            variant: {0: truth + generator.standard_normal(600)} for variant in ("none", "other")
        }
        row = lift_table(
            Judged(labels, np.arange(600), np.zeros(600, np.int32), scores), 100, 0.9, seed=trial
        )[1]
        missed += not row.low <= 0 <= row.high
    assert missed <= 10


def test_clustering_by_user_widens_the_interval() -> None:
    base = judged({"none": 0.5, "all": 0.6}, n=600)
    repeated = Judged(
        *[np.tile(x, 5) for x in (base.labels_N, np.arange(600), base.days_N)],
        {variant: {s: np.tile(v, 5) for s, v in by.items()} for variant, by in base.scores.items()},
    )
    rowwise = Judged(repeated.labels_N, np.arange(3000), repeated.days_N, repeated.scores)
    clustered, naive = (lift_table(x, 200, 0.95, seed=0)[1] for x in (repeated, rowwise))
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)


def test_row_intervals_match_a_bootstrap_over_rows() -> None:
    """DeLong's closed form against resampling rows, one seed, every user one row."""
    base = judged({"none": 0.5, "all": 0.7}, n=1500)
    one_seed = Judged(
        base.labels_N,
        np.arange(1500),
        base.days_N,
        {variant: {0: by[0]} for variant, by in base.scores.items()},
    )
    row = lift_table(one_seed, 1000, 0.95, seed=0)[1]
    assert row.row_high - row.row_low == pytest.approx(row.high - row.low, rel=0.1)
    assert (row.row_low + row.row_high) / 2 == pytest.approx(row.roc_auc_lift_pct)


def test_the_closed_form_agrees_with_the_bootstrap() -> None:
    """Users with many rows that are alike, and seeds that differ: both widen the interval, in both
    ways of making it.
    """
    generator = np.random.default_rng(5)
    users = generator.integers(0, 150, 3000)
    truth = generator.standard_normal(150)[users] + 0.5 * generator.standard_normal(3000)
    labels = (generator.random(3000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    taste = {variant: generator.standard_normal(150)[users] for variant in ("none", "all")}
    scores = {
        variant: {
            seed: s * truth + taste[variant] + 0.3 * generator.standard_normal(3000)
            for seed in range(4)
        }
        for variant, s in (("none", 1.0), ("all", 1.3))
    }
    judged = Judged(labels, users, np.zeros(3000, np.int32), scores)
    slow, quick = lift_table(judged, 2000, 0.95, seed=0)[1], quick_lift(judged, "all", 0.95)
    assert quick.roc_auc_lift_pct == pytest.approx(slow.roc_auc_lift_pct)
    assert quick.high - quick.low == pytest.approx(slow.high - slow.low, rel=0.12)
    assert (quick.row_low, quick.row_high) == pytest.approx((slow.row_low, slow.row_high))
    assert quick.high - quick.low > 1.5 * (quick.row_high - quick.row_low)


def test_rows_needed_by_hand() -> None:
    """n ((z_0.975 + z_0.8) error / lift)^2, the error taken from the interval; none where the
    effect is shown already.
    """
    generator = np.random.default_rng(3)
    truth = generator.standard_normal(1000)
    labels = (generator.random(1000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    scores = {variant: {0: truth + generator.standard_normal(1000)} for variant in ("none", "all")}
    few = lift_table(
        Judged(labels, np.arange(1000), np.zeros(1000, np.int32), scores), 500, 0.95, seed=0
    )[1]
    assert few.low <= 0 <= few.high
    error = (few.high - few.low) / (2 * norm.ppf(0.975))
    assert few.rows_needed == pytest.approx(
        1000 * ((norm.ppf(0.975) + norm.ppf(0.8)) * error / few.roc_auc_lift_pct) ** 2, rel=0.2
    )
    assert lift_table(judged({"none": 0.5, "all": 0.8}), 50, 0.95, seed=0)[1].rows_needed is None


def test_p_values_are_corrected_by_holm() -> None:
    rows = lift_table(
        judged({"none": 0.5, "a": 0.51, "b": 0.52, "c": 0.8}),
        200,
        0.95,
        seed=0,
        further=[("c", "b")],
    )
    tested = sorted(row.p_value for row in rows if row.p_value is not None)
    assert len(tested) == 4
    by_p = {row.p_value: row.p_holm for row in rows if row.p_value is not None}
    slow, worst = {}, 0.0
    for rank, p_value in enumerate(tested):
        worst = max(worst, min(1.0, p_value * (4 - rank)))
        slow[p_value] = worst
    assert by_p == pytest.approx(slow)
    assert rows[0].p_value is None
    assert (rows[-1].variant, rows[-1].baseline) == ("c", "b")
    assert rows[-1].low > 0


def test_every_subset_once() -> None:
    variants = subsets(NAMES)
    assert (
        len(variants)
        == len({frozenset(Variant.parse(variant, NAMES).embeddings) for variant in variants})
        == 16
    )
    assert (variants[0], variants[-1]) == ("none", "all")


def test_a_table_survives_json_and_writes_its_cells() -> None:
    columns = (
        Column("variant", "variant"),
        Column("lift", "lift %", "+.2f", "low", "high"),
        Column("n", "rows", ",d"),
    )
    rows = (
        {"variant": "none", "lift": None, "n": 1000},
        {"variant": "all", "lift": 1.234, "low": 1.0, "high": float("nan"), "n": 1000},
    )
    chart = Chart(
        "c",
        "C",
        "lines",
        "x",
        "y",
        (Series("all", (1.0, 2.0), (0.5, None), (0.4, None), (0.6, None)),),
        diagonal=True,
    )
    table = Table(
        "T2",
        "t",
        "ctr",
        "2025-01-01",
        "2025-01-02",
        "It helps.",
        columns,
        rows,
        ("a note",),
        (chart,),
    )
    assert [[column.show(row) for column in columns] for row in rows] == [
        ["none", "", "1,000"],
        ["all", "+1.23", "1,000"],
    ]
    assert columns[1].show({"lift": 1, "low": 0.5, "high": 2}) == "+1.00 (+0.50, +2.00)"
    again = Table.from_json(
        json.loads(
            json.dumps(
                Table("T2", "t", "ctr", "", "", "", columns, rows[:1], (), (chart,)).as_json()
            )
        )
    )
    assert again.charts == table.charts
    assert (again.columns, again.rows) == (table.columns, table.rows[:1])


def test_variants_are_parsed() -> None:
    assert Variant.parse("none", NAMES).embeddings == ()
    assert Variant.parse("all", NAMES) == Variant("all", NAMES)
    assert Variant.parse("shuffled", NAMES) == Variant("shuffled", NAMES, NAMES)
    assert Variant.parse("all-ctr_user", NAMES).embeddings == NAMES[1:]
    assert Variant.parse("all~cvr_item-ctr_user", NAMES) == Variant(
        "all~cvr_item-ctr_user", NAMES[1:], ("cvr_item",)
    )
    with pytest.raises(ConfigError, match="ctr_item cannot be shuffled"):
        Variant.parse("ctr_user~ctr_item", NAMES)
    assert Variant.parse("ctr_user+cvr_item", NAMES).embeddings == ("ctr_user", "cvr_item")
    with pytest.raises(ConfigError, match="no embedding named 'ctr_usr'"):
        Variant.parse("ctr_usr", NAMES)


def test_one_class_is_said_not_computed() -> None:
    with pytest.raises(HeadwaterError, match="two classes"):
        lift_table(
            Judged(np.ones(5), np.arange(5), np.zeros(5, np.int32), {"none": {0: np.ones(5)}}),
            10,
            0.9,
            0,
        )
