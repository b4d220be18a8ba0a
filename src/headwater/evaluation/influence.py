"""Metrics as sums over rows: a value, and what each row adds to it.

A metric gives an `Influence`; whoever knows its parts knows its interval (`interval.py`). Shape
suffixes: N rows, P positives, T distinct scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from headwater.evaluation.judged import Judged
from headwater.evaluation.metrics import placements


@dataclass(frozen=True)
class Influence:
    """A metric of N rows, and each row's part in it: its derivative by the weight of that row.

    The parts sum to zero, and the metric of other such rows differs from this one by about as much
    as the sum of theirs (the infinitesimal jackknife: Jaeckel 1972). A row of which the metric
    takes no notice has the part 0.
    """

    value: float
    parts_N: np.ndarray

    def less(self, other: Influence) -> Influence:
        return Influence(self.value - other.value, self.parts_N - other.parts_N)

    def change_pct(self, base: Influence) -> Influence:
        """100 (this / base - 1), by the delta method."""
        ratio = self.value / base.value
        parts_N = 100 * (self.parts_N - ratio * base.parts_N) / base.value
        return Influence(100 * (ratio - 1), parts_N)


# of judged rows and a score for each; one that needs days or groups finds them in the rows
Metric: TypeAlias = Callable[[Judged, np.ndarray], Influence]


def mean_of(found: Sequence[Influence]) -> Influence:
    """The mean of several, such as one a seed."""
    return Influence(
        float(np.mean([one.value for one in found])),
        np.mean([one.parts_N for one in found], axis=0),
    )


def mean_influence(values_N: np.ndarray, weights_N: np.ndarray | None = None) -> Influence:
    """Of sum(values) / sum(weights); weights are 1 where none are given."""
    weighed_N = np.ones(len(values_N)) if weights_N is None else weights_N.astype(np.float64)
    total = float(weighed_N.sum())
    value = float(values_N.sum() / total)
    return Influence(value, (values_N - value * weighed_N) / total)


def roc_auc(judged: Judged, scores_N: np.ndarray) -> Influence:
    """ROC-AUC.

    A positive's part is (its placement - AUC) / positives, a negative's likewise (DeLong et al.
    1988).
    """
    positive_N = judged.labels_N == 1
    shares_N = placements(judged.labels_N, scores_N)
    value = float(shares_N[positive_N].mean())
    class_N = np.where(positive_N, positive_N.sum(), (~positive_N).sum())
    return Influence(value, (shares_N - value) / class_N)


def pr_auc(judged: Judged, scores_N: np.ndarray) -> Influence:
    """Average precision: the mean over the P positives i of TP(i) / ALL(i).

    TP and ALL count the positives and the rows that score at least as high. The derivative by the
    weight of row j sums over the positives i that score no higher than j:

        part_j = y_j [TP(j) / ALL(j) - AP + sum_i 1 / ALL(i)] / P - sum_i TP(i) / ALL(i)^2 / P
    """
    positive_N = judged.labels_N == 1
    distinct, tie_N = np.unique(scores_N, return_inverse=True)
    rows_T = np.bincount(tie_N, minlength=len(distinct))
    positives_T = np.bincount(tie_N[positive_N], minlength=len(distinct))
    all_T = rows_T[::-1].cumsum()[::-1]
    true_T = positives_T[::-1].cumsum()[::-1]
    positives = float(positive_N.sum())
    precision_T = true_T / all_T
    value = float(positives_T @ precision_T / positives)
    gained_T = np.cumsum(positives_T / all_T)
    lost_T = np.cumsum(positives_T * precision_T / all_T)
    own_N = np.where(positive_N, (precision_T - value + gained_T)[tie_N], 0.0)
    return Influence(value, (own_N - lost_T[tie_N]) / positives)
