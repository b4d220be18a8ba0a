"""What a feature alone tells of a label: one that tells nearly all of it was measured afterwards.

ROC-AUC is taken within stretches of rows (a part of a day) and pooled over them by their pairs of a
positive and a negative. Shape suffixes: N rows, D numbers of a row, K codes of a cell, C codes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.stats import rankdata

# ROC-AUC of one feature alone, above which it is refused, and above which it is written down.
# docs/leaks.md has what honest ones reach.
REFUSED_AUC = 0.95
NOTED_AUC = 0.85
FEWEST = 20  # rows of the rarer class, below which nothing is said
# standard errors (of a feature that tells nothing) that chance explains, over all features
_ERRORS = 5.0
_PRIOR_ROWS = 2  # a code's rate is shrunk as if it had so many rows of the mean rate
_BINS = 64


class Alone(Protocol):
    """A feature's column, stretch after stretch in the order of time."""

    def add(self, labels_N: np.ndarray, values: np.ndarray, judged: bool) -> None:
        """A stretch of rows; one that is not `judged` only shows what earlier rows could teach."""

    def auc(self, surely: bool = False) -> float:
        """How well the feature alone tells the labels of the judged rows, from 0.5 to 1.

        `surely`: 0.5 unless it is more than chance explains, where there are few rows.
        """


class Ranked:
    """ROC-AUC of D scores within stretches of rows, as the Mann-Whitney statistic."""

    def __init__(self, width: int) -> None:
        self._wins_D = np.zeros(width)
        self._pairs = 0.0
        self._variance = 0.0  # of the wins of a score that tells nothing

    def add(self, labels_N: np.ndarray, scores_ND: np.ndarray) -> None:
        positive_N = labels_N == 1
        positives = int(positive_N.sum())
        negatives = len(labels_N) - positives
        if positives and negatives:
            ranks_ND = rankdata(scores_ND, axis=0)
            self._wins_D += ranks_ND[positive_N].sum(axis=0) - positives * (positives + 1) / 2
            self._pairs += positives * negatives
            self._variance += positives * negatives * (len(labels_N) + 1) / 12

    def aucs(self, surely: bool = False) -> np.ndarray:
        """P(score of a positive > score of a negative), ties counted half, [D].

        0.5 without pairs and, where `surely` is asked, if chance explains it.
        """
        if not self._pairs:
            return np.full(len(self._wins_D), 0.5)
        found_D = self._wins_D / self._pairs
        explained = _ERRORS * np.sqrt(self._variance) / self._pairs if surely else 0.0
        return np.where(np.abs(found_D - 0.5) > explained, found_D, 0.5)

    def most(self, surely: bool = False, folded: bool = True) -> float:
        """The highest of them, at least 0.5; `folded`: whichever way the scores point."""
        found_D = self.aucs(surely)
        if folded:
            found_D = np.maximum(found_D, 1 - found_D)
        return float(found_D.max(initial=0.5))


