"""Two factories on the same rows: by how much the lifts of the one exceed those of the other.

Intervals are paired. Shape suffixes: N rows, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.errors import ExperimentError
from headwater.evaluation.influence import Metric, roc_auc
from headwater.evaluation.interval import Interval, interval_of
from headwater.evaluation.judged import Judged
from headwater.evaluation.lift import Comparison
from headwater.evaluation.verdict import Tone, tone_of
from headwater.evaluation.within import daily_auc, group_auc


@dataclass(frozen=True)
class Points:
    """A difference in points of per cent, with its interval; NaN where it is not defined."""

    points: float
    low: float
    high: float


UNDEFINED = Points(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Difference:
    """Of a variant's ROC-AUC lift in the second factory over the first, with its interval.

    In points of per cent. Without `covers_training` the interval does not cover the chance in
    training, for one of the two has one seed. `daily` and `group` are of the other two ROC-AUCs;
    the latter is not defined where the two judge within other groups.
    """

    variant: str
    points: float
    low: float
    high: float
    covers_training: bool = True
    daily: Points = UNDEFINED
    group: Points = UNDEFINED

    @property
    def tone(self) -> Tone:
        """Which of the two gains more: good for the second, bad for the first. Pooled and daily
        must agree, and the order within groups must not say the opposite.
        """
        pooled = tone_of(self.low, self.high)
        daily = tone_of(self.daily.low, self.daily.high)
        group = tone_of(self.group.low, self.group.high)
        if {"good", "bad"} <= {pooled, daily, group}:
            return "mixed"
        return pooled if pooled == daily else "flat"


def same_rows(a: Judged, b: Judged) -> bool:
    """Whether both judged exactly the same rows: labels, users, items and days, in order."""
    return (
        np.array_equal(a.labels_N, b.labels_N)
        and np.array_equal(a.users_N, b.users_N)
        and np.array_equal(a.items_N, b.items_N)
        and np.array_equal(a.days_N, b.days_N)
    )


def lift_differences(
    a: Judged, b: Judged, confidence: float, baseline: str = "none"
) -> list[Difference]:
    """For every variant that both judged: lift in `b` less lift in `a`.

    Each lift is against its factory's own `baseline`. The interval is that of `interval_of`,
    paired: the parts of both lifts in the same rows are subtracted, and so are the lifts of a seed
    that both learnt from; where the seeds are others, each factory adds its own chance in training.

    Raises ExperimentError where the rows are not the same, or one class is missing.
    """
    _expect_comparable(a, b, baseline)
    of_a, of_b = Comparison(a), Comparison(b)
    variants = [variant for variant in a.scores if variant in b.scores and variant != baseline]
    return [_difference(of_a, of_b, variant, baseline, confidence) for variant in variants]


def _difference(
    of_a: Comparison, of_b: Comparison, variant: str, baseline: str, confidence: float
) -> Difference:
    def less(metric: Metric) -> Interval:
        return _less(of_a, of_b, (variant, baseline), metric, confidence)

    pooled = less(roc_auc)
    same_groups = of_a.judged.group == of_b.judged.group
    return Difference(
        variant,
        pooled.value,
        pooled.low,
        pooled.high,
        pooled.training,
        daily=_points(less(daily_auc)),
        group=_points(less(group_auc)) if same_groups else UNDEFINED,
    )


def _points(found: Interval) -> Points:
    return Points(found.value, found.low, found.high)


def _less(
    of_a: Comparison, of_b: Comparison, pair: tuple[str, str], metric: Metric, confidence: float
) -> Interval:
    """A variant's lift of a metric in the second less that in the first."""
    now, base = ([one.measured(name, metric) for one in (of_a, of_b)] for name in pair)
    lift_a, lift_b = (new.mean.change_pct(old.mean) for new, old in zip(now, base, strict=True))
    by_seed_a, by_seed_b = (new.changes(old) for new, old in zip(now, base, strict=True))
    apart = [np.array(list(by_seed.values())) for by_seed in (by_seed_a, by_seed_b)]
    if by_seed_a.keys() == by_seed_b.keys():
        apart = [np.array([by_seed_b[seed] - value for seed, value in by_seed_a.items()])]
    return interval_of(lift_b.less(lift_a), of_a.clusters, confidence, apart)


def _expect_comparable(a: Judged, b: Judged, baseline: str) -> None:
    if not same_rows(a, b):
        raise ExperimentError(
            f"compare: the two factories judged other rows ({len(a.labels_N):,} and"
            f" {len(b.labels_N):,}), so their lifts cannot be compared row by row. Give both the"
            " same logs, evaluation.start and evaluation.end."
        )
    if baseline not in a.scores or baseline not in b.scores or not a.has_two_classes:
        raise ExperimentError(
            f"compare: lifts need the variant {baseline!r} in both factories and rows of two"
            " classes."
        )
