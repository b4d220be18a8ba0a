"""Lift: the relative change of a metric against the same model without embeddings.

Intervals are paired. Shape suffix: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from headwater.errors import ExperimentError
from headwater.evaluation.bootstrap import replicates
from headwater.evaluation.judged import Judged
from headwater.evaluation.metrics import Metrics, metrics_of, placements

LEAST_USERS = 30
POWER = 0.8  # with which the rows needed would show an effect of the size seen
# of a baseline against itself, there is nothing to say of these
_COMPARED = (
    "roc_auc_lift_pct",
    "pr_auc_lift_pct",
    "low",
    "high",
    "row_low",
    "row_high",
    "pr_low",
    "pr_high",
)


@dataclass(frozen=True)
class Lift:
    """One row of a table: `variant` against `baseline`.

    Metrics are means over seeds; lifts and their bounds are in per cent.

    `low`, `high`: of the ROC-AUC lift, over users and seeds; `row_low`, `row_high`: over rows alone
    (DeLong), which is too narrow where a user's rows are alike. `p_value` is two-sided, `p_holm`
    the same corrected for the table's number of comparisons. `rows_needed`: where the interval
    holds zero, how many such rows would show an effect of this size four times in five.
    """

    variant: str
    baseline: str
    roc_auc: float
    roc_auc_lift_pct: float
    low: float
    high: float
    row_low: float
    row_high: float
    p_value: float | None
    p_holm: float | None
    rows_needed: int | None
    pr_auc: float
    pr_auc_lift_pct: float
    pr_low: float
    pr_high: float
    log_loss: float
    ne: float
    seeds: int
    n: int

    def as_json(self) -> dict[str, Any]:
        """As JSON has it: what was not made is None.

        So are the lifts of a baseline against itself.
        """
        void = _COMPARED if self.variant == self.baseline else ()
        return {
            key: None if key in void or value != value else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class _Figures:
    """By variant: mean metrics, bootstrap draws [bootstrap, 2], and mean placements [N]."""

    means: Mapping[str, Metrics]
    draws: Mapping[str, np.ndarray]
    shares: Mapping[str, np.ndarray]


def lift_table(
    judged: Judged,
    bootstrap: int,
    confidence: float,
    seed: int,
    baseline: str = "none",
    further: Sequence[tuple[str, str]] = (),
) -> list[Lift]:
    """A Lift for every variant against `baseline`, then for each pair of `further`.

    A pair is (variant, other baseline). See also `quick_lift`.

    Intervals: percentile bootstrap, paired (each replicate draws the same users and the same seeds
    for a variant and its baseline), clustered by user (a user's rows come or go together) and over
    seeds, so that they cover both the chance in the rows and the chance in training. p values:
    normal, with the bootstrap's standard error, corrected over the whole table (Holm 1979).

    Raises ExperimentError where a variant was not judged or the rows hold one class only.
    """
    pairs = [*((variant, baseline) for variant in judged.scores), *further]
    unknown = [name for pair in pairs for name in pair if name not in judged.scores]
    if unknown:
        raise ExperimentError(
            f"lift: the variant {unknown[0]!r} was not judged; there are:"
            f" {', '.join(judged.scores)}."
        )
    _expect_two_classes(judged)
    figures = _Figures(
        means={
            variant: _mean([metrics_of(judged.labels_N, scores) for scores in by_seed.values()])
            for variant, by_seed in judged.scores.items()
        },
        draws=replicates(judged, bootstrap, seed),
        shares={variant: _shares(judged, variant) for variant in judged.scores},
    )
    return holm([_lift(judged, figures, variant, base, confidence) for variant, base in pairs])


def quick_lift(judged: Judged, variant: str, confidence: float, baseline: str = "none") -> Lift:
    """A Lift without a bootstrap, where there are many to make.

    `low` and `high` cover the same as those of `lift_table`, in closed form: the variance over
    users is the sum of the squares of each user's share in the difference (DeLong's placements
    summed by user, Obuchowski 1997), that over seeds the lifts' own. PR-AUC has no bounds, and p is
    of this comparison alone.

    Raises ExperimentError for rows of one class, or of fewer than LEAST_USERS users: of so few the
    variance cannot be told.
    """
    _expect_two_classes(judged)
    if len(np.unique(judged.users_N)) < LEAST_USERS:
        raise ExperimentError(
            f"lift: {len(np.unique(judged.users_N))} users are too few for an interval over users;"
            f" expected at least {LEAST_USERS}."
        )
    by_seed = [
        [metrics_of(judged.labels_N, judged.scores[name][seed]) for name in (variant, baseline)]
        for seed in judged.scores[variant]
    ]
    now, base = (_mean([pair[side] for pair in by_seed]) for side in (0, 1))
    shares_N, base_shares_N = _shares(judged, variant), _shares(judged, baseline)
    changes = np.array([100 * (one.roc_auc / other.roc_auc - 1) for one, other in by_seed])
    over_seeds = changes.var(ddof=1) / len(changes) if len(changes) > 1 else 0.0
    over_users = _variance_over_users(judged, shares_N, base_shares_N, now, base)
    error = max(float(np.sqrt(100**2 * over_users + over_seeds)), 1e-12)

    found = _without_bounds(judged, variant, baseline, now, base)
    lift = found.roc_auc_lift_pct
    wide = norm.ppf((1 + confidence) / 2)
    row_wide = wide * _row_error(judged.labels_N, shares_N, base_shares_N, now, base)
    low, high = lift - wide * error, lift + wide * error
    p_value = float(2 * norm.sf(abs(lift) / error))
    zero_inside = low <= 0 <= high
    return replace(
        found,
        low=float(low),
        high=float(high),
        row_low=float(lift - row_wide),
        row_high=float(lift + row_wide),
        p_value=p_value,
        p_holm=p_value,
        rows_needed=_rows_needed(found.n, lift, error, confidence) if zero_inside else None,
        pr_low=float("nan"),
        pr_high=float("nan"),
    )


def _expect_two_classes(judged: Judged) -> None:
    if not judged.has_two_classes:
        raise ExperimentError(
            "lift: the judged rows hold no two classes yet. Run more days, or widen"
            " evaluation.start and end."
        )


def _lift(
    judged: Judged, figures: _Figures, variant: str, baseline: str, confidence: float
) -> Lift:
    now, base = figures.means[variant], figures.means[baseline]
    found = _without_bounds(judged, variant, baseline, now, base)
    if variant == baseline:
        return found
    lift = found.roc_auc_lift_pct
    changes = 100 * (figures.draws[variant] / figures.draws[baseline] - 1)
    tail = (1 - confidence) / 2
    (low, pr_low), (high, pr_high) = np.nanquantile(changes, [tail, 1 - tail], axis=0)
    error = max(float(np.nanstd(changes[:, 0], ddof=1)), 1e-12)
    row_error = _row_error(
        judged.labels_N, figures.shares[variant], figures.shares[baseline], now, base
    )
    row_wide = norm.ppf(1 - tail) * row_error
    zero_inside = low <= 0 <= high
    return replace(
        found,
        low=float(low),
        high=float(high),
        row_low=float(lift - row_wide),
        row_high=float(lift + row_wide),
        p_value=float(2 * norm.sf(abs(lift) / error)),
        rows_needed=_rows_needed(found.n, lift, error, confidence) if zero_inside else None,
        pr_low=float(pr_low),
        pr_high=float(pr_high),
    )


def _without_bounds(
    judged: Judged, variant: str, baseline: str, now: Metrics, base: Metrics
) -> Lift:
    """The lifts of `now` over `base`, all bounds 0, no p value."""
    return Lift(
        variant=variant,
        baseline=baseline,
        roc_auc=now.roc_auc,
        roc_auc_lift_pct=100 * (now.roc_auc / base.roc_auc - 1),
        low=0.0,
        high=0.0,
        row_low=0.0,
        row_high=0.0,
        p_value=None,
        p_holm=None,
        rows_needed=None,
        pr_auc=now.pr_auc,
        pr_auc_lift_pct=100 * (now.pr_auc / base.pr_auc - 1),
        pr_low=0.0,
        pr_high=0.0,
        log_loss=now.log_loss,
        ne=now.ne,
        seeds=len(judged.scores[variant]),
        n=len(judged.labels_N),
    )


def _shares(judged: Judged, variant: str) -> np.ndarray:
    """Each row's share in the variant's ROC-AUC, [N], mean over seeds."""
    by_seed = judged.scores[variant]
    return np.asarray(
        np.mean([placements(judged.labels_N, scores) for scores in by_seed.values()], axis=0)
    )


def _variance_over_users(
    judged: Judged, variant_N: np.ndarray, base_N: np.ndarray, now: Metrics, base: Metrics
) -> float:
    """Variance of A / B over users, of each row's shares in the two ROC-AUCs."""
    positives = judged.labels_N.sum()
    class_N = np.where(judged.labels_N == 1, positives, len(judged.labels_N) - positives)
    parts_N = (variant_N - now.roc_auc / base.roc_auc * base_N) / base.roc_auc / class_N
    by_user = np.bincount(np.unique(judged.users_N, return_inverse=True)[1], weights=parts_N)
    return float(np.square(by_user).sum() * len(by_user) / (len(by_user) - 1))


