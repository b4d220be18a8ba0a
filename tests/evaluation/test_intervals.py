"""Intervals: variances by hand, slow twins, and how often they miss what is true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, norm, t
from sklearn.metrics import average_precision_score, roc_auc_score

from headwater.evaluation import Influence, Judged, interval_of
from headwater.evaluation.clusters import Clusters, Grouping, Variance, added
from headwater.evaluation.influence import mean_influence, mean_of, pr_auc, roc_auc
from headwater.evaluation.metrics import WeightedRanking, placements


def rows_of(n: int, users: int, items: int, ties: bool = False) -> tuple[Judged, np.ndarray]:
    """Rows whose users and items differ in what they click and in what is believed of them."""
    generator = np.random.default_rng(n + users)
    user_N, item_N = generator.integers(0, users, n), generator.integers(0, items, n)
    truth_N = generator.standard_normal(users)[user_N] + generator.standard_normal(n)
    labels_N = (generator.random(n) < 1 / (1 + np.exp(1 - truth_N))).astype(np.float32)
    scores_N = truth_N + generator.standard_normal(items)[item_N] + generator.standard_normal(n)
    days_N = np.zeros(n, np.int32)
    judged = Judged(labels_N, user_N, days_N, {"none": {0: scores_N}}, item_N)
    return judged, scores_N.round(1 if ties else 12)


# ---- a row's part ------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("place", "metric"), [(0, roc_auc), (1, pr_auc)])
def test_a_rows_part_is_the_derivative_by_its_weight(place, metric, ties) -> None:
    judged, scores_N = rows_of(300, 40, 30, ties)
    found = metric(judged, scores_N)
    library = (roc_auc_score, average_precision_score)[place]
    assert found.value == pytest.approx(library(judged.labels_N, scores_N), abs=1e-12)
    assert found.parts_N.sum() == pytest.approx(0, abs=1e-12)
    ranking = WeightedRanking(judged.labels_N, scores_N)
    for row in range(0, 300, 7):
        step_N = np.zeros(300)
        step_N[row] = 1e-4
        slope = (ranking(1 + step_N)[place] - ranking(1 - step_N)[place]) / 2e-4
        assert found.parts_N[row] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize(("place", "metric"), [(0, roc_auc), (1, pr_auc)])
def test_the_error_is_that_of_a_bootstrap_over_users(place, metric) -> None:
    judged, scores_N = rows_of(2000, 150, 2000)
    parts_N = metric(judged, scores_N).parts_N
    ranking = WeightedRanking(judged.labels_N, scores_N, judged.users_N)
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(150, np.full(150, 1 / 150), 1500)
    slow = np.std([ranking(weights.astype(float))[place] for weights in drawn], ddof=1)
    assert np.sqrt(Grouping(judged.users_N).variance(parts_N)) == pytest.approx(slow, rel=0.06)


def test_a_change_by_the_delta_method() -> None:
    now, base = Influence(0.6, np.array([0.02, -0.02])), Influence(0.5, np.array([0.01, -0.01]))
    found = now.change_pct(base)
    assert found.value == pytest.approx(20)
    assert found.parts_N == pytest.approx([100 * (0.02 - 1.2 * 0.01) / 0.5, -1.6])
    assert now.less(base).value == pytest.approx(0.1)
    mean = mean_of([now, base])
    assert (mean.value, *mean.parts_N) == pytest.approx((0.55, 0.015, -0.015))


def test_the_parts_of_a_mean_by_hand() -> None:
    found = mean_influence(np.array([1.0, 0.0, 2.0]), np.array([1.0, 1.0, 2.0]))
    assert found.value == 0.75
    assert found.parts_N == pytest.approx([0.25 / 4, -0.75 / 4, 0.5 / 4])


# ---- variances ---------------------------------------------------------------------------------


def test_a_two_way_variance_by_hand() -> None:
    """Two users, two items, a row for each pair. Users' sums are 3 and -3: 2 / 1 (9 + 9) = 36;
    those of items 0; of pairs 4 / 3 (1 + 4 + 1 + 4); so 36 + 0 - 13.33.
    """
    clusters = Clusters(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    assert clusters.variance(np.array([1, 2, -1, -2])).value == pytest.approx(36 - 40 / 3)
    assert clusters.variance(np.array([2, 0, 0, -2])).value == pytest.approx(16 + 16 - 32 / 3)


def test_what_falls_below_the_variance_of_pairs_is_lifted_to_it() -> None:
    """Users' and items' sums are all 0, and 0 + 0 - 4 / 3 4 would be negative."""
    clusters = Clusters(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    assert clusters.variance(np.array([1, -1, -1, 1])).value == pytest.approx(16 / 3)


def test_a_group_with_much_of_the_rows_is_corrected_for_what_it_drew() -> None:
    """Three users of 2, 1 and 1 rows, whose sums are 3, -1 and -2:
    2 / 3 ((3 / (1 / 2))^2 + (1 / (3 / 4))^2 + (2 / (3 / 4))^2).
    """
    variance = Grouping(np.array([7, 7, 8, 9])).variance(np.array([2, 1, -1, -2]))
    assert variance == pytest.approx(2 / 3 * (36 + 16 / 9 + 64 / 9))


def test_variances_are_those_of_a_jackknife_that_leaves_groups_out() -> None:
    judged, scores_N = rows_of(1500, 60, 50)
    found = roc_auc(judged, scores_N)
    both_N = judged.users_N * 50 + judged.items_N
    slow = []
    for keys_N in (judged.users_N, judged.items_N, both_N):
        groups = np.unique(keys_N)
        left = [
            roc_auc_score(judged.labels_N[keys_N != one], scores_N[keys_N != one]) for one in groups
        ]
        slow.append(np.square(np.array(left) - found.value).sum() * (len(groups) - 1) / len(groups))
        assert Grouping(keys_N).variance(found.parts_N) == pytest.approx(slow[-1], rel=0.06)
    two_way = Clusters(judged.users_N, judged.items_N).variance(found.parts_N).value
    assert two_way == pytest.approx(slow[0] + slow[1] - slow[2], rel=0.06)


def test_rows_that_share_nothing_have_the_error_of_delong() -> None:
    """A user and an item of its own for every row: DeLong et al. 1988, by their own formula."""
    judged, scores_N = rows_of(3000, 3000, 3000)
    rows = np.arange(3000)
    shares_N, positive_N = placements(judged.labels_N, scores_N), judged.labels_N == 1
    delong = sum(
        shares_N[chosen].var(ddof=1) / chosen.sum() for chosen in (positive_N, ~positive_N)
    )
    found = Clusters(rows, rows).variance(roc_auc(judged, scores_N).parts_N)
    assert found.value == pytest.approx(delong, rel=0.002)
    assert found.df > 1000


def test_the_effective_number_of_groups_by_hand() -> None:
    even = Grouping(np.repeat(np.arange(10), 4))
    alike_N = np.repeat(np.resize([1.0, -1.0], 10), 4)
    assert even.effective(alike_N) == pytest.approx(10)
    # one user with half of 40 rows, 20 with one each: v_g = n_g^2 where a user's rows are the same
    odd_N = np.concatenate([np.zeros(20, int), np.arange(1, 21)])
    same_N = np.concatenate([np.ones(20), np.resize([-1.0, 1.0], 20)])
    assert Grouping(odd_N).effective(same_N) == pytest.approx(420**2 / (400**2 + 20))
    # and v_g = n_g where they are not
    apart_N = np.resize([1.0, -1.0], 40)
    assert Grouping(odd_N).effective(apart_N) == pytest.approx(40**2 / (20**2 + 20))


def test_degrees_of_freedom_of_a_sum_by_hand() -> None:
    """1 of 2 and 2 of 4 degrees of freedom, counted 6 / 2 and 8 / 4 times:
    7^2 / (3^2 / 2 + 4^2 / 4).
    """
    found = added([Variance(1, 2), Variance(2, 4)])
    assert found.value == 3
    assert found.df == pytest.approx(49 / 8.5)
    assert added([Variance(2, 3)]).df == pytest.approx(3)
    assert added([Variance(1, np.inf), Variance(0, 2)]).df == np.inf
    assert added([Variance(1, 1e12), Variance(1e-6, 2)]).df > 1e9


@pytest.mark.parametrize(("df", "least", "most"), [(1, 3.3, 7.6), (2, 3.7, 5.5), (4, 4.2, 5.2)])
def test_a_variance_of_few_degrees_beside_a_known_one_misses_as_often_as_it_says(
    df, least, most
) -> None:
    """By the quantiles of its chi-square, whatever the ratio of the two: Welch's and
    Satterthwaite's own degrees of freedom would miss in up to 12.8, 7.8 and 5.8 %.
    """
    quantiles = chi2.ppf((np.arange(300) + 0.5) / 300, df) / df
    for ratio in (0.05, 0.25, 1, 4, 12, 50):
        parts = [added([Variance(1, 1e9), Variance(ratio * one, df)]) for one in quantiles]
        wide = [t.ppf(0.975, one.df) * np.sqrt(one.value) for one in parts]
        misses = 200 * norm.sf(np.array(wide) / np.sqrt(1 + ratio)).mean()
        assert least < misses < most, ratio


def test_an_interval_by_hand() -> None:
    """Four rows of two users and two items, three seeds: 22.67 of rows, 4 / 3 of seeds."""
    clusters = Clusters(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    found = interval_of(
        Influence(10.0, np.array([1.0, 2, -1, -2])), clusters, 0.9, [np.array([8.0, 10, 12])]
    )
    rows = clusters.variance(np.array([1, 2, -1, -2]))
    total = added([rows, Variance(4 / 3, 2)])
    assert found.error == pytest.approx(np.sqrt(36 - 40 / 3 + 4 / 3))
    assert found.df == total.df
    wide = t.ppf(0.95, total.df) * found.error
    assert (found.low, found.high) == pytest.approx((10 - wide, 10 + wide))
    assert found.p_value == pytest.approx(2 * t.sf(10 / found.error, total.df))
    assert found.training


# ---- how often they miss -----------------------------------------------------------------------


def missed(seeds: int, of_seed: float, of_item: float, law: float, worlds: int = 600) -> float:
    """The share of worlds in which the 95 % interval of a mean misses its true value, 0: 900 rows
    of 150 users (a Pareto law says how many of each) and 60 items, and so many trainings.
    """
    misses = 0
    for world in range(worlds):
        generator = np.random.default_rng([world, seeds])
        weights = generator.pareto(law, 150) + 1
        user_N = generator.choice(150, 900, p=weights / weights.sum())
        item_N = generator.integers(0, 60, 900)
        values_N = 0.5 * generator.standard_normal(150)[user_N] + generator.standard_normal(900)
        values_N += of_item * generator.standard_normal(60)[item_N]
        trained_S = of_seed * generator.standard_normal(seeds)
        found = mean_influence(values_N + trained_S.mean())
        by_seed_S = values_N.mean() + trained_S
        made = interval_of(found, Clusters(user_N, item_N), 0.95, [by_seed_S])
        misses += not made.low <= 0 <= made.high
    return misses / worlds


@pytest.mark.parametrize(
    ("seeds", "of_seed", "of_item", "law"),
    [
        (3, 0.5, 0.0, 3.0),  # percentiles of drawn seeds miss in one world of five
        (2, 0.5, 0.0, 3.0),  # and here in two of five
        (3, 0.02, 0.6, 3.0),  # without the items' part, in one of three
        (3, 0.02, 0.0, 1.2),  # with t of all users, in 8 %
    ],
)
def test_the_interval_misses_as_often_as_it_says(seeds, of_seed, of_item, law) -> None:
    assert 0.025 <= missed(seeds, of_seed, of_item, law) <= 0.085
