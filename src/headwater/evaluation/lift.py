"""Lift: the relative change of a metric against the same model without embeddings, with paired
intervals.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from headwater.errors import ExperimentError
from headwater.evaluation.metrics import Metrics, WeightedRanking, metrics_of, placements

LEAST_USERS = 30
POWER = 0.8  # with which the rows needed would show an effect of the size seen


@dataclass(frozen=True)
class Judged:
    """Rows that were predicted before their labels were known. `scores[variant][seed]` are
    probabilities, [N], pooled over days.
    """

    labels_N: np.ndarray
    users_N: np.ndarray
    days_N: np.ndarray
    scores: Mapping[str, Mapping[int, np.ndarray]]
    items_N: np.ndarray | None = None
    times_us_N: np.ndarray | None = None

    def day(self, row: int) -> dt.date:
        return dt.date.fromordinal(int(self.days_N[row]))

    def take(self, rows_N: np.ndarray) -> Judged:
        scores = {
            variant: {seed: values[rows_N] for seed, values in by_seed.items()}
            for variant, by_seed in self.scores.items()
        }
        items, times = (
            None if part is None else part[rows_N] for part in (self.items_N, self.times_us_N)
        )
        return Judged(
            self.labels_N[rows_N], self.users_N[rows_N], self.days_N[rows_N], scores, items, times
        )

    @property
    def has_two_classes(self) -> bool:
        return len(self.labels_N) > 0 and 0 < self.labels_N.mean() < 1


@dataclass(frozen=True)
class Lift:
    """One row of a table: `variant` against `baseline`. Metrics are means over seeds; lifts and
    their bounds are in per cent.

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

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it. Of a baseline against itself there is nothing to say: its lifts are None,
        as is what was not made.
        """
        compared = {
            "roc_auc_lift_pct",
            "pr_auc_lift_pct",
            "low",
            "high",
            "row_low",
            "row_high",
            "pr_low",
            "pr_high",
        }
        void = compared if self.variant == self.baseline else ()
        return {
            key: None if key in void or value != value else value
            for key, value in asdict(self).items()
        }


def lift_table(
    judged: Judged,
    bootstrap: int,
    confidence: float,
    seed: int,
    baseline: str = "none",
    further: Sequence[tuple[str, str]] = (),
) -> list[Lift]:
    """A Lift for every variant against `baseline`, then for each (variant, other baseline) of
    `further`; see also `quick_lift`.

    Intervals: percentile bootstrap, paired (each replicate draws the same users and the same seeds
    for a variant and its baseline), clustered by user (a user's rows come or go together) and over
    seeds, so that they cover both the chance in the rows and the chance in training. p values:
    normal, with the bootstrap's standard error, corrected over the whole table (Holm 1979). Raises
    ExperimentError where a variant was not judged or the rows hold one class only.
    """
    pairs = [*((variant, baseline) for variant in judged.scores), *further]
    unknown = [name for pair in pairs for name in pair if name not in judged.scores]
    if unknown:
        raise ExperimentError(
            f"lift: the variant {unknown[0]!r} was not judged; there are:"
            f" {', '.join(judged.scores)}."
        )
    _expect_two_classes(judged)
    means = {
        variant: _mean([metrics_of(judged.labels_N, scores) for scores in by_seed.values()])
        for variant, by_seed in judged.scores.items()
    }
    draws = replicates(judged, bootstrap, seed)
    shares = {
        variant: np.mean(
            [placements(judged.labels_N, scores) for scores in by_seed.values()], axis=0
        )
        for variant, by_seed in judged.scores.items()
    }
    rows = [
        _lift(judged, variant, base, means, draws, shares, confidence) for variant, base in pairs
    ]
    return _holm(rows)


def quick_lift(judged: Judged, variant: str, confidence: float, baseline: str = "none") -> Lift:
    """A Lift without a bootstrap, where there are many to make. `low` and `high` cover the same as
    there, in closed form: the variance over users is the sum of the squares of each user's share in
    the difference (DeLong's placements summed by user, Obuchowski 1997), that over seeds the lifts'
    own; PR-AUC has no bounds, and p is of this comparison alone. Raises ExperimentError for rows of
    one class, or of fewer than LEAST_USERS users: of so few the variance cannot be told.
    """
    _expect_two_classes(judged)
    if len(np.unique(judged.users_N)) < LEAST_USERS:
        raise ExperimentError(
            f"lift: {len(np.unique(judged.users_N))} users are too few for an interval over users;"
            f" expected at least {LEAST_USERS}."
        )
    labels_N, n = judged.labels_N, len(judged.labels_N)
    by_seed = [
        [metrics_of(labels_N, judged.scores[name][seed]) for name in (variant, baseline)]
        for seed in judged.scores[variant]
    ]
    now, base = (_mean([pair[side] for pair in by_seed]) for side in (0, 1))
    shares = [
        np.mean([placements(labels_N, scores) for scores in judged.scores[name].values()], axis=0)
        for name in (variant, baseline)
    ]
    parts_N = (
        (shares[0] - now.roc_auc / base.roc_auc * shares[1])
        / base.roc_auc
        / np.where(labels_N == 1, labels_N.sum(), n - labels_N.sum())
    )
    by_user = np.bincount(np.unique(judged.users_N, return_inverse=True)[1], weights=parts_N)
    changes = np.array([100 * (one.roc_auc / other.roc_auc - 1) for one, other in by_seed])
    over_seeds = changes.var(ddof=1) / len(changes) if len(changes) > 1 else 0.0
    over_users = np.square(by_user).sum() * len(by_user) / (len(by_user) - 1)
    error = max(float(np.sqrt(100**2 * over_users + over_seeds)), 1e-12)
    lift, wide = 100 * (now.roc_auc / base.roc_auc - 1), norm.ppf((1 + confidence) / 2)
    row_wide, p_value = (
        wide * _row_error(labels_N, shares[0], shares[1], now.roc_auc, base.roc_auc),
        float(2 * norm.sf(abs(lift) / error)),
    )
    low, high, none = lift - wide * error, lift + wide * error, float("nan")
    needed = _rows_needed(n, lift, error, confidence) if low <= 0 <= high else None
    return Lift(
        variant,
        baseline,
        now.roc_auc,
        lift,
        float(low),
        float(high),
        float(lift - row_wide),
        float(lift + row_wide),
        p_value,
        p_value,
        needed,
        now.pr_auc,
        100 * (now.pr_auc / base.pr_auc - 1),
        none,
        none,
        now.log_loss,
        now.ne,
        len(changes),
        n,
    )


def _expect_two_classes(judged: Judged) -> None:
    if not judged.has_two_classes:
        raise ExperimentError(
            "lift: the judged rows hold no two classes yet. Run more days, or widen"
            " evaluation.start and end."
        )


def replicates(judged: Judged, bootstrap: int, seed: int) -> dict[str, np.ndarray]:
    """Mean ROC-AUC and PR-AUC over drawn seeds under drawn users, [bootstrap, 2], for every
    variant. Variants share each draw.
    """
    generator = np.random.default_rng(seed)
    users, user_N = np.unique(judged.users_N, return_inverse=True)
    seeds = sorted(next(iter(judged.scores.values())))
    rankings = {
        variant: {s: WeightedRanking(judged.labels_N, by_seed[s], user_N) for s in seeds}
        for variant, by_seed in judged.scores.items()
    }
    draws = {variant: np.empty((bootstrap, 2)) for variant in judged.scores}
    n_drawn = max(
        1, len(seeds) - 1
    )  # of S seeds S - 1: then the variance of their mean is s^2 / S and not (S - 1) / S of it
    for replicate in range(bootstrap):
        weights_U = np.bincount(
            generator.integers(0, len(users), len(users)), minlength=len(users)
        ).astype(np.float64)
        drawn, times = np.unique(generator.choice(seeds, n_drawn), return_counts=True)
        for variant, by_seed in rankings.items():
            found = np.array([by_seed[int(s)](weights_U) for s in drawn])
            draws[variant][replicate] = times @ found / n_drawn
    return draws


def _lift(
    judged: Judged,
    variant: str,
    baseline: str,
    means: Mapping[str, Metrics],
    draws: Mapping[str, np.ndarray],
    shares: Mapping[str, np.ndarray],
    confidence: float,
) -> Lift:
    now, base, n = means[variant], means[baseline], len(judged.labels_N)
    figures = (100 * (now.roc_auc / base.roc_auc - 1), 100 * (now.pr_auc / base.pr_auc - 1))
    low = high = row_low = row_high = pr_low = pr_high = 0.0
    p_value = rows_needed = None
    if variant != baseline:
        changes = 100 * (draws[variant] / draws[baseline] - 1)
        tail = (1 - confidence) / 2
        (low, pr_low), (high, pr_high) = np.nanquantile(changes, [tail, 1 - tail], axis=0)
        error = max(float(np.nanstd(changes[:, 0], ddof=1)), 1e-12)
        p_value = float(2 * norm.sf(abs(figures[0]) / error))
        if low <= 0 <= high:
            rows_needed = _rows_needed(n, figures[0], error, confidence)
        wide = norm.ppf(1 - tail) * _row_error(
            judged.labels_N, shares[variant], shares[baseline], now.roc_auc, base.roc_auc
        )
        row_low, row_high = figures[0] - wide, figures[0] + wide
    return Lift(
        variant,
        baseline,
        now.roc_auc,
        figures[0],
        float(low),
        float(high),
        float(row_low),
        float(row_high),
        p_value,
        None,
        rows_needed,
        now.pr_auc,
        figures[1],
        float(pr_low),
        float(pr_high),
        now.log_loss,
        now.ne,
        len(judged.scores[variant]),
        n,
    )


def _row_error(
    labels_N: np.ndarray, variant_N: np.ndarray, base_N: np.ndarray, auc: float, base_auc: float
) -> float:
    """Standard error of 100 (A / B - 1) over rows: DeLong's variance of A - (A / B) B, by the delta
    method.
    """
    parts = (variant_N - auc / base_auc * base_N) / base_auc
    positive = labels_N == 1
    return float(
        100
        * np.sqrt(
            parts[positive].var(ddof=1) / positive.sum()
            + parts[~positive].var(ddof=1) / (~positive).sum()
        )
    )


def _rows_needed(n: int, lift: float, error: float, confidence: float) -> int | None:
    """n ((z_confidence + z_power) error / lift)^2: the error shrinks as 1/sqrt(rows). None where no
    number would do.
    """
    needed = (
        n
        * ((norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)) * error / max(abs(lift), 1e-12)) ** 2
    )
    return int(np.ceil(needed)) if needed < 1e12 else None


def _holm(rows: list[Lift]) -> list[Lift]:
    """Holm's step-down correction over the rows that compare something."""
    tested = sorted(
        (row.p_value, place) for place, row in enumerate(rows) if row.p_value is not None
    )
    worst, corrected = 0.0, dict[int, float]()
    for rank, (p_value, place) in enumerate(tested):
        worst = max(worst, min(1.0, (len(tested) - rank) * p_value))
        corrected[place] = worst
    return [replace(row, p_holm=corrected.get(place)) for place, row in enumerate(rows)]


def _mean(rows: list[Metrics]) -> Metrics:
    return Metrics(*np.mean([list(asdict(row).values()) for row in rows], axis=0).tolist())
