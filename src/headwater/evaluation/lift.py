"""Lift: the relative change of a metric against the same model without embeddings.

Intervals are paired: a variant and its baseline were judged on the same rows, and learnt from the
same seeds. Shape suffixes: N rows, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from headwater.errors import ExperimentError
from headwater.evaluation.clusters import Clusters
from headwater.evaluation.influence import Influence, Metric, mean_of, pr_auc, roc_auc
from headwater.evaluation.interval import Interval, interval_of
from headwater.evaluation.judged import Judged
from headwater.evaluation.metrics import Metrics, metrics_of
from headwater.evaluation.within import daily_auc, group_auc

# of a baseline against itself, there is nothing to say of these
_COMPARED = (
    "roc_auc_lift_pct",
    "pr_auc_lift_pct",
    "low",
    "high",
    "pr_low",
    "pr_high",
    "daily_lift_pct",
    "daily_low",
    "daily_high",
    "group_lift_pct",
    "group_low",
    "group_high",
    "df",
    "users_effective",
    "items_effective",
    "covers_training",
)


@dataclass(frozen=True)
class Within:
    """A variant's ROC-AUC within days or groups, and its lift in per cent with the bounds of its
    interval and its p values, as those of `Lift`. NaN where no day, or no group, holds two classes.
    """

    auc: float
    lift_pct: float
    low: float
    high: float
    p_value: float | None
    p_holm: float | None = None


@dataclass(frozen=True)
class Lift:
    """One row of a table: `variant` against `baseline`.

    Metrics are means over seeds; lifts and their bounds are in per cent.

    `low`, `high`: of the ROC-AUC lift, over users, items and seeds (`interval_of`). `p_value` is of
    the same error, two-sided, `p_holm` the same corrected for the table's number of comparisons.
    `df`: degrees of freedom of the error; `users_effective`, `items_effective`: how many of equal
    weight would tell as much. `covers_training` is false where there was one seed: then nothing
    here covers the chance in training. `upstream_seeds`: from how many seeds of the upstreams it
    is; of one, the chance in training these is in nothing here. `rows_needed`: where the interval
    holds zero, how many such rows would show an effect of this size four times in five.

    `daily` is of the mean of the days' ROC-AUC, `group` of that within groups of rows that compete,
    such as a request's, which `group_of` names.
    """

    variant: str
    baseline: str
    roc_auc: float
    roc_auc_lift_pct: float
    low: float
    high: float
    p_value: float | None
    p_holm: float | None
    df: float
    users_effective: float
    items_effective: float
    covers_training: bool
    rows_needed: int | None
    daily: Within
    group: Within
    group_of: str
    pr_auc: float
    pr_auc_lift_pct: float
    pr_low: float
    pr_high: float
    log_loss: float
    ne: float
    seeds: int
    upstream_seeds: int
    n: int

    def as_json(self) -> dict[str, Any]:
        """As JSON has it, flat (`daily_auc`, ...): what was not made is None.

        So are the lifts of a baseline against itself.
        """
        void = _COMPARED if self.variant == self.baseline else ()
        raw = asdict(self)
        for name in ("daily", "group"):
            raw |= {f"{name}_{key}": value for key, value in raw.pop(name).items()}
        return {
            key: None if key in void or value != value else _finite(value)
            for key, value in raw.items()
        }


@dataclass(frozen=True)
class Measured:
    """A metric of one variant: by seed, and the mean over seeds with each row's part in it."""

    by_seed: dict[int, float]
    mean: Influence

    @classmethod
    def of(cls, judged: Judged, variant: str, metric: Metric) -> Measured:
        found = {seed: metric(judged, scores) for seed, scores in judged.scores[variant].items()}
        return cls({seed: one.value for seed, one in found.items()}, mean_of(list(found.values())))

    def changes(self, base: Measured) -> dict[int, float]:
        """100 (A_s - (A / B) B_s) / B of every seed s, A being this and B the base."""
        ratio = self.mean.value / base.mean.value
        return {
            seed: 100 * (value - ratio * base.by_seed[seed]) / base.mean.value
            for seed, value in self.by_seed.items()
        }


