"""ROC-AUC within days and groups: against loops over all pairs, and its influences against slow
derivatives and a jackknife.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headwater.evaluation import Judged
from headwater.evaluation.metrics import placements
from headwater.evaluation.within import ranked_within


def by_pairs(labels, scores, strata, weights) -> float:
    """sum_s n_s A_s / sum_s n_s by loops over all pairs, each row counted `weights` times."""
    total = rows = 0.0
    for stratum in set(strata.tolist()):
        mine = np.flatnonzero(strata == stratum)
        pairs = won = 0.0
        for i in mine[labels[mine] == 1]:
            for j in mine[labels[mine] == 0]:
                weight = weights[i] * weights[j]
                pairs += weight
                won += weight * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
        if pairs:
            total += weights[mine].sum() * won / pairs
            rows += weights[mine].sum()
    return total / rows


def drawn(seed: int, n: int, strata: int, ties: bool):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(np.float32)
    scores = generator.random(n).round(1 if ties else 12)
    return labels, scores, generator.integers(0, strata, n)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "strata"), [(60, 1), (60, 4), (60, 25), (200, 40)])
def test_it_is_what_loops_over_all_pairs_find(n, strata, ties) -> None:
    labels, scores, strata_N = drawn(0, n, strata, ties)
    found = ranked_within(labels, scores, strata_N)
    assert found.value == pytest.approx(by_pairs(labels, scores, strata_N, np.ones(n)), abs=1e-12)
    classes = [set(labels[strata_N == s].tolist()) for s in set(strata_N.tolist())]
    assert found.strata == sum(len(one) == 2 for one in classes)
    assert found.left_out == sum(len(one) == 1 for one in classes)
    two = [s for s in set(strata_N.tolist()) if len(set(labels[strata_N == s].tolist())) == 2]
    assert found.rows == np.isin(strata_N, two).sum()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("strata", [1, 4, 20])
def test_a_row_s_influence_is_the_derivative_by_its_weight(strata, ties) -> None:
    labels, scores, strata_N = drawn(1, 50, strata, ties)
    step = 1e-5
    slow = []
    for row in range(50):
        ends = []
        for sign in (1, -1):
            weights = np.ones(50)
            weights[row] += sign * step
            ends.append(by_pairs(labels, scores, strata_N, weights))
        slow.append((ends[0] - ends[1]) / (2 * step))
    found = ranked_within(labels, scores, strata_N).parts_N
    np.testing.assert_allclose(found, slow, atol=1e-8)
    assert found.sum() == pytest.approx(0, abs=1e-12)


def test_in_one_stratum_it_is_roc_auc_with_delong_s_placements() -> None:
    labels, scores, _ = drawn(2, 300, 1, ties=True)
    found = ranked_within(labels, scores, np.zeros(300, np.int64))
    auc = roc_auc_score(labels, scores)
    of_class = np.where(labels == 1, labels.sum(), (1 - labels).sum())
    assert found.value == pytest.approx(auc, abs=1e-12)
    np.testing.assert_allclose(
        found.parts_N, (placements(labels, scores) - auc) / of_class, atol=1e-12
    )


@pytest.mark.parametrize("of", ["day_strata", "group_strata"])
def test_squares_of_the_users_sums_are_the_jackknife_s_variance(of) -> None:
    """Users with several pages on several days, left out one by one."""
    generator = np.random.default_rng(3)
    users = np.repeat(np.arange(150), generator.integers(4, 30, 150))
    n = len(users)
    taste = generator.standard_normal(150)[users]
    labels = (generator.random(n) < 1 / (1 + np.exp(1 - taste))).astype(np.float32)
    scores = generator.standard_normal(n) + labels * generator.exponential(1, 150)[users]
    judged = Judged(
        labels,
        users,
        generator.integers(0, 5, n),
        {},
        items_N=users,
        groups_N=users * 9 + np.arange(n) % 2,
    )
    strata = getattr(judged, of)
    found = ranked_within(labels, scores, strata)
    sums = np.bincount(users, weights=found.parts_N)
    left = []
    for user in range(150):
        rest = users != user
        left.append(ranked_within(labels[rest], scores[rest], strata[rest]).value)
    jackknife = 149 / 150 * np.square(np.array(left) - np.mean(left)).sum()
    assert np.square(sums).sum() == pytest.approx(jackknife, rel=0.05)


def test_the_variance_is_that_of_fresh_samples_of_users() -> None:
    values, variances = [], []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        users = np.repeat(np.arange(100), 12)
        taste = generator.standard_normal(100)[users]
        labels = (generator.random(1200) < 1 / (1 + np.exp(1 - taste))).astype(np.float32)
        scores = generator.standard_normal(1200) + labels * generator.exponential(1, 100)[users]
        found = ranked_within(labels, scores, users)
        values.append(found.value)
        variances.append(np.square(np.bincount(users, weights=found.parts_N)).sum())
    assert np.mean(variances) == pytest.approx(np.var(values, ddof=1), rel=0.2)


def test_scores_that_shift_by_day_lose_pooled_auc_and_no_daily_one() -> None:
    """What misled: mean predictions that are off on some days."""
    generator = np.random.default_rng(4)
    days = np.repeat([10, 11, 12], 1000)
    truth = generator.standard_normal(3000)
    labels = (generator.random(3000) < 1 / (1 + np.exp(1 - truth))).astype(np.float32)
    judged = Judged(labels, np.arange(3000), days, {}, items_N=np.arange(3000))
    shifted = truth + np.array([0.0, 3.0, -2.0])[days - 10]
    pooled, daily = (
        [ranked_within(labels, scores, strata).value for scores in (truth, shifted)]
        for strata in (np.zeros(3000, np.int64), judged.day_strata)
    )
    assert pooled[1] < pooled[0] - 0.1
    assert daily[1] == pytest.approx(daily[0], abs=1e-12)
    assert daily[0] == pytest.approx(
        np.mean([roc_auc_score(labels[days == day], truth[days == day]) for day in (10, 11, 12)])
    )


def test_by_hand() -> None:
    """A page of three whose click ranks between the two others, one of two in right order, one
    without a click: (3 x 1/2 + 2 x 1) / 5.
    """
    labels = np.array([0, 1, 0, 1, 0, 0, 0])
    scores = np.array([0.9, 0.5, 0.1, 0.8, 0.2, 0.7, 0.3])
    found = ranked_within(labels, scores, np.array([0, 0, 0, 1, 1, 2, 2]))
    assert (found.value, found.rows, found.strata, found.left_out) == (0.7, 5, 2, 1)
    alone = ranked_within(labels[:1], scores[:1], np.array([0]))
    assert np.isnan(alone.value)
    assert (alone.rows, alone.strata, alone.left_out) == (0, 0, 1)


def test_a_group_that_reaches_over_midnight_is_two() -> None:
    judged = Judged(
        np.array([1, 0, 1, 0]),
        np.array([7, 7, 7, 8]),
        np.array([10, 10, 11, 11]),
        {},
        items_N=np.arange(4),
        groups_N=np.array([5, 5, 5, 6], np.uint64),
    )
    assert len(set(judged.group_strata.tolist())) == 3
    of_users = Judged(judged.labels_N, judged.users_N, judged.days_N, {}, items_N=np.arange(4))
    assert of_users.group_strata.tolist() == [0, 0, 1, 2]
