"""Lift: the relative change of a metric against the same model without embeddings, with a paired interval."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headwater.errors import ExperimentError
from headwater.evaluation.metrics import Metrics, WeightedAuc, metrics_of


@dataclass(frozen=True)
class Judged:
    """Rows that were predicted before their labels were known. `scores[arm][seed]` are probabilities, [N], pooled over days."""

    labels_N: np.ndarray
    users_N: np.ndarray
    days_N: np.ndarray
    scores: Mapping[str, Mapping[int, np.ndarray]]

    def day(self, row: int) -> dt.date:
        return dt.date.fromordinal(int(self.days_N[row]))


@dataclass(frozen=True)
class Lift:
    """One row of a table. Metrics are means over seeds; `low` and `high` bound the ROC-AUC lift, all lifts in per cent."""

    arm: str
    roc_auc: float
    roc_auc_lift_pct: float
    low: float
    high: float
    pr_auc: float
    pr_auc_lift_pct: float
    log_loss: float
    ne: float
    seeds: int
    n: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def lift_table(judged: Judged, bootstrap: int, confidence: float, seed: int, baseline: str = "none") -> list[Lift]:
    """A Lift for every arm against `baseline`.

    Intervals: percentile bootstrap, paired (each replicate draws the same users and the same seeds for an arm and its
    baseline), clustered by user (a user's rows come or go together) and over seeds, so that they cover both the chance in
    the rows and the chance in training.
    """
    if baseline not in judged.scores:
        raise ExperimentError(f"lift: the arm {baseline!r} was not judged; there are: {', '.join(judged.scores)}.")
    if len(judged.labels_N) == 0 or not 0 < judged.labels_N.mean() < 1:
        raise ExperimentError("lift: the judged rows hold no two classes yet. Run more days, or widen evaluation.start and end.")
    means = {arm: _mean([metrics_of(judged.labels_N, scores) for scores in by_seed.values()]) for arm, by_seed in judged.scores.items()}
    draws = _replicates(judged, bootstrap, seed)
    tail = (1 - confidence) / 2
    table = []
    for arm, metrics in means.items():
        change = 100 * (draws[arm] / draws[baseline] - 1)
        low, high = (0.0, 0.0) if arm == baseline else np.nanquantile(change, [tail, 1 - tail])
        table.append(Lift(
            arm, metrics.roc_auc, 100 * (metrics.roc_auc / means[baseline].roc_auc - 1), float(low), float(high),
            metrics.pr_auc, 100 * (metrics.pr_auc / means[baseline].pr_auc - 1), metrics.log_loss, metrics.ne,
            len(judged.scores[arm]), len(judged.labels_N),
        ))  # fmt: skip
    return table


def _replicates(judged: Judged, bootstrap: int, seed: int) -> dict[str, np.ndarray]:
    """Mean ROC-AUC over drawn seeds under drawn users, for every arm and replicate."""
    generator = np.random.default_rng(seed)
    users, user_N = np.unique(judged.users_N, return_inverse=True)
    seeds = sorted(next(iter(judged.scores.values())))
    aucs = {arm: {s: WeightedAuc(judged.labels_N, by_seed[s]) for s in seeds} for arm, by_seed in judged.scores.items()}
    draws = {arm: np.empty(bootstrap) for arm in judged.scores}
    for replicate in range(bootstrap):
        weights_N = np.bincount(generator.integers(0, len(users), len(users)), minlength=len(users))[user_N].astype(np.float64)
        drawn, times = np.unique(generator.choice(seeds, len(seeds)), return_counts=True)
        for arm, by_seed in aucs.items():
            draws[arm][replicate] = sum(n * by_seed[int(s)](weights_N) for s, n in zip(drawn, times, strict=True)) / len(seeds)
    return draws


def _mean(rows: list[Metrics]) -> Metrics:
    return Metrics(*np.mean([list(asdict(row).values()) for row in rows], axis=0).tolist())
