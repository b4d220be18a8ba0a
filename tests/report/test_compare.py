"""The difference of two factories' lifts: known answers, pairing, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headwater.errors import ExperimentError
from headwater.evaluation import Judged
from headwater.evaluation.compare import lift_differences, same_rows


def judged(noise: float, seeds: tuple[int, ...] = (0, 1), rows: int = 600) -> Judged:
    """The variant `all` knows the label under noise; `none` is a coin that both factories share."""
    labels = (np.arange(rows) % 3 == 0).astype(np.float32)
    coin = np.random.default_rng(1).random((9, rows))
    known = {
        seed: labels * 0.6 + noise * np.random.default_rng(10 + seed).random(rows) for seed in seeds
    }
    return Judged(
        labels,
        np.arange(rows) // 4,
        np.full(rows, 739000),
        {"none": {seed: coin[seed] for seed in seeds}, "all": known},
        np.arange(rows) % 97,
    )


def test_points_are_the_difference_of_the_two_lifts() -> None:
    a, b = judged(1.0), judged(0.8)

    def gain(one: Judged) -> float:
        mean = {
            variant: np.mean([roc_auc_score(one.labels_N, scores) for scores in by_seed.values()])
            for variant, by_seed in one.scores.items()
        }
        return 100 * (mean["all"] / mean["none"] - 1)

    (found,) = lift_differences(a, b, 0.95)
    assert found.variant == "all"
    assert found.points == pytest.approx(gain(b) - gain(a))
    assert 0 < found.low < found.points < found.high
    (back,) = lift_differences(b, a, 0.95)
    assert (back.points, back.low, back.high) == pytest.approx(
        (-found.points, -found.high, -found.low)
    )


def test_what_both_share_cancels() -> None:
    """The same ranking, written as other probabilities: no draw of users or seeds can tell them
    apart.
    """
    a = judged(1.0)
    b = replace(
        a,
        scores={
            variant: {seed: scores**3 for seed, scores in by_seed.items()}
            for variant, by_seed in a.scores.items()
        },
    )
    (found,) = lift_differences(a, b, 0.95)
    assert (found.points, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-9)


def test_the_interval_covers_the_chance_of_seeds_that_are_not_shared() -> None:
    a, b = judged(1.0, (0, 1)), judged(1.0, (0, 1, 2))
    (found,) = lift_differences(a, b, 0.95)
    assert found.low < 0 < found.high


def test_other_rows_are_refused() -> None:
    a = judged(1.0)
    assert same_rows(a, judged(0.5))
    for b in (
        judged(1.0, rows=300),
        replace(a, labels_N=1 - a.labels_N),
        replace(a, users_N=a.users_N + 1),
        replace(a, items_N=a.items_N + 1),
        replace(a, days_N=a.days_N + 1),
    ):
        assert not same_rows(a, b)
        with pytest.raises(ExperimentError, match="judged other rows"):
            lift_differences(a, b, 0.95)


def test_both_need_the_baseline_and_two_classes() -> None:
    a = judged(1.0)
    for b in (
        replace(a, scores={"all": a.scores["all"]}),
        replace(a, scores={"none": a.scores["none"]}),
    ):
        if "none" in b.scores:
            assert lift_differences(a, b, 0.95) == []  # no variant in common
        else:
            with pytest.raises(ExperimentError, match="'none'"):
                lift_differences(a, b, 0.95)
    one_class = replace(a, labels_N=np.ones_like(a.labels_N))
    with pytest.raises(ExperimentError, match="two classes"):
        lift_differences(one_class, one_class, 0.95)
