"""Metrics and intervals: known answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, t
from sklearn.metrics import average_precision_score, roc_auc_score

from headwater.errors import ConfigError, HeadwaterError
from headwater.evaluation import (
    Chart,
    Column,
    Judged,
    Lift,
    Series,
    Table,
    Variant,
    lift_table,
    metrics_of,
    subsets,
)
from headwater.evaluation.metrics import WeightedRanking, placements
from headwater.evaluation.verdict import beside_control, is_no_worse, last_no_worse, tone_of

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


def test_scores_near_zero_are_ranked_and_only_the_log_loss_is_clipped() -> None:
    """Rare positives: probabilities near 1e-8 tell them apart as well as any."""
    generator = np.random.default_rng(6)
    labels = (generator.random(3000) < 0.3).astype(np.float32)
    scores = 1 / (1 + np.exp(-(labels + generator.standard_normal(3000))))
    plain, tiny = metrics_of(labels, scores), metrics_of(labels, scores * 1e-8)
    assert (tiny.roc_auc, tiny.pr_auc) == (plain.roc_auc, plain.pr_auc)
    assert tiny.roc_auc > 0.7
    sure = metrics_of(np.array([1, 0]), np.array([0.0, 1.0]))
    assert sure.log_loss == pytest.approx(-np.log(1e-7))


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
    users_N = generator.integers(0, users, n)
    return Judged(labels, users_N, np.zeros(n, np.int32), scores, np.arange(n))


def test_a_real_lift_has_an_interval_above_zero_and_none_has_not() -> None:
    rows = {
        row.variant: row for row in lift_table(judged({"none": 0.5, "all": 0.8, "same": 0.5}), 0.95)
    }
    assert rows["none"].low == rows["none"].high == 0
    assert 0 < rows["all"].low < rows["all"].roc_auc_lift_pct < rows["all"].high
    assert rows["same"].low == rows["same"].roc_auc_lift_pct == rows["same"].high == 0
    assert (rows["all"].seeds, rows["all"].n) == (3, 4000)


def test_clustering_by_user_or_by_item_widens_the_interval() -> None:
    base = judged({"none": 0.5, "all": 0.6}, n=600)
    five = {variant: {0: np.tile(by[0], 5)} for variant, by in base.scores.items()}
    labels, days, rows = np.tile(base.labels_N, 5), np.tile(base.days_N, 5), np.arange(3000)
    alike = np.tile(np.arange(600), 5)
    by_user, by_item, rowwise = (
        lift_table(Judged(labels, users, days, five, items), 0.95)[1]
        for users, items in ((alike, rows), (rows, alike), (rows, rows))
    )
    assert by_user.high - by_user.low > 1.5 * (rowwise.high - rowwise.low)
    assert (by_item.low, by_item.high) == pytest.approx((by_user.low, by_user.high))


def test_the_interval_and_the_p_value_are_of_one_error() -> None:
    """They agree on what is shown: p < .05 just where the 95 % interval leaves zero out."""
    base, generator = judged({"none": 0.5}), np.random.default_rng(8)
    drawn = {
        f"v{n}": {
            s: v + 0.01 * n * n * generator.random(4000) for s, v in base.scores["none"].items()
        }
        for n in range(1, 8)
    }
    rows = lift_table(replace(base, scores=base.scores | drawn), 0.95)
    shown = [not row.low <= 0 <= row.high for row in rows[1:]]
    assert any(shown)
    assert not all(shown)
    for row, is_shown in zip(rows[1:], shown, strict=True):
        assert row.p_value is not None
        assert (row.p_value < 0.05) == is_shown
        error = (row.high - row.low) / 2 / t.ppf(0.975, row.df)
        assert row.p_value == pytest.approx(2 * t.sf(abs(row.roc_auc_lift_pct) / error, row.df))


def test_one_seed_says_that_chance_in_training_is_not_covered() -> None:
    three = judged({"none": 0.5, "all": 0.6})
    one = replace(three, scores={name: {0: by[0]} for name, by in three.scores.items()})
    assert lift_table(three, 0.95)[1].covers_training
    found = lift_table(one, 0.95)[1]
    assert found.as_json()["covers_training"] is False
    assert found.seeds == 1


def test_what_does_not_learn_from_the_same_seeds_is_not_compared() -> None:
    one = judged({"none": 0.5, "all": 0.6})
    other = replace(one, scores={**one.scores, "all": dict(list(one.scores["all"].items())[:2])})
    with pytest.raises(HeadwaterError, match="expected the same"):
        lift_table(other, 0.95)


def test_rows_needed_by_hand() -> None:
    """n ((z_0.975 + z_0.8) error / lift)^2, the error taken from the interval; none where the
    effect is shown already.
    """
    generator = np.random.default_rng(3)
    truth, rows = generator.standard_normal(1000), np.arange(1000)
    labels = (generator.random(1000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    scores = {variant: {0: truth + generator.standard_normal(1000)} for variant in ("none", "all")}
    few = lift_table(Judged(labels, rows, np.zeros(1000, np.int32), scores, rows), 0.95)[1]
    assert few.low <= 0 <= few.high
    error = (few.high - few.low) / (2 * t.ppf(0.975, few.df))
    assert few.rows_needed == pytest.approx(
        1000 * ((norm.ppf(0.975) + norm.ppf(0.8)) * error / few.roc_auc_lift_pct) ** 2, abs=1
    )
    assert lift_table(judged({"none": 0.5, "all": 0.8}), 0.95)[1].rows_needed is None


def test_p_values_are_corrected_by_holm() -> None:
    rows = lift_table(
        judged({"none": 0.5, "a": 0.51, "b": 0.52, "c": 0.8}),
        0.95,
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


def test_the_narrowest_that_is_shown_to_be_no_worse_is_advised() -> None:
    """A wide interval shows nothing, though it holds zero; and after the first that is not shown, a
    lucky one counts no more.
    """
    (row,) = lift_table(judged({"none": 0.5}), 0.95)

    def over(name: str, low: float, high: float) -> Lift:
        return replace(row, variant=name, low=low, high=high)

    wide, sure, worse = (
        over("to 32", -0.9, 0.9),
        over("to 16", -0.05, 0.0),
        over("to 8", -0.3, -0.2),
    )
    lucky = over("to 4", -0.01, 0.3)
    assert [is_no_worse(one, 0.1) for one in (wide, sure, worse)] == [False, True, False]
    assert last_no_worse([wide, sure], 0.1) is None
    assert last_no_worse([sure, lucky], 0.1) == lucky
    assert last_no_worse([sure, worse, lucky], 0.1) == sure
    assert last_no_worse([sure, worse, lucky], 0.4) == lucky


def test_a_gain_is_in_doubt_where_it_is_not_shown_over_the_control() -> None:
    assert [tone_of(*bounds) for bounds in ((1, 2), (-1, 1), (-2, -1))] == ["good", "flat", "bad"]
    assert beside_control("good", None) == beside_control("good", "good") == "good"
    assert beside_control("good", "flat") == beside_control("good", "bad") == "doubt"
    assert beside_control("flat", "flat") == "flat"
    assert beside_control("bad", "good") == "bad"


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


def test_one_class_or_one_user_is_said_not_computed() -> None:
    rows, days = np.arange(6), np.zeros(6, np.int32)
    scores = {"none": {0: np.linspace(0, 1, 6)}}
    with pytest.raises(HeadwaterError, match="two classes"):
        lift_table(Judged(np.ones(6), rows, days, scores, rows), 0.9)
    with pytest.raises(HeadwaterError, match="at least 2 users"):
        lift_table(Judged(rows % 2, days, days, scores, rows), 0.9)
    with pytest.raises(HeadwaterError, match="at least 2 items"):
        lift_table(Judged(rows % 2, rows, days, scores, days), 0.9)
