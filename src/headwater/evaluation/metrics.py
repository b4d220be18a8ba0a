"""Metrics of binary predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

FLOOR = 1e-7


@dataclass(frozen=True)
class Metrics:
    """`ne` is normalised entropy (He et al. 2014): log loss over the entropy of the base rate; 1 is no better than that rate."""

    roc_auc: float
    pr_auc: float
    log_loss: float
    ne: float


def metrics_of(labels_N: np.ndarray, scores_N: np.ndarray) -> Metrics:
    """Of predicted probabilities; NaN throughout where only one class is there."""
    rate = float(labels_N.mean()) if len(labels_N) else 0.0
    if not 0 < rate < 1:
        return Metrics(*[float("nan")] * 4)
    scores = np.clip(scores_N.astype(np.float64), FLOOR, 1 - FLOOR)
    loss = float(log_loss(labels_N, scores))
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return Metrics(float(roc_auc_score(labels_N, scores)), float(average_precision_score(labels_N, scores)), loss, loss / entropy)


class WeightedAuc:
    """ROC-AUC of fixed scores under changing row weights: sorted once, then O(N) for each set of weights."""

    def __init__(self, labels_N: np.ndarray, scores_N: np.ndarray) -> None:
        self._order = np.argsort(scores_N, kind="stable")
        ranked = scores_N[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        self._ties = len(self._starts) < len(ranked)
        self._positive = labels_N[self._order] == 1

    def __call__(self, weights_N: np.ndarray) -> float:
        """P(score of a positive > score of a negative), ties counted half; rows weighted."""
        weights = weights_N[self._order]
        positive = np.where(self._positive, weights, 0.0)
        negative = weights - positive
        if self._ties:
            positive, negative = np.add.reduceat(positive, self._starts), np.add.reduceat(negative, self._starts)
        below = np.cumsum(negative) - negative / 2
        total = positive.sum() * negative.sum()
        return float((positive * below).sum() / total) if total > 0 else float("nan")