def _row_error(
    labels_N: np.ndarray, variant_N: np.ndarray, base_N: np.ndarray, now: Metrics, base: Metrics
) -> float:
    """Standard error of 100 (A / B - 1) over rows, A and B being the ROC-AUCs.

    It is DeLong's variance of A - (A / B) B, by the delta method.
    """
    parts_N = (variant_N - now.roc_auc / base.roc_auc * base_N) / base.roc_auc
    positive_N = labels_N == 1
    of_positives = parts_N[positive_N].var(ddof=1) / positive_N.sum()
    of_negatives = parts_N[~positive_N].var(ddof=1) / (~positive_N).sum()
    return float(100 * np.sqrt(of_positives + of_negatives))


def _rows_needed(n: int, lift: float, error: float, confidence: float) -> int | None:
    """n ((z_confidence + z_power) error / lift)^2: the error shrinks as 1/sqrt(rows).

    None where no number would do.
    """
    z = norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)
    needed = n * (z * error / max(abs(lift), 1e-12)) ** 2
    return int(np.ceil(needed)) if needed < 1e12 else None


def holm(rows: Sequence[Lift]) -> list[Lift]:
    """The rows with p values corrected over all that compare something (Holm 1979)."""
    tested = sorted(
        (row.p_value, place) for place, row in enumerate(rows) if row.p_value is not None
    )
    worst = 0.0
    corrected: dict[int, float] = {}
    for rank, (p_value, place) in enumerate(tested):
        worst = max(worst, min(1.0, (len(tested) - rank) * p_value))
        corrected[place] = worst
    return [replace(row, p_holm=corrected.get(place)) for place, row in enumerate(rows)]


def _mean(rows: list[Metrics]) -> Metrics:
    return Metrics(*np.mean([list(asdict(row).values()) for row in rows], axis=0).tolist())
