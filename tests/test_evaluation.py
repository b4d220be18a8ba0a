"""Metrics and intervals: known answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headwater.errors import ConfigError, HeadwaterError
from headwater.evaluation import Arm, Judged, lift_table, metrics_of
from headwater.evaluation.metrics import WeightedAuc

NAMES = ("ctr_user", "ctr_item", "cvr_user", "cvr_item")


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_auc_agrees_with_scikit_learn(ties) -> None:
    generator = np.random.default_rng(0)
    labels, weights = generator.integers(0, 2, 500), generator.integers(0, 4, 500).astype(float)
    scores = generator.random(500).round(1 if ties else 12)
    assert WeightedAuc(labels, scores)(weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)


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
    """Arms whose scores see a hidden truth with the given strength, the same noise in each seed."""
    generator = np.random.default_rng(1)
    truth = generator.standard_normal(n)
    labels = (generator.random(n) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    noise = {seed: generator.standard_normal(n) for seed in range(3)}
    scores = {arm: {seed: 1 / (1 + np.exp(-(s * truth + noise[seed]))) for seed in noise} for arm, s in strength.items()}
    return Judged(labels, generator.integers(0, users, n), np.zeros(n, np.int32), scores)


def test_a_real_lift_has_an_interval_above_zero_and_none_has_not() -> None:
    rows = {row.arm: row for row in lift_table(judged({"none": 0.5, "all": 0.8, "same": 0.5}), 200, 0.95, seed=0)}
    assert rows["none"].low == rows["none"].high == 0
    assert 0 < rows["all"].low < rows["all"].roc_auc_lift_pct < rows["all"].high
    assert rows["same"].low == rows["same"].roc_auc_lift_pct == rows["same"].high == 0
    assert (rows["all"].seeds, rows["all"].n) == (3, 4000)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Two arms of equal worth: the interval should miss zero in about one case in ten at 90 %."""
    missed = 0
    for trial in range(40):
        generator = np.random.default_rng(trial)
        truth, labels = generator.standard_normal(600), None
        labels = (generator.random(600) < 1 / (1 + np.exp(-truth))).astype(np.float32)
        scores = {arm: {0: truth + generator.standard_normal(600)} for arm in ("none", "other")}
        row = lift_table(Judged(labels, np.arange(600), np.zeros(600, np.int32), scores), 100, 0.9, seed=trial)[1]
        missed += not row.low <= 0 <= row.high
    assert missed <= 10


def test_clustering_by_user_widens_the_interval() -> None:
    base = judged({"none": 0.5, "all": 0.6}, n=600)
    repeated = Judged(*[np.tile(x, 5) for x in (base.labels_N, np.arange(600), base.days_N)],
                      {arm: {s: np.tile(v, 5) for s, v in by.items()} for arm, by in base.scores.items()})  # fmt: skip
    rowwise = Judged(repeated.labels_N, np.arange(3000), repeated.days_N, repeated.scores)
    clustered, naive = (lift_table(x, 200, 0.95, seed=0)[1] for x in (repeated, rowwise))
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)


def test_arms_are_parsed() -> None:
    assert Arm.parse("none", NAMES).embeddings == ()
    assert Arm.parse("all", NAMES) == Arm("all", NAMES)
    assert Arm.parse("shuffled", NAMES) == Arm("shuffled", NAMES, shuffled=True)
    assert Arm.parse("ctr_user+cvr_item", NAMES).embeddings == ("ctr_user", "cvr_item")
    with pytest.raises(ConfigError, match="no embedding named ctr_usr"):
        Arm.parse("ctr_usr", NAMES)


def test_one_class_is_said_not_computed() -> None:
    with pytest.raises(HeadwaterError, match="two classes"):
        lift_table(Judged(np.ones(5), np.arange(5), np.zeros(5, np.int32), {"none": {0: np.ones(5)}}), 10, 0.9, 0)