class Rates:
    """The share of positives that earlier rows have shown of each code.

    All codes that are new share one rate, that of rows whose code was new.
    """

    def __init__(self) -> None:
        self._codes_C = np.zeros(0, np.int64)
        self._counts_C2 = np.zeros((0, 2))  # rows, and positives
        self._new_2 = np.zeros(2)
        self._all_2 = np.zeros(2)

    @property
    def know_something(self) -> bool:
        return bool(self._all_2[0])

    def of(self, codes_N: np.ndarray) -> np.ndarray:
        """The shrunken rate of each, [N]."""
        spots_N, known_N = self._find(codes_N)
        counts_N2 = np.tile(self._new_2, (len(codes_N), 1))
        counts_N2[known_N] = self._counts_C2[spots_N[known_N]]
        rate = self._all_2[1] / self._all_2[0]
        return (counts_N2[:, 1] + _PRIOR_ROWS * rate) / (counts_N2[:, 0] + _PRIOR_ROWS)

    def learn(self, codes_N: np.ndarray, labels_N: np.ndarray) -> None:
        _, known_N = self._find(codes_N)
        self._new_2 += [(~known_N).sum(), labels_N[~known_N].sum()]
        self._all_2 += [len(labels_N), labels_N.sum()]
        codes, place_N = np.unique(codes_N, return_inverse=True)
        rows = np.bincount(place_N, minlength=len(codes))
        positives = np.bincount(place_N, labels_N, minlength=len(codes))
        counts = np.stack([rows, positives], axis=1)
        spots, known = self._find(codes)
        self._counts_C2[spots[known]] += counts[known]
        places = np.searchsorted(self._codes_C, codes[~known])
        self._codes_C = np.insert(self._codes_C, places, codes[~known])
        self._counts_C2 = np.insert(self._counts_C2, places, counts[~known], axis=0)

    def _find(self, codes_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place of each code (any where it is new), and whether it is known."""
        if len(self._codes_C) == 0:
            return np.zeros(len(codes_N), np.int64), np.zeros(len(codes_N), bool)
        spots_N = np.minimum(np.searchsorted(self._codes_C, codes_N), len(self._codes_C) - 1)
        return spots_N, self._codes_C[spots_N] == codes_N


class CodesAlone:
    """A categorical feature, int64 codes [N]: each row is scored by the rate of its code in earlier
    rows, so that ids that are met once tell nothing by being learnt by heart. Missing is a code.
    """

    def __init__(self) -> None:
        self._rates = Rates()
        self._ranked = Ranked(1)

    def add(self, labels_N: np.ndarray, values: np.ndarray, judged: bool) -> None:
        if judged and self._rates.know_something:
            self._ranked.add(labels_N, self._rates.of(values)[:, None])
        self._rates.learn(values, labels_N)

    def auc(self, surely: bool = False) -> float:
        # a rate points one way: where it points the other, rows repel each other by themselves
        return self._ranked.most(surely, folded=False)


class CellsAlone:
    """A feature of several codes a cell, int64 [N, K] (0: none): by the mean, the highest and the
    lowest rate of a cell's codes, and by how many there are. An empty cell is a code.
    """

    def __init__(self) -> None:
        self._rates = Rates()
        self._ranked = Ranked(3)
        self._sizes = Ranked(1)

    def add(self, labels_N: np.ndarray, values: np.ndarray, judged: bool) -> None:
        there_NK = values != 0
        sizes_N = there_NK.sum(axis=1)
        there_NK[sizes_N == 0, 0] = True
        if judged:
            self._sizes.add(labels_N, sizes_N[:, None])
        if judged and self._rates.know_something:
            rates_NK = self._rates.of(values.reshape(-1)).reshape(values.shape)
            mean_N = np.where(there_NK, rates_NK, 0).sum(axis=1) / there_NK.sum(axis=1)
            most_N = np.where(there_NK, rates_NK, -np.inf).max(axis=1)
            least_N = np.where(there_NK, rates_NK, np.inf).min(axis=1)
            self._ranked.add(labels_N, np.stack([mean_N, most_N, least_N], axis=1))
        rows, columns = np.nonzero(there_NK)
        self._rates.learn(values[rows, columns], labels_N[rows])

    def auc(self, surely: bool = False) -> float:
        return max(self._ranked.most(surely, folded=False), self._sizes.most(surely))


class NumbersAlone:
    """Numbers [N, D], each by its order, whichever way, where a missing one (NaN) counts as the
    lowest or as the highest; with `bins` also by its quantile's rate in earlier rows, so that
    neither way has to be up.
    """

    def __init__(self, width: int, bins: bool = True) -> None:
        self._low, self._high = Ranked(width), Ranked(width)
        self._binned = [Binned() for _ in range(width if bins else 0)]

    def add(self, labels_N: np.ndarray, values: np.ndarray, judged: bool) -> None:
        if judged:
            missing_ND = np.isnan(values)
            self._low.add(labels_N, np.where(missing_ND, -np.inf, values))
            self._high.add(labels_N, np.where(missing_ND, np.inf, values))
        for column, binned in enumerate(self._binned):
            binned.add(labels_N, values[:, column], judged)

    def auc(self, surely: bool = False) -> float:
        ordered = [ranked.most(surely) for ranked in (self._low, self._high)]
        return max([*ordered, *(binned.auc(surely) for binned in self._binned)])


class Binned:
    """Numbers [N] as codes: their quantile among the first rows that have one, 0 where missing."""

    def __init__(self) -> None:
        self._codes = CodesAlone()
        self._edges: np.ndarray | None = None

    def add(self, labels_N: np.ndarray, values: np.ndarray, judged: bool) -> None:
        missing_N = np.isnan(values)
        if self._edges is None and not missing_N.all():
            inner = np.linspace(0, 1, _BINS + 1)[1:-1]
            self._edges = np.unique(np.quantile(values[~missing_N], inner))
        edges = np.zeros(0) if self._edges is None else self._edges
        place_N = 1 + np.searchsorted(edges, values, side="right")
        self._codes.add(labels_N, np.where(missing_N, 0, place_N), judged)

    def auc(self, surely: bool = False) -> float:
        return self._codes.auc(surely)