class Comparison:
    """The variants that were judged on some rows, compared in pairs; each is measured once.

    Raises ExperimentError where the rows hold one class only.
    """

    def __init__(self, judged: Judged) -> None:
        if not judged.has_two_classes:
            raise ExperimentError(
                "lift: the judged rows hold no two classes yet. Run more days, or widen"
                " evaluation.start and end."
            )
        self.judged = judged
        self.clusters = Clusters(judged.users_N, judged.items_N)
        self._measured: dict[tuple[str, Metric], Measured] = {}

    def measured(self, variant: str, metric: Metric) -> Measured:
        """Raises ExperimentError where the variant was not judged."""
        if variant not in self.judged.scores:
            raise ExperimentError(
                f"lift: the variant {variant!r} was not judged; there are:"
                f" {', '.join(self.judged.scores)}."
            )
        key = variant, metric
        if key not in self._measured:
            self._measured[key] = Measured.of(self.judged, variant, metric)
        return self._measured[key]

    def change_pct(
        self, variant: str, baseline: str, metric: Metric, confidence: float
    ) -> Interval:
        """The relative change of a metric's mean over seeds, in per cent.

        Raises ExperimentError where the two did not learn from the same seeds.
        """
        now, base = self._paired(variant, baseline, metric)
        trained = self.judged.by_training(now.changes(base))
        changed = now.mean.change_pct(base.mean)
        return interval_of(changed, self.clusters, confidence, [trained])

    def difference(
        self, variant: str, baseline: str, metric: Metric, confidence: float
    ) -> Interval:
        """The metric's mean over seeds less that of the baseline, otherwise as `change_pct`."""
        now, base = self._paired(variant, baseline, metric)
        less = {seed: value - base.by_seed[seed] for seed, value in now.by_seed.items()}
        trained = self.judged.by_training(less)
        return interval_of(now.mean.less(base.mean), self.clusters, confidence, [trained])

    def _paired(self, variant: str, baseline: str, metric: Metric) -> tuple[Measured, Measured]:
        now, base = self.measured(variant, metric), self.measured(baseline, metric)
        if now.by_seed.keys() != base.by_seed.keys():
            raise ExperimentError(
                f"lift: {variant!r} was judged with the seeds {sorted(now.by_seed)}, {baseline!r}"
                f" with {sorted(base.by_seed)}; expected the same. Run the days again with"
                " --replace."
            )
        return now, base


def lift_table(
    judged: Judged,
    confidence: float,
    baseline: str = "none",
    further: Sequence[tuple[str, str]] = (),
) -> list[Lift]:
    """A Lift for every variant against `baseline`, then for each pair of `further`.

    A pair is (variant, other baseline). Every interval and p value is that of `interval_of`: over
    users, items and seeds; p values are corrected over the whole table (Holm 1979).

    Raises ExperimentError where a variant was not judged, the rows hold one class only, or the rows
    are of one user or of one item.
    """
    pairs = [*((variant, baseline) for variant in judged.scores), *further]
    found = Comparison(judged)
    means = {
        variant: _mean([metrics_of(judged.labels_N, scores) for scores in by_seed.values()])
        for variant, by_seed in judged.scores.items()
    }
    return holm([_lift(found, means, pair, confidence) for pair in pairs])


def _lift(
    found: Comparison, means: dict[str, Metrics], pair: tuple[str, str], confidence: float
) -> Lift:
    variant, baseline = pair
    roc = found.change_pct(variant, baseline, roc_auc, confidence)
    pr = found.change_pct(variant, baseline, pr_auc, confidence)
    rows, compared = len(found.judged.labels_N), variant != baseline
    mean = means[variant]
    return Lift(
        variant=variant,
        baseline=baseline,
        roc_auc=mean.roc_auc,
        roc_auc_lift_pct=roc.value,
        low=roc.low,
        high=roc.high,
        p_value=roc.p_value if compared else None,
        p_holm=None,
        df=roc.df,
        users_effective=roc.users,
        items_effective=roc.items,
        covers_training=roc.training,
        rows_needed=roc.rows_needed(rows, confidence) if compared else None,
        daily=_within(found, pair, daily_auc, confidence),
        group=_within(found, pair, group_auc, confidence),
        group_of=found.judged.group,
        pr_auc=mean.pr_auc,
        pr_auc_lift_pct=pr.value,
        pr_low=pr.low,
        pr_high=pr.high,
        log_loss=mean.log_loss,
        ne=mean.ne,
        seeds=len(found.judged.scores[variant]),
        upstream_seeds=found.judged.upstream_seeds,
        n=rows,
    )


def _within(found: Comparison, pair: tuple[str, str], metric: Metric, confidence: float) -> Within:
    variant, baseline = pair
    auc = found.measured(variant, metric).mean.value
    if np.isnan(auc):
        return Within(auc, auc, auc, auc, None)
    change = found.change_pct(variant, baseline, metric, confidence)
    p_value = change.p_value if variant != baseline else None
    return Within(auc, change.value, change.low, change.high, p_value)


def holm(rows: Sequence[Lift]) -> list[Lift]:
    """The rows with p values corrected over all that compare something (Holm 1979), those of each
    ROC-AUC by themselves.
    """
    pooled = corrected([row.p_value for row in rows])
    daily = corrected([row.daily.p_value for row in rows])
    group = corrected([row.group.p_value for row in rows])
    return [
        replace(
            row,
            p_holm=pooled[place],
            daily=replace(row.daily, p_holm=daily[place]),
            group=replace(row.group, p_holm=group[place]),
        )
        for place, row in enumerate(rows)
    ]


def corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979); None stays None, and counts for none."""
    tested = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    found: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for rank, (value, place) in enumerate(tested):
        worst = max(worst, min(1.0, (len(tested) - rank) * value))
        found[place] = worst
    return found


def _mean(rows: list[Metrics]) -> Metrics:
    return Metrics(*np.mean([list(asdict(row).values()) for row in rows], axis=0).tolist())


def _finite(value: Any) -> Any:
    """JSON has no infinity, such as the degrees of freedom of a difference that is always 0."""
    return None if isinstance(value, float) and np.isinf(value) else value
