"""Metrics of binary predictions. Shape suffixes: N rows, G groups of rows, P positives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

FLOOR = 1e-7


@dataclass(frozen=True)
class Metrics:
    """How well probabilities rank and how well they are calibrated.

    `ne` is normalised entropy (He et al. 2014): log loss over the entropy of the base rate; 1 is no
    better than that rate.
    """

    roc_auc: float
    pr_auc: float
    log_loss: float
    ne: float


def metrics_of(labels_N: np.ndarray, scores_N: np.ndarray) -> Metrics:
    """Of predicted probabilities; NaN throughout where only one class is there.

    Scores are ranked as they stand, and kept within FLOOR of 0 and 1 for the log loss alone: there,
    one sure row that is wrong would count for all.
    """
    rate = float(labels_N.mean()) if len(labels_N) else 0.0
    if not 0 < rate < 1:
        return Metrics(*[float("nan")] * 4)
    scores = scores_N.astype(np.float64)
    loss = float(log_loss(labels_N, np.clip(scores, FLOOR, 1 - FLOOR)))
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return Metrics(
        float(roc_auc_score(labels_N, scores)),
        float(average_precision_score(labels_N, scores)),
        loss,
        loss / entropy,
    )


class WeightedRanking:
    """ROC-AUC and average precision of fixed scores under changing weights.

    Sorted once, then one pass over the rows for each set of weights. `groups_N` says whose weight a
    row has (such as its user's); without it, each row has its own.
    """

    def __init__(
        self, labels_N: np.ndarray, scores_N: np.ndarray, groups_N: np.ndarray | None = None
    ) -> None:
        order = np.argsort(scores_N, kind="stable")
        ranked = scores_N[order]
        positive = labels_N[order] == 1
        self._groups = (order if groups_N is None else groups_N[order]).astype(np.int32)
        # of each positive: where the rows of its score begin and end, among all rows and among the
        # positives
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        ends = np.append(starts[1:], len(ranked))
        self._positives = np.flatnonzero(positive)
        tie = np.searchsorted(starts, self._positives, side="right") - 1
        self._start_P = starts[tie]
        self._end_P = ends[tie]
        positives_before = np.concatenate([[0], np.cumsum(positive)])
        self._positive_start_P = positives_before[self._start_P]
        self._positive_end_P = positives_before[self._end_P]

    def __call__(self, weights_G: np.ndarray) -> tuple[float, float]:
        """(ROC-AUC, average precision) under the groups' weights.

        NaN where only one class has weight. ROC-AUC = P(score of a positive > score of a negative),
        ties counted half. Average precision = the mean over positives of the precision among the
        rows that score as high or higher, which is scikit-learn's sum over thresholds.
        """
        weights = weights_G[self._groups]
        below = np.concatenate([[0.0], np.cumsum(weights)])
        positive = weights[self._positives]
        positive_below = np.concatenate([[0.0], np.cumsum(positive)])
        total, positives = below[-1], positive_below[-1]
        if positives <= 0 or total - positives <= 0:
            return float("nan"), float("nan")
        before_P = below[self._start_P]
        positive_before_P = positive_below[self._positive_start_P]
        upto_P = below[self._end_P]
        positive_upto_P = positive_below[self._positive_end_P]
        # mean of the negatives that score lower, and of those that score lower or the same
        negatives_below_P = (before_P - positive_before_P + upto_P - positive_upto_P) / 2
        precision_P = (positives - positive_before_P) / np.maximum(total - before_P, 1e-300)
        roc_auc = float(positive @ negatives_below_P / (positives * (total - positives)))
        return roc_auc, float(positive @ precision_P / positives)


def placements(labels_N: np.ndarray, scores_N: np.ndarray) -> np.ndarray:
    """Each row's share in the ROC-AUC, [N].

    Of a positive, it is the share of negatives that score below it (ties half); of a negative, the
    share of positives that score above it. Either class's mean is the ROC-AUC. DeLong et al. 1988,
    by ranks as in Sun & Xu 2014.
    """
    positive = labels_N == 1
    ranks = rankdata(scores_N)
    found = np.empty(len(labels_N))
    n_positive = int(positive.sum())
    n_negative = int((~positive).sum())
    found[positive] = (ranks[positive] - rankdata(scores_N[positive])) / n_negative
    found[~positive] = 1 - (ranks[~positive] - rankdata(scores_N[~positive])) / n_positive
    return found
