"""ROC-AUC within strata: the days, or the groups (such as requests) whose rows compete.

ROC-AUC pooled over days compares rows of one day with rows of another, whose scores another model
made: a ranker whose mean prediction is off on some days loses by it, though no reader ever saw
two days side by side. Shape suffixes: N rows, S strata.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.evaluation.influence import Influence
from headwater.evaluation.judged import Judged


@dataclass(frozen=True)
class Ranked:
    """How well scores rank within strata: the mean of the strata's ROC-AUC, weighted by rows.

    `value` is NaN where no stratum holds two classes. `parts_N` is each row's influence on it: the
    derivative by the row's weight, so that the sum of the squares of the clusters' sums is its
    sampling variance (the infinitesimal jackknife, Efron 1982; of one stratum DeLong's). `rows`
    lie in the `strata` that count; `left_out` are those of one class.
    """

    value: float
    parts_N: np.ndarray
    rows: int
    strata: int
    left_out: int


def daily_auc(judged: Judged, scores_N: np.ndarray) -> Influence:
    """The mean of the days' ROC-AUC, weighted by their rows; days of one class are left out."""
    found = ranked_within(judged.labels_N, scores_N, judged.day_strata)
    return Influence(found.value, found.parts_N)


def group_auc(judged: Judged, scores_N: np.ndarray) -> Influence:
    """ROC-AUC within the groups of a day, weighted by their rows; groups of one class are left
    out.
    """
    found = ranked_within(judged.labels_N, scores_N, judged.group_strata)
    return Influence(found.value, found.parts_N)


def two_classes(labels_N: np.ndarray, strata_N: np.ndarray) -> tuple[int, int, int]:
    """Of strata: how many hold both classes, how many rows lie in these, and how many are left
    out.
    """
    rows_S = np.bincount(strata_N)
    positives_S = np.bincount(strata_N, weights=labels_N == 1)
    counts_S = (positives_S > 0) & (positives_S < rows_S)
    left_out = int((rows_S > 0).sum()) - int(counts_S.sum())
    return int(counts_S.sum()), int(rows_S[counts_S].sum()), left_out


def ranked_within(labels_N: np.ndarray, scores_N: np.ndarray, strata_N: np.ndarray) -> Ranked:
    """Of rows in strata, which are numbered from 0 on.

    With n_s rows and the ROC-AUC A_s in each stratum s of two classes, it is sum_s n_s A_s / sum_s
    n_s, ties counted half. Over groups this is the field's GAUC, weighted by impressions (Zhu et
    al. 2017, Zhou et al. 2018).
    """
    positive_N = labels_N == 1
    size = int(strata_N.max(initial=-1)) + 1
    rows_S = np.bincount(strata_N, minlength=size)
    positives_S = np.bincount(strata_N, weights=positive_N, minlength=size)
    counts_S = (positives_S > 0) & (positives_S < rows_S)
    strata = int(counts_S.sum())
    left_out = int((rows_S > 0).sum()) - strata
    rows = int(rows_S[counts_S].sum())
    if not rows:
        return Ranked(float("nan"), np.zeros(len(labels_N)), 0, 0, left_out)
    kept = np.flatnonzero(counts_S[strata_N])
    stratum = strata_N[kept]
    positive = positive_N[kept]
    shares = _placements(positive, scores_N[kept], stratum, rows_S, positives_S)
    sums_S = np.bincount(stratum, weights=shares * positive, minlength=size)
    auc_S = sums_S / np.maximum(positives_S, 1)
    value = float(rows_S[counts_S] @ auc_S[counts_S] / rows)
    of_class = np.where(positive, positives_S[stratum], (rows_S - positives_S)[stratum])
    # a row's weight moves its stratum's ROC-AUC, and its stratum's weight in the mean
    moved = rows_S[stratum] * (shares - auc_S[stratum]) / of_class + auc_S[stratum] - value
    parts_N = np.zeros(len(labels_N))
    parts_N[kept] = moved / rows
    return Ranked(value, parts_N, rows, strata, left_out)


def _placements(
    positive_N: np.ndarray,
    scores_N: np.ndarray,
    strata_N: np.ndarray,
    rows_S: np.ndarray,
    positives_S: np.ndarray,
) -> np.ndarray:
    """As `metrics.placements`, within each stratum: one sort for all. Each stratum has both
    classes, or no row here.
    """
    order = np.lexsort((scores_N, strata_N))
    stratum, score, positive = strata_N[order], scores_N[order], positive_N[order]
    new_stratum = np.append(True, stratum[1:] != stratum[:-1])
    new_tie = new_stratum | np.append(True, score[1:] != score[:-1])
    starts = np.flatnonzero(new_tie)
    tie = np.cumsum(new_tie) - 1
    positives_before = np.concatenate([[0], np.cumsum(positive)])
    firsts = np.flatnonzero(new_stratum)[np.cumsum(new_stratum) - 1]
    below = starts[tie] - firsts
    tied = np.append(starts[1:], len(order))[tie] - starts[tie]
    positives_below = positives_before[starts[tie]] - positives_before[firsts]
    positives_tied = positives_before[starts[tie] + tied] - positives_before[starts[tie]]
    negatives_under = below - positives_below + (tied - positives_tied) / 2
    positives_over = positives_S[stratum] - positives_below - positives_tied / 2
    negatives = rows_S[stratum] - positives_S[stratum]
    found_N = np.empty(len(order))
    found_N[order] = np.where(
        positive, negatives_under / negatives, positives_over / positives_S[stratum]
    )
    return found_N
